"""Two tables, route by route: what would change if a router took its routes from the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tiphys.addons.routeserver.eskip import Route, route_text


@dataclass(frozen=True)
class Difference:
    """A route that is not the same: one side is empty where it is missing."""

    id: str
    here: str
    there: str

    def __str__(self) -> str:
        lines = [f"- {self.id}: {self.here}"] if self.here else []
        lines += [f"+ {self.id}: {self.there}"] if self.there else []
        return "\n".join(lines)


def differences(here: Iterable[Route], there: Iterable[Route]) -> list[Difference]:
    """By id. Routes that mean the same are the same, however they are written."""
    mine = _by_id(here)
    other = _by_id(there)
    found = []
    for id_ in sorted(mine.keys() | other.keys()):
        one = mine.get(id_)
        two = other.get(id_)
        if one != two:
            found.append(Difference(id_, _text(one), _text(two)))
    return found


def _by_id(routes: Iterable[Route]) -> dict[str, Route]:
    return {route.id: route.canonical() for route in routes}


def _text(route: Route | None) -> str:
    return route_text(route) if route is not None else ""
