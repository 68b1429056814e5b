"""Routes as text: one a line, each ended by a semicolon."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from decimal import Decimal
from urllib.parse import quote_plus

from tiphys.addons.routeserver.eskip.route import Argument, Backend, Call, Endpoint, Route

_CONTROL = {
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_QUOTED = str.maketrans({**_CONTROL, '"': '\\"'})
_SLASHED = str.maketrans({**_CONTROL, "/": "\\/"})
_PATTERNS = {"Host": 0, "PathRegexp": 0, "HeaderRegexp": 1}
"""Predicates with an argument that is written as a regular expression, and which it is."""


def table_text(routes: Iterable[Route]) -> str:
    """A whole table, in the order given."""
    return "\n".join(f"{route.id}: {route_text(route)};" for route in routes)


@functools.lru_cache(maxsize=65536)  # most of a table is what it was three seconds ago
def route_text(route: Route) -> str:
    """A route without its id."""
    predicates = [_predicate(call) for call in route.predicates if call.name != "Any"]
    steps = [" && ".join(predicates) or "*"]
    steps += [_call(call) for call in route.filters]
    steps.append(_backend(route.backend))
    return " -> ".join(steps)


def _predicate(call: Call) -> str:
    pattern = _PATTERNS.get(call.name)
    if pattern is None or len(call.args) != pattern + 1 or not call.args[pattern]:
        return _call(call)  # an empty expression is text: two slashes start a comment
    before = [_argument(argument) for argument in call.args[:pattern]]
    expression = str(call.args[pattern]).translate(_SLASHED)
    return f"{call.name}({', '.join([*before, f'/{expression}/'])})"


def _call(call: Call) -> str:
    return f"{call.name}({', '.join(map(_argument, call.args))})"


def _argument(argument: Argument) -> str:
    if isinstance(argument, str):
        return f'"{argument.translate(_QUOTED)}"'
    if argument == int(argument):
        return str(int(argument))
    return format(Decimal(repr(argument)), "f")  # eskip knows no exponents


def _backend(backend: Backend) -> str:
    if backend.kind == "network":
        return f'"{backend.address}"'
    if backend.kind != "lb":
        return f"<{backend.kind}>"
    algorithm = [backend.algorithm] if backend.algorithm else []
    endpoints = [f'"{_endpoint(endpoint)}"' for endpoint in backend.endpoints]
    return f"<{', '.join([*algorithm, *endpoints])}>"


def _endpoint(endpoint: Endpoint) -> str:
    if not endpoint.zone:
        return endpoint.address
    return f"{endpoint.address}?zone={quote_plus(endpoint.zone)}"
