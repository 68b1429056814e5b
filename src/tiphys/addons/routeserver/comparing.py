"""Two tables, route by route: what would change if a router took its routes from the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tiphys.addons.routeserver.eskip import Route, route_text


@dataclass(frozen=True)
class Difference:
    """A route that is not the same: one side is empty where it is missing."""

    id: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        lines = [f"- {self.id}: {self.ours}"] if self.ours else []
        lines += [f"+ {self.id}: {self.theirs}"] if self.theirs else []
        return "\n".join(lines)


def differences(ours: Iterable[Route], theirs: Iterable[Route]) -> list[Difference]:
    """By id. Routes that mean the same are the same, however they are written."""
    mine = _by_id(ours)
    other = _by_id(theirs)
    differing = []
    for id_ in sorted(mine.keys() | other.keys()):
        our_route = mine.get(id_)
        their_route = other.get(id_)
        if our_route != their_route:
            differing.append(Difference(id_, _text(our_route), _text(their_route)))
    return differing


def _by_id(routes: Iterable[Route]) -> dict[str, Route]:
    return {route.id: route.canonical() for route in routes}


def _text(route: Route | None) -> str:
    return route_text(route) if route is not None else ""
