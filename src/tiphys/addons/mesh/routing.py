"""Service routes: which one holds for a port, and what is wrong with one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tiphys.addons.mesh.types import ServiceRoute
from tiphys.api import core_v1
from tiphys.machinery import durations


@dataclass(frozen=True)
class Verdict:
    """What a route's conditions say. `conflicting` is the name of the route that came before it."""

    conflicting: str = ""
    no_service: str = ""
    unresolved: tuple[str, ...] = ()


def seconds(duration: str) -> float:
    """Of a Gateway API duration, such as ``1m30s``: its schema has looked at it."""
    return durations.seconds(duration)


def route_for(routes: Iterable[ServiceRoute], service: str, port: int) -> ServiceRoute | None:
    """Of the routes of a namespace the one that holds: who names the port comes before who names
    none, the older before the younger."""
    matching = [
        one for one in routes if one.spec.service == service and one.spec.port in (None, port)
    ]
    matching.sort(key=lambda one: (one.spec.port is None, *_age(one)))
    return matching[0] if matching else None


def judge(
    route: ServiceRoute, routes: Iterable[ServiceRoute], services: dict[str, core_v1.Service]
) -> Verdict:
    """`routes` are those of its namespace, `services` too, by name."""
    older = [
        one
        for one in routes
        if one.metadata.uid != route.metadata.uid
        and (one.spec.service, one.spec.port) == (route.spec.service, route.spec.port)
        and _age(one) < _age(route)
    ]
    first = min(older, key=_age).metadata.name if older else ""
    unresolved = tuple(
        f"{one.name}:{one.port}"
        for one in route.spec.backend_refs
        if not has_port(services.get(one.name), one.port)
    )
    target = services.get(route.spec.service)
    missing = ""
    if target is None:
        missing = f"there is no Service {route.spec.service}"
    elif route.spec.port is not None and not has_port(target, route.spec.port):
        missing = f"Service {route.spec.service} has no TCP port {route.spec.port}"
    return Verdict(first, missing, unresolved)


def has_port(service: core_v1.Service | None, port: int) -> bool:
    return service is not None and any(
        one.port == port and (one.protocol or "TCP") == "TCP" for one in service.spec.ports
    )


def _age(route: ServiceRoute) -> tuple[str, str]:
    return (route.metadata.creation_timestamp or "", route.metadata.name)
