"""The grammar: operators by their precedence, as Expr has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tiphys.addons.keda.formula.operations import (
    BINARY,
    FUNCTIONS,
    PREDICATES,
    FormulaError,
    Scope,
    negated,
    truth,
)

Node = Callable[[Scope], Any]

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<number>(?:\d[\d_]*)?\.\d+(?:[eE][+-]?\d+)?|\d[\d_]*(?:[eE][+-]?\d+)?(?:\.(?!\.)\d*)?)"
    r"|(?P<name>[A-Za-z_$][\w$]*)"
    r"|(?P<text>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<sign>\*\*|\?\?|\?:|\|\||&&|==|!=|<=|>=|\.\.|[-+*/%^<>!?:,;()\[\]{}#.|=])"
    r")"
)
_BINDS = {
    "|": 0,
    "or": 10,
    "||": 10,
    "and": 15,
    "&&": 15,
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">=", "in", "not in"), 20),
    "..": 25,
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "**": 100,
    "^": 100,
    "??": 500,
}
_RIGHT = ("**", "^")
_UNARY = {"not": 50, "!": 50, "-": 90, "+": 90}
_WORDS = ("not", "and", "or", "in", "let", "true", "false", "nil")
_DEEPEST = 40


class Token(NamedTuple):
    """`kind` is number, name, text, sign or end; `place` counts from 0."""

    kind: str
    text: str
    place: int


def tokens(text: str) -> list[Token]:
    token_list = []
    place = 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            raise _error_at(text, place, f"unrecognized character: {text[place : place + 1]!r}")
        kind = match.lastgroup or ""
        token_list.append(Token(kind, match.group(kind), match.start(kind)))
        place = match.end()
    return [*token_list, Token("end", "", end)]


def _error_at(text: str, place: int, message: str) -> FormulaError:
    """With the line and the column, as Expr has it."""
    line = text.count("\n", 0, place) + 1
    column = place - (text.rfind("\n", 0, place) + 1)
    shown = text.splitlines()[line - 1] if text else ""
    return FormulaError(f"{message} ({line}:{column + 1})\n | {shown}\n | {'.' * column}^")


class Parser:
    """Reads one formula, in which `names` may stand."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self._text = text
        self._names = names
        self._tokens = tokens(text)
        self._place = 0
        self._depth = 0
        self._in_predicate = 0

    def parsed(self) -> Node:
        """Raises FormulaError."""
        node = self._sequence()
        if self._next.kind != "end":
            raise self._unexpected()
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _take(self) -> Token:
        token = self._next
        self._place += 1
        return token

    def _is(self, *signs: str) -> bool:
        return self._next.kind in ("sign", "name") and self._next.text in signs

    def _expect(self, sign: str) -> None:
        if not self._is(sign):
            raise self._unexpected()
        self._take()

    def _unexpected(self) -> FormulaError:
        token = self._next
        described = "EOF" if token.kind == "end" else f'{token.kind}("{token.text}")'
        return _error_at(self._text, token.place, f"unexpected token {described}")

    # --- from the widest to the narrowest ---

    def _sequence(self) -> Node:
        """``let name = value; rest``, or an expression."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _error_at(self._text, self._next.place, "the formula is nested too deeply")
        node = self._let() if self._is("let") else self._conditional()
        self._depth -= 1
        return node

    def _let(self) -> Node:
        self._take()
        name = self._take()
        if name.kind != "name" or name.text in _WORDS:
            raise _error_at(self._text, name.place, f'unexpected token {name.kind}("{name.text}")')
        self._expect("=")
        value = self._sequence()
        self._expect(";")
        before = self._names
        self._names = before | {name.text}
        rest = self._sequence()
        self._names = before
        return lambda scope: rest(scope.with_name(name.text, value(scope)))

    def _conditional(self) -> Node:
        condition = self._binary(0)
        if self._is("?:"):
            self._take()
            other = self._sequence()
            return lambda scope: _or_else(condition(scope), other, scope)
        if not self._is("?"):
            return condition
        self._take()
        then = self._sequence()
        self._expect(":")
        otherwise = self._sequence()
        return lambda scope: (then if truth(condition(scope), "?") else otherwise)(scope)

    def _binary(self, least: int) -> Node:
        left = self._unary()
        while True:
            sign = self._operator()
            if sign is None or _BINDS[sign] < least:
                return left
            for _ in sign.split():
                self._take()
            if sign == "|":
                left = self._piped(left)
                continue
            binds = _BINDS[sign]
            right = self._binary(binds if sign in _RIGHT else binds + 1)
            left = _joined(sign, left, right)

    def _operator(self) -> str | None:
        token = self._next
        if token.kind not in ("sign", "name"):
            return None
        if token.text == "not" and self._tokens[self._place + 1].text == "in":
            return "not in"
        return token.text if token.text in _BINDS else None

    def _unary(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _error_at(self._text, self._next.place, "the formula is nested too deeply")
        try:
            if self._next.kind in ("sign", "name") and self._next.text in _UNARY:
                sign = self._take().text
                value = self._binary(_UNARY[sign])
                if sign == "+":
                    return value
                if sign == "-":
                    return lambda scope: negated(value(scope))
                return lambda scope: not truth(value(scope), sign)
            return self._followed(self._primary())
        finally:
            self._depth -= 1

    def _followed(self, node: Node) -> Node:
        """A place in an array, if one follows."""
        while self._is("["):
            self._take()
            place = self._sequence()
            self._expect("]")
            node = _member_of(node, place)
        return node

    def _primary(self) -> Node:
        token = self._next
        if token.kind == "number":
            return _constant(self._number())
        if token.kind == "text":
            return _constant(self._take().text[1:-1])
        if token.kind == "name":
            return self._name()
        if self._is("("):
            self._take()
            inner = self._sequence()
            self._expect(")")
            return inner
        if self._is("["):
            self._take()
            members = self._list("]")
            return lambda scope: [member(scope) for member in members]
        if self._is("#") and self._in_predicate:
            self._take()
            return lambda scope: scope.member
        raise self._unexpected()

    def _number(self) -> int | float:
        text = self._take().text.replace("_", "")
        if len(text) > 40:
            raise FormulaError("a number is too long")
        return int(text) if text.isdecimal() else float(text)

    def _name(self) -> Node:
        token = self._take()
        constants = {"true": True, "false": False, "nil": None}
        if token.text in constants:
            return _constant(constants[token.text])
        if self._is("(") and token.text not in self._names:
            return self._call(token, [])
        if token.text not in self._names:
            raise _error_at(self._text, token.place, f"unknown name {token.text}")
        return lambda scope: _known(scope, token.text)

    def _piped(self, first: Node) -> Node:
        return self._call(self._take(), [first])

    def _call(self, name: Token, operands: list[Node]) -> Node:
        """A call of a function, of which some arguments are given before its brackets."""
        if name.text not in FUNCTIONS and name.text not in PREDICATES:
            raise _error_at(self._text, name.place, f"unknown name {name.text}")
        self._expect("(")
        arguments = list(operands)
        while not self._is(")"):
            if arguments and name.text in PREDICATES and len(arguments) == 1:
                if self._is(","):
                    self._take()
                if self._is("{") or name.text not in FUNCTIONS:
                    return self._predicate(name, arguments[0])
            elif arguments:
                self._expect(",")
            arguments.append(self._sequence())
        self._take()
        if name.text not in FUNCTIONS:
            if name.text == "count" and len(arguments) == 1:
                values = arguments[0]
                return lambda scope: PREDICATES["count"](_list(values(scope), "count"), _same)
            raise _error_at(self._text, name.place, f"not enough arguments to call {name.text}")
        function = FUNCTIONS[name.text]
        return lambda scope: function(*[argument(scope) for argument in arguments])

    def _predicate(self, name: Token, values: Node) -> Node:
        """``{# > 1}`` or ``# > 1``, and the bracket after it."""
        is_braced = self._is("{")
        if is_braced:
            self._take()
        self._in_predicate += 1
        holds = self._sequence()
        self._in_predicate -= 1
        if is_braced:
            self._expect("}")
        self._expect(")")
        function = PREDICATES[name.text]

        def run(scope: Scope) -> Any:
            members = _list(values(scope), name.text)

            def ask(member: Any) -> Any:
                scope.step()
                return holds(scope.within(member))

            return function(members, ask)

        return run

    def _list(self, end: str) -> list[Node]:
        members: list[Node] = []
        while not self._is(end):
            if members:
                self._expect(",")
            members.append(self._sequence())
        self._take()
        return members


def _same(value: Any) -> Any:
    return value


def _constant(value: Any) -> Node:
    return lambda scope: value


def _known(scope: Scope, name: str) -> Any:
    scope.step()
    return scope.names[name]


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise FormulaError(f"builtin {name} takes only array")
    return value


def _or_else(value: Any, other: Node, scope: Scope) -> Any:
    return value if truth(value, "?:") else other(scope)


def _member_of(node: Node, place: Node) -> Node:
    def run(scope: Scope) -> Any:
        members = node(scope)
        index = place(scope)
        try:
            return members[index]
        except (IndexError, TypeError, KeyError):
            raise FormulaError(f"index out of range: {index}") from None

    return run


def _joined(sign: str, left: Node, right: Node) -> Node:
    if sign in ("or", "||"):
        return lambda scope: truth(left(scope), sign) or truth(right(scope), sign)
    if sign in ("and", "&&"):
        return lambda scope: truth(left(scope), sign) and truth(right(scope), sign)
    if sign == "??":
        return lambda scope: _first_known(left(scope), right, scope)
    apply = BINARY[sign]

    def run(scope: Scope) -> Any:
        scope.step()
        return apply(left(scope), right(scope))

    return run


def _first_known(value: Any, other: Node, scope: Scope) -> Any:
    return other(scope) if value is None else value
