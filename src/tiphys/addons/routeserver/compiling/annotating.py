"""Annotations and labels that routes of both kinds heed."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.addons.routeserver.compiling.objects import Metadata
from tiphys.addons.routeserver.compiling.options import Appended, Options
from tiphys.addons.routeserver.eskip import Backend, Call, Endpoint, Route

PROTOCOL = "zalando.org/skipper-backend-protocol"
ZONES = "zalando.org/traffic-zone-aware"
NO_ENDPOINTS = (Call("status", (502.0,)), Call("inlineContent", ("no endpoints",)))


def ignores_zones(metadata: Metadata) -> bool:
    return metadata.annotation(ZONES) == "false"


def zone_filters(metadata: Metadata) -> tuple[Call, ...]:
    """Instructs the server, which keeps tables for zones, to leave the route as it is."""
    return (Call("annotate", (ZONES, "false")),) if ignores_zones(metadata) else ()


def application(metadata: Metadata, options: Options) -> tuple[Call, ...]:
    """The filter that notes whose route it is."""
    name = (metadata.labels or {}).get(options.application_label, "")
    if not options.application_label or not name:
        return ()
    return (Call("annotate", ("Application", name)),)


def appended(rules: Iterable[Appended], metadata: Metadata) -> tuple[Call, ...]:
    """What the object's annotations add to its routes."""
    present = metadata.annotations or {}
    matching = [rule.calls for rule in rules if present.get(rule.key) == rule.value]
    return tuple(call for calls in matching for call in calls)


def outside(route: Route, metadata: Metadata, options: Options) -> Route:
    """With what annotations add to a route of a host outside."""
    predicates = appended(options.annotation_predicates, metadata)
    return route.where(*predicates).then(*appended(options.annotation_filters, metadata))


def inside(route: Route, metadata: Metadata, options: Options) -> Route:
    """With what annotations add to a route of a host inside."""
    predicates = appended(options.east_west_annotation_predicates, metadata)
    filters = appended(options.east_west_annotation_filters, metadata)
    return route.where(*predicates).then(*filters)


def backend_of(endpoints: tuple[Endpoint, ...], algorithm: str) -> Backend:
    """One endpoint is an address; several are chosen from. None: the caller answers with
    NO_ENDPOINTS."""
    if not endpoints:
        return Backend("shunt")
    if len(endpoints) == 1:
        return Backend("network", endpoints[0].address)
    return Backend("lb", "", algorithm, endpoints)
