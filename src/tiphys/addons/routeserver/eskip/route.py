"""A route: which requests it takes, what happens to them, and where they go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

Argument = str | float


class Call(NamedTuple):
    """A predicate or a filter. Numbers are floats, as in Skipper; a regular expression is a string."""

    name: str
    args: tuple[Argument, ...] = ()


class Endpoint(NamedTuple):
    """One of those that a load balanced backend has. `zone` is empty where it is not known."""

    address: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """`kind` is network, shunt, loopback, dynamic, lb or forward. `address` is of network alone, the rest of lb."""

    kind: str
    address: str = ""
    algorithm: str = ""
    endpoints: tuple[Endpoint, ...] = ()


SHUNT = Backend("shunt")


@dataclass(frozen=True, slots=True)
class Route:
    """Predicates must all hold; filters work in their order. A route without predicates takes every request."""

    id: str
    predicates: tuple[Call, ...] = ()
    filters: tuple[Call, ...] = ()
    backend: Backend = SHUNT

    def canonical(self) -> Route:
        """Equal for routes that mean the same: the order of predicates and of endpoints means nothing."""
        predicates = sorted(self.predicates, key=lambda predicate: predicate.name)
        endpoints = sorted(self.backend.endpoints)
        backend = replace(self.backend, endpoints=tuple(endpoints))
        return replace(self, predicates=tuple(predicates), backend=backend)

    def where(self, *predicates: Call) -> Route:
        """The route with more predicates, after those that it has."""
        return replace(self, predicates=(*self.predicates, *predicates))

    def without(self, *names: str) -> Route:
        """The route without its predicates of these names."""
        kept = tuple(call for call in self.predicates if call.name not in names)
        return replace(self, predicates=kept)

    def after(self, *filters: Call) -> Route:
        """The route with more filters, before those that it has."""
        return replace(self, filters=(*filters, *self.filters))

    def then(self, *filters: Call) -> Route:
        """The route with more filters, after those that it has."""
        return replace(self, filters=(*self.filters, *filters))
