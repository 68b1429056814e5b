"""Objects that mean nothing sensible, before routes are made of them. Each function returns what is
wrong, or nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from tiphys.addons.routeserver.compiling.objects import Ingress, RouteGroup
from tiphys.addons.routeserver.eskip import EskipError, read_filters, read_predicates, read_routes
from tiphys.addons.routeserver.types import (
    ALGORITHMS,
    BACKEND_TYPES,
    BackendReference,
    RouteGroupBackend,
    RouteGroupRoute,
    RouteGroupSpec,
)

FILTERS = "zalando.org/skipper-filter"
PREDICATES = "zalando.org/skipper-predicate"
ROUTES = "zalando.org/skipper-routes"
BALANCER = "zalando.org/skipper-loadbalancer"

_MOST = 10 << 20
"""Characters of routes that one object may make. What stands once in an object is in each of its
routes: an object of a megabyte could make gigabytes of them, and no routes would be served
any more."""

_KNOWN_TYPES = ("", "forward", *BACKEND_TYPES)
_KNOWN_ALGORITHMS = ("", *ALGORITHMS)
_Reader = Callable[[str], Any]
_READERS: dict[str, _Reader] = {
    FILTERS: read_filters,
    PREDICATES: read_predicates,
    ROUTES: read_routes,
}


def ingress_problem(ingress: Ingress) -> str:
    if ingress.spec is None or not ingress.metadata.name or not ingress.metadata.namespace:
        return "it has no spec, name or namespace"
    for key, reader in _READERS.items():
        problem = _unreadable(reader, ingress.metadata.annotation(key))
        if problem:
            return f"annotation {key}: {problem}"
    if _size_of_ingress(ingress) > _MOST:
        return f"its routes would be longer than {_MOST} characters"
    algorithm = ingress.metadata.annotation(BALANCER)
    if algorithm not in _KNOWN_ALGORITHMS:
        return f"annotation {BALANCER}: {algorithm!r} is no load balancer algorithm"
    return ""


@functools.lru_cache(maxsize=2048)  # most of what a poll brings was there before, what is wrong too
def _unreadable(reader: _Reader, text: str) -> str:
    try:
        reader(text)
    except EskipError as error:
        return str(error)
    return ""


def route_group_problem(group: RouteGroup) -> str:
    if not group.metadata.name:
        return "it has no name"
    if group.spec is None:
        return "it has no spec"
    if len(set(group.spec.hosts)) < len(group.spec.hosts):
        return "spec.hosts: a host is there twice"
    if _size_of_group(group.spec) > _MOST:
        return f"its routes would be longer than {_MOST} characters"
    return (
        _backends_problem(group.spec.backends)
        or _references_problem(group.spec)
        or _calls_problem(group.spec.routes)
    )


def _size_of_ingress(ingress: Ingress) -> int:
    """About as long as its routes are: each path has the annotations."""
    assert ingress.spec is not None
    rules = [rule.http for rule in ingress.spec.rules or () if rule.http is not None]
    paths = sum(len(http.paths or ()) for http in rules)
    return paths * sum(len(ingress.metadata.annotation(key)) for key in _READERS)


def _size_of_group(spec: RouteGroupSpec) -> int:
    """About as long as its routes are: each method of a route has each backend, and all hosts."""
    hosts = sum(map(len, spec.hosts))
    size = len(spec.default_backends) * hosts
    for route in spec.routes:
        count = max(len(route.methods), 1) * len(route.backends or spec.default_backends)
        size += count * (hosts + sum(map(len, (*route.filters, *route.predicates))))
    return size


def _backends_problem(backends: Sequence[RouteGroupBackend]) -> str:
    if not backends:
        return "spec.backends: there is none"
    seen: set[str] = set()
    for index, backend in enumerate(backends):
        if backend.name in seen:
            return f"spec.backends[{index}]: the name {backend.name} is there twice"
        seen.add(backend.name)
        problem = _backend_problem(backend)
        if problem:
            return f"spec.backends[{index}]: {problem}"
    return ""


def _backend_problem(backend: RouteGroupBackend) -> str:
    kind = backend.type or "service"
    if backend.type not in _KNOWN_TYPES:
        return f"{backend.type!r} is no type of backend"
    if backend.algorithm not in _KNOWN_ALGORITHMS:
        return f"{backend.algorithm!r} is no load balancer algorithm"
    if not backend.name:
        return "it has no name"
    if kind == "network":
        return _address_problem(backend.address)
    if kind == "service" and not backend.service_name:
        return "it has no serviceName"
    if kind == "service" and not 0 < backend.service_port < 65536:
        return f"servicePort {backend.service_port} is no port"
    if kind == "lb" and not backend.endpoints:
        return "it has no endpoints"
    return ""


def _address_problem(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError as error:
        return f"address: {error}"
    if not parts.scheme or not parts.netloc or parts.path or parts.query:
        return f"address {address!r} is not scheme://host"
    return ""


def _references_problem(spec: RouteGroupSpec) -> str:
    names = {backend.name for backend in spec.backends}
    problem = _reference_problem(spec.default_backends, names)
    if problem:
        return f"spec.defaultBackends: {problem}"
    if not spec.default_backends and not spec.routes:
        return "spec.defaultBackends: there is none, and no routes"
    for index, route in enumerate(spec.routes):
        problem = _route_problem(route, bool(spec.default_backends), names)
        if problem:
            return f"spec.routes[{index}]: {problem}"
    return ""


def _route_problem(route: RouteGroupRoute, has_default: bool, names: set[str]) -> str:
    if not has_default and not route.backends:
        return "it has no backends, and there are no default ones"
    if route.path and route.path_subtree:
        return "it has both path and pathSubtree"
    if "" in route.methods:
        return "a method is empty"
    return _reference_problem(route.backends, names)


def _reference_problem(references: Iterable[BackendReference], names: set[str]) -> str:
    seen: set[str] = set()
    for reference in references:
        if reference.backend_name in seen:
            return f"{reference.backend_name} is there twice"
        seen.add(reference.backend_name)
        if reference.backend_name not in names:
            return f"{reference.backend_name!r} is no backend of this group"
        if not 0 <= reference.weight < 1 << 53:
            return f"the weight of {reference.backend_name} is {reference.weight}"
    return ""


def _calls_problem(routes: Sequence[RouteGroupRoute]) -> str:
    for index, route in enumerate(routes):
        problem = _not_one(read_filters, route.filters) or _not_one(
            read_predicates, route.predicates
        )
        if problem:
            return f"spec.routes[{index}]: {problem}"
    return ""


def _not_one(reader: _Reader, texts: Sequence[str]) -> str:
    for text in texts:
        try:
            count = len(reader(text))
        except EskipError as error:
            return f"{text[:48]!r}: {error}"
        if count != 1:
            return f"{text[:48]!r}: one is expected, not {count}"
    return ""
