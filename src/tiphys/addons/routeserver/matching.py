"""Which route takes a request. The order is Skipper's: the more exact path, then the more
predicates.

Of Skipper's predicates these are known: Path, PathSubtree, PathRegexp, Host, Method, Methods,
Header, HeaderRegexp, Traffic, TrafficSegment, Weight, True and False. A route with any other is
left out, and counted: it must not take what it should not. Expressions are RE2's, as Skipper's are,
and take a time in proportion to what they look at.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import re2

from tiphys.addons.routeserver.eskip import Call, Route


@dataclass(frozen=True)
class Request:
    """`number` is from 0 to 1 and drawn once for the request, `draw` gives another each time."""

    method: str
    host: str
    path: str
    headers: Mapping[str, str]
    number: float = 0.0
    draw: Callable[[], float] = random.random


_Test = Callable[[Request], bool]


@dataclass(frozen=True)
class _Candidate:
    route: Route
    tests: tuple[_Test, ...]
    order: tuple[float, ...]


class Matcher:
    """The routes of one table, prepared. `unknown` has the ids of those that are left out."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.unknown: list[str] = []
        candidates: list[_Candidate] = []
        for route in routes:
            candidate = self._prepared(route)
            if candidate is not None:
                candidates.append(candidate)
        self._candidates = sorted(candidates, key=lambda each: each.order)

    def _prepared(self, route: Route) -> _Candidate | None:
        try:
            tests = tuple(_TESTS[call.name](call) for call in route.predicates)
            return _Candidate(route, tests, _order(route))
        except (LookupError, TypeError, ValueError, re2.error):
            self.unknown.append(route.id)
            return None

    def find(self, request: Request) -> Route | None:
        for candidate in self._candidates:
            if all(test(request) for test in candidate.tests):
                return candidate.route
        return None


def _order(route: Route) -> tuple[float, ...]:
    """Ascending: what is matched first is smallest."""
    exact = 1
    subtree = 0
    weight = float(len(route.predicates))
    for call in route.predicates:
        if call.name == "Path":
            exact = 0
            weight -= 1
        elif call.name == "PathSubtree":
            subtree = len(str(call.args[0]))
            weight -= 1
        elif call.name == "Weight":
            weight += float(call.args[0]) - 1
    return exact, -subtree, -weight


# --- predicates ---


def _path(call: Call) -> _Test:
    wanted = _text(call)
    return lambda request: request.path == wanted


def _path_subtree(call: Call) -> _Test:
    root = _text(call).rstrip("/")
    return lambda request: request.path == root or request.path.startswith(root + "/")


def _path_regexp(call: Call) -> _Test:
    expression = re2.compile(_text(call))
    return lambda request: expression.search(request.path) is not None


def _host(call: Call) -> _Test:
    expression = re2.compile(_text(call))
    return lambda request: expression.search(request.host) is not None


def _methods(call: Call) -> _Test:
    wanted = {str(argument).upper() for argument in call.args}
    return lambda request: request.method in wanted


def _header(call: Call) -> _Test:
    name = _text(call)
    wanted = _text(call, 1)
    return lambda request: request.headers.get(name) == wanted


def _header_regexp(call: Call) -> _Test:
    name = _text(call)
    expression = re2.compile(_text(call, 1))
    return lambda request: expression.search(request.headers.get(name, "")) is not None


def _traffic(call: Call) -> _Test:
    """Its part of what the routes before it have left."""
    part = float(call.args[0])
    return lambda request: request.draw() < part


def _traffic_segment(call: Call) -> _Test:
    start = float(call.args[0])
    end = float(call.args[1])
    return lambda request: start <= request.number < end


def _always(call: Call) -> _Test:
    return lambda request: True


def _never(call: Call) -> _Test:
    return lambda request: False


def _text(call: Call, index: int = 0) -> str:
    argument = call.args[index]
    if not isinstance(argument, str):
        raise TypeError(f"{call.name} takes text")
    return argument


_TESTS: dict[str, Callable[[Call], _Test]] = {
    "Path": _path,
    "PathSubtree": _path_subtree,
    "PathRegexp": _path_regexp,
    "Host": _host,
    "Method": _methods,
    "Methods": _methods,
    "Header": _header,
    "HeaderRegexp": _header_regexp,
    "Traffic": _traffic,
    "TrafficSegment": _traffic_segment,
    "Weight": _always,
    "True": _always,
    "False": _never,
}
