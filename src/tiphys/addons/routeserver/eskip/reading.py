"""Text taken apart: filters, predicates, or a whole table. Raises EskipError and nothing else."""

from __future__ import annotations

import functools
import math
import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tiphys.addons.routeserver.eskip.route import SHUNT, Argument, Backend, Call, Endpoint, Route

_FIXED = {
    "<shunt>": "shunt",
    "<loopback>": "loopback",
    "<dynamic>": "dynamic",
    "<forward>": "forward",
}
_TOKEN = re.compile(
    r"""
      (?P<space>[\s\x85\xa0]+|//[^\n]*)
    | (?P<fixed><(?:shunt|loopback|dynamic|forward)>)
    | (?P<mark>&&|->|[,():;<>*])
    | (?P<text>"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)
    | (?P<pattern>/(?:[^/\\\[]|\\.|\[(?:[^\]\\]|\\.)*\])*/)
    | (?P<number>-?(?:\d+(?:\.\d+)?|\.\d+))
    | (?P<symbol>[A-Za-z_][A-Za-z0-9_]*)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ONCE = ("Path", "Method")  # predicates that a route of a table has at most once
_TEXTS = {"Path": 1, "Host": 1, "PathRegexp": 1, "Method": 1, "Header": 2, "HeaderRegexp": 2}
"""Predicates of which a table is checked to have so many arguments, all of them text."""


class EskipError(ValueError):
    """The text is not eskip; the message has the position."""


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


@functools.lru_cache(maxsize=2048)
def read_filters(text: str) -> tuple[Call, ...]:
    """Filters joined by ``->``; empty text has none."""
    reader = _Reader(text)
    return () if reader.ended() else reader.all(reader.filters())


@functools.lru_cache(maxsize=2048)
def read_predicates(text: str) -> tuple[Call, ...]:
    """Predicates joined by ``&&``; ``*`` stands for none."""
    reader = _Reader(text)
    return () if reader.ended() else reader.all(reader.predicates())


def read_routes(text: str) -> list[Route]:
    """A table of routes with ids, or a single route without one, whose id is empty then."""
    reader = _Reader(text)
    routes: list[Route] = []
    while not reader.ended():
        routes.append(reader.definition(bare=not routes))
        if not reader.ended():
            reader.take("mark", ";")
    return routes


# --- tokens ---


def _tokens(text: str) -> list[_Token]:
    token_list: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            last = token_list[-1].text if token_list else ""
            raise EskipError(f"after {last!r}, position {position}: nothing of eskip begins so")
        if match.lastgroup != "space":
            assert match.lastgroup is not None
            token_list.append(_Token(match.lastgroup, match.group(), position))
        position = match.end()
    return token_list


def _unquoted(text: str) -> str:
    delimiter = text[0]

    def plain(match: re.Match[str]) -> str:
        character = match[1]
        if character in (delimiter, "\\"):
            return character
        return _CONTROL.get(character, match[0])

    return _ESCAPED.sub(plain, text[1:-1])


def _pattern(text: str) -> str:
    """Only the delimiter and the backslash lose their backslash: the rest is the regular
    expression's own."""
    return _ESCAPED.sub(lambda match: match[1] if match[1] in "/\\" else match[0], text[1:-1])


# --- the grammar ---


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    def ended(self) -> bool:
        return self._next >= len(self._tokens)

    def all(self, calls: tuple[Call, ...]) -> tuple[Call, ...]:
        if not self.ended():
            raise self._unexpected()
        return calls

    def take(self, kind: str, text: str = "") -> str:
        if not self._is(kind, text):
            raise self._unexpected()
        self._next += 1
        return self._tokens[self._next - 1].text

    def _is(self, kind: str, text: str = "", ahead: int = 0) -> bool:
        if self._next + ahead >= len(self._tokens):
            return False
        token = self._tokens[self._next + ahead]
        return token.kind == kind and text in ("", token.text)

    def _unexpected(self) -> EskipError:
        if self.ended():
            return EskipError("it ends too early")
        token = self._tokens[self._next]
        return EskipError(f"position {token.position}: unexpected {token.text!r}")

    # Each of these reads what it is named after.

    def definition(self, bare: bool) -> Route:
        has_id = self._is("symbol") and self._is("mark", ":", ahead=1)
        if not has_id and not bare:
            raise self._unexpected()
        id_ = ""
        if has_id:
            id_ = self.take("symbol")
            self.take("mark", ":")
        predicates = self.predicates()
        _check_arguments(predicates)
        _check_repeats(predicates)
        filters: list[Call] = []
        self.take("mark", "->")
        while self._is("symbol"):
            filters.append(self._call())
            self.take("mark", "->")
        return Route(id_, predicates, tuple(filters), self._backend())

    def predicates(self) -> tuple[Call, ...]:
        calls = [self._predicate()]
        while self._is("mark", "&&"):
            self._next += 1
            calls.append(self._predicate())
        return tuple(call for call in calls if call.name not in ("*", "Any"))

    def filters(self) -> tuple[Call, ...]:
        calls = [self._call()]
        while self._is("mark", "->"):
            self._next += 1
            calls.append(self._call())
        return tuple(calls)

    def _predicate(self) -> Call:
        if self._is("mark", "*"):
            self._next += 1
            return Call("*")
        return self._call()

    def _call(self) -> Call:
        name = self.take("symbol")
        self.take("mark", "(")
        args: list[Argument] = []
        while not self._is("mark", ")"):
            if args:
                self.take("mark", ",")
            args.append(self._argument())
        self.take("mark", ")")
        return Call(name, tuple(args))

    def _argument(self) -> Argument:
        if self._is("number"):
            number = float(self.take("number"))
            if math.isinf(number):
                raise EskipError("a number is too large")
            return number
        if self._is("pattern"):
            return _pattern(self.take("pattern"))
        return _unquoted(self.take("text"))

    def _backend(self) -> Backend:
        if self._is("text"):
            return Backend("network", _unquoted(self.take("text")))
        if self._is("fixed"):
            kind = _FIXED[self.take("fixed")]
            return SHUNT if kind == "shunt" else Backend(kind)
        self.take("mark", "<")
        algorithm = ""
        if self._is("symbol"):
            algorithm = self.take("symbol")
            self.take("mark", ",")
        addresses = [_unquoted(self.take("text"))]
        while self._is("mark", ","):
            self._next += 1
            addresses.append(_unquoted(self.take("text")))
        self.take("mark", ">")
        _check_protocols(addresses)
        return Backend("lb", "", algorithm, tuple(map(endpoint_of, addresses)))


def _check_arguments(predicates: tuple[Call, ...]) -> None:
    for name, args in predicates:
        count = _TEXTS.get(name, len(args))
        if name in _TEXTS and [type(argument) for argument in args] != [str] * count:
            raise EskipError(f"{name} predicate expects {count} string arguments")


def _check_repeats(predicates: tuple[Call, ...]) -> None:
    seen: set[tuple[object, ...]] = set()
    for call in predicates:
        key: tuple[object, ...] = (call.name,)
        if call.name == "Header":
            key = (call.name, *call.args[:1])
        elif call.name not in _ONCE:
            continue
        if key in seen:
            raise EskipError(f"duplicate {call.name} predicate")
        seen.add(key)


def _check_protocols(addresses: list[str]) -> None:
    schemes = {address.partition("://")[0] for address in addresses}
    if len(schemes) > 1:
        raise EskipError("the endpoints of a backend have different protocols")


def endpoint_of(address: str) -> Endpoint:
    """An address as it is written, with its zone in the query where it has one."""
    if "zone=" not in address:
        return Endpoint(address)
    try:
        parts = urlsplit(address)
    except ValueError:
        return Endpoint(address)
    query = parse_qsl(parts.query, keep_blank_values=True)
    zone = next((value for name, value in query if name == "zone"), "")
    if not zone:
        return Endpoint(address)
    rest = urlencode([pair for pair in query if pair[0] != "zone"])
    return Endpoint(urlunsplit(parts._replace(query=rest)), zone)
