"""The annotations of one Ingress, read once for all its routes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from tiphys.addons.routeserver.compiling import annotating, redirects
from tiphys.addons.routeserver.compiling.cluster import Scheme
from tiphys.addons.routeserver.compiling.objects import Ingress, Metadata, Problem
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.compiling.validating import FILTERS, PREDICATES, ROUTES
from tiphys.addons.routeserver.eskip import (
    Call,
    EskipError,
    Route,
    read_filters,
    read_predicates,
    read_routes,
)

_WEIGHTS = "zalando.org/backend-weights"
_RATE_LIMIT = "zalando.org/ratelimit"
_PATH_MODE = "zalando.org/skipper-ingress-path-mode"
_BACKEND = "zalando.org/skipper-backend"
_MODES = ("kubernetes-ingress", "path-regexp", "path-prefix")


@dataclass
class IngressAnnotations:
    """`extra` are whole routes beside those of its rules."""

    metadata: Metadata
    filters: tuple[Call, ...]
    predicates: tuple[Call, ...]
    extra: list[Route]
    weights: Mapping[str, float]
    path_mode: str
    redirect: redirects.Redirect
    handles_protocol: bool
    scheme: Scheme
    forwards: bool

    @property
    def zone_aware(self) -> bool:
        return not annotating.ignores_zones(self.metadata)


def read_annotations(
    ingress: Ingress, options: Options, problems: list[Problem]
) -> IngressAnnotations:
    """Of an Ingress that `validating` has found in order. What is wrong nonetheless is skipped,
    and a problem."""
    metadata = ingress.metadata
    protocol = metadata.annotation(annotating.PROTOCOL)
    return IngressAnnotations(
        metadata,
        _filters(ingress, problems),
        read_predicates(metadata.annotation(PREDICATES)),
        read_routes(metadata.annotation(ROUTES)),
        _weights(ingress, problems),
        _path_mode(ingress, options, problems),
        redirects.of_object(metadata, options.https_redirect, options.https_redirect_code),
        redirects.handles_protocol(metadata),
        Scheme(protocol, is_explicit=True) if protocol else Scheme(),
        bool(options.forward_url) and metadata.annotation(_BACKEND) == "forward",
    )


def _filters(ingress: Ingress, problems: list[Problem]) -> tuple[Call, ...]:
    texts = [ingress.metadata.annotation(key) for key in (_RATE_LIMIT, FILTERS)]
    try:
        return read_filters(" -> ".join(text for text in texts if text.strip()))
    except EskipError as error:
        problems.append(Problem(ingress, f"annotation {_RATE_LIMIT}: {error}"))
        return ()


def _weights(ingress: Ingress, problems: list[Problem]) -> Mapping[str, float]:
    text = ingress.metadata.annotation(_WEIGHTS)
    if not text:
        return {}
    try:
        weights = {name: float(weight) for name, weight in json.loads(text).items()}
        if all(0 <= weight < math.inf for weight in weights.values()):
            return weights
        raise ValueError("a weight is not from 0 on, or has no end")
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        problems.append(
            Problem(ingress, f"annotation {_WEIGHTS} is no JSON object of numbers from 0 on")
        )
        return {}


def _path_mode(ingress: Ingress, options: Options, problems: list[Problem]) -> str:
    mode = ingress.metadata.annotation(_PATH_MODE)
    if mode in _MODES:
        return mode
    if mode:
        problems.append(Problem(ingress, f"annotation {_PATH_MODE}: no mode {mode!r}"))
    return options.path_mode
