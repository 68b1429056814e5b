"""What is served: the table as text, packed, and with a digest for an ETag; whole, and for each
zone."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tiphys.addons.routeserver.compiling.annotating import ZONES
from tiphys.addons.routeserver.compiling.cluster import in_zone
from tiphys.addons.routeserver.eskip import Call, Route, table_text

_LEVEL = 6
_WHOLE = Call("annotate", (ZONES, "false"))


@dataclass(frozen=True)
class Body:
    """A table ready to be sent. `digest` depends on nothing but the text: servers that read the
    same have the same."""

    count: int
    text: bytes
    packed: bytes
    digest: str


def body_of(routes: Sequence[Route]) -> Body:
    text = table_text(routes).encode()
    packed = gzip.compress(text, _LEVEL, mtime=0)
    return Body(len(routes), text, packed, hashlib.sha256(text).hexdigest())


@dataclass(frozen=True)
class Table:
    """Bodies made of one set of routes; `zones` has every zone that an endpoint is in."""

    routes: tuple[Route, ...]
    complete: Body
    zones: dict[str, Body]

    def body(self, zone: str) -> Body:
        """Of the zone, or the whole where nothing is in that zone."""
        return self.zones.get(zone, self.complete)


def table_of(routes: tuple[Route, ...]) -> Table:
    """Takes a while for large tables and needs nothing of the event loop: for a thread."""
    zones = {endpoint.zone for route in routes for endpoint in route.backend.endpoints}
    return Table(
        routes,
        body_of(routes),
        {zone: body_of([_in_zone(route, zone) for route in routes]) for zone in zones if zone},
    )


def _in_zone(route: Route, zone: str) -> Route:
    """The route with the endpoints of a zone alone, where those are enough and the object does not
    say otherwise."""
    if _WHOLE in route.filters:
        return route
    near = in_zone(route.backend.endpoints, zone)
    return replace(route, backend=replace(route.backend, endpoints=near))


class Tables:
    """The table that is served now: none before the first load, and never an empty one in place of
    another.

    `empty` counts loads without any route: a server whose lists came back empty must not take all
    traffic down.
    """

    def __init__(self) -> None:
        self.current: Table | None = None
        self.empty = 0
        self.updates = 0

    def load(self, table: Table) -> bool:
        """Whether what is served is another from now on."""
        if not table.routes:
            self.empty += 1
            return False
        if self.current is not None and self.current.complete.digest == table.complete.digest:
            return False
        self.current = table
        self.updates += 1
        return True
