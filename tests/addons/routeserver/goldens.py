"""Skipper's own test cases: objects, options, and the routes that they become.

They are not part of this project. `SKIPPER_GOLDENS` names a folder with them (zalando/skipper,
`dataclients/kubernetes/testdata`); a checkout's neighbour `shared/seeds/skipper/goldens` is found by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from tiphys.addons.routeserver.compiling.objects import (
    Endpoints,
    EndpointSlice,
    Ingress,
    Objects,
    RouteGroup,
    Service,
    read_list,
)
from tiphys.addons.routeserver.compiling.options import DEFAULT_ALGORITHM, Appended, Options
from tiphys.addons.routeserver.compiling.tables import compile_routes
from tiphys.addons.routeserver.eskip import Call, Route, read_routes
from tiphys.addons.routeserver.types import ALGORITHMS

_NEAR = "shared/seeds/skipper/goldens"


class Golden(NamedTuple):
    """`name` is the path without its ending; `kinds` is ingressV1 or routegroups."""

    name: str
    objects: Path
    routes: Path

    def beside(self, ending: str) -> Path:
        return self.objects.with_suffix(ending)


def folder() -> Path | None:
    named = os.environ.get("SKIPPER_GOLDENS")
    if named:
        return Path(named)
    found = (parent / _NEAR for parent in Path(__file__).parents)
    return next((path for path in found if path.is_dir()), None)


def goldens(root: Path) -> Iterator[Golden]:
    for routes in sorted(root.rglob("*.eskip")):
        name = str(routes.relative_to(root).with_suffix(""))
        yield Golden(name, routes.with_suffix(".yaml"), routes)


def expected(golden: Golden) -> dict[str, Route]:
    return {route.id: route.canonical() for route in read_routes(golden.routes.read_text())}


def compiled(golden: Golden) -> dict[str, Route]:
    made = compile_routes(objects_of(golden), options_of(golden)).routes
    return {route.id: _without_zones(route).canonical() for route in made}


def _without_zones(route: Route) -> Route:
    """Skipper's tests compare without the zones of endpoints."""
    endpoints = tuple(each._replace(zone="") for each in route.backend.endpoints)
    return replace(route, backend=replace(route.backend, endpoints=endpoints))


# --- objects ---


def objects_of(golden: Golden) -> Objects:
    by_kind = _by_kind(golden.objects.read_text() if golden.objects.exists() else "")
    problems: list[Any] = []

    def read(kind: Any, name: str) -> list[Any]:
        return read_list(msgspec.json.encode({"items": by_kind.get(name, [])}), kind, problems)

    return Objects(
        read(Ingress, "Ingress"),
        read(RouteGroup, "RouteGroup"),
        read(Service, "Service"),
        read(Endpoints, "Endpoints"),
        read(EndpointSlice, "EndpointSlice"),
        problems,
    )


def _by_kind(text: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for document in yaml.safe_load_all(text):
        if not document:
            break  # as Skipper's reader does
        for obj in document["items"] if document["kind"] == "List" else [document]:
            obj = {("metadata" if key == "Metadata" else key): obj[key] for key in obj}
            found.setdefault(obj["kind"], []).append(obj)
    return found


# --- options ---


def options_of(golden: Golden) -> Options:
    path = golden.beside(".kube")
    said = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
    algorithm = said.get("default-lb-algorithm", "")
    domain = "skipper.cluster.local" if said.get("eastWest") else ""
    allowed = said.get("allowedExternalNames", ()) if said.get("onlyAllowedExternalNames") else None
    return Options(
        ingress_class=said.get("kubernetes-ingress-class", "skipper"),
        ingress_labels=_labels(said.get("kubernetes-ingresses-label-selector")),
        service_labels=_labels(said.get("kubernetes-services-label-selector")),
        endpoint_labels=_labels(said.get("kubernetes-endpoints-label-selector")),
        endpoint_slices=said.get("enable-kubernetes-endpointslices", False),
        zone=said.get("topology-zone", ""),
        traffic=said.get("backend-traffic-algorithm", "traffic-predicate"),
        load_balancer=algorithm if algorithm in ALGORITHMS else DEFAULT_ALGORITHM,
        catch_all=not said.get("disableCatchAllRoutes", False),
        https_redirect=said.get("httpsRedirect", False),
        https_redirect_code=said.get("httpsRedirectCode", 308),
        east_west=said.get("eastWest", False),
        east_west_domain=said.get("eastWestDomain", domain).strip("."),
        east_west_range_domains=tuple(said.get("eastWestRangeDomains", ())),
        east_west_range_predicates=_calls(said.get("eastWestRangePredicatesAppend")),
        annotation_predicates=_appended(said, "kubernetesAnnotationPredicates"),
        annotation_filters=_appended(said, "kubernetesAnnotationFiltersAppend"),
        east_west_annotation_predicates=_appended(
            said, "kubernetesEastWestRangeAnnotationPredicates"
        ),
        east_west_annotation_filters=_appended(
            said, "kubernetesEastWestRangeAnnotationFiltersAppend"
        ),
        application_label=said.get("kubernetes-application-annotation-label", ""),
        external_names=said.get("enableExternalNames", False),
        external_name_keeps_host=said.get("externalNamePreserveHost", False),
        allowed_external_names=None if allowed is None else tuple(allowed),
        service_names=said.get("force-kubernetes-service", False),
        forward_url=said.get("forward-backend-url", ""),
        backend_tracing_tag=said.get("backendNameTracingTag", False),
        default_filters=_default_filters(golden.beside(".default-filters")),
    )


def _labels(said: dict[str, Any] | None) -> dict[str, str]:
    return {key: str(value).lower() if value else "" for key, value in (said or {}).items()}


def _calls(said: list[dict[str, Any]] | None) -> tuple[Call, ...]:
    return tuple(Call(str(call["name"]), tuple(call.get("args", ()))) for call in said or ())


def _appended(said: dict[str, Any], key: str) -> tuple[Appended, ...]:
    return tuple(
        Appended(rule["key"], rule["value"], _calls(rule.get("predicates") or rule.get("filters")))
        for rule in said.get(key, ())
    )


def _default_filters(path: Path) -> dict[str, str]:
    if not path.is_dir():
        return {}
    files = [file for file in path.iterdir() if file.name.count(".") == 1 and file.is_file()]
    return {file.name: file.read_text() for file in files}
