"""CEL text to a tree of nodes. Positions are kept for messages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tiphys.machinery.cel.literals import LITERAL, LiteralError, partial_literal, value_of
from tiphys.machinery.cel.values import CelError, Uint
from tiphys.machinery.remembered import remembered

_MAX_DEPTH = 120
_KINDS = {
    "space": r"[\t \r\n\f]+|//[^\n]*",
    "float": r"\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?",
    "hex": r"0x[0-9a-fA-F]+[uU]?",
    "int": r"\d+[uU]?",
    "string": LITERAL,
    "quoted": r"`[A-Za-z0-9_./ -]+`",
    "name": r"[_a-zA-Z][_a-zA-Z0-9]*",
    "op": r"\[\?|\.\?|==|!=|<=|>=|&&|\|\||[-+*/%!<>?:.,()\[\]{}]",
}
_TOKEN = re.compile("|".join(f"(?P<{kind}>{form})" for kind, form in _KINDS.items()), re.ASCII)
RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


def _is_signed_number(node: Node) -> bool:
    """Whether a minus before a node belongs to it: it is a literal that may be negative, and is
    not yet."""
    if node.kind != "literal" or isinstance(node.value, bool | Uint):
        return False
    return isinstance(node.value, int | float) and node.value >= 0


@dataclass(slots=True)
class Node:
    """kind: literal, name, select, index, call, list, map, message.

    value: the literal, the name, or the function's name; args: operands in order (a call's target,
           if any, is `target`)
    optional: of a select or index, whether it is the optional form; of a list or map, which entries
              are optional
    A message (``Object.spec{replicas: 1}``) has its type's name as value and its fields as a map's
    entries.
    """

    kind: str
    value: Any = None
    args: list[Node] = field(default_factory=list)
    target: Node | None = None
    optional: Any = False
    position: int = 0


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


class ParseError(CelError):
    """The text is not CEL; `position` is where."""

    def __init__(self, message: str, position: int, text: str) -> None:
        super().__init__(explain(message, position, text, "Syntax error: "))
        self.position = position


def explain(message: str, position: int, text: str, label: str = "") -> str:
    """An error with the place it points to, as CEL's own tools print it."""
    line = text.count("\n", 0, position) + 1
    start = text.rfind("\n", 0, position) + 1
    shown = text[start:].split("\n", 1)[0]
    column = position - start
    return f"ERROR: <input>:{line}:{column + 1}: {label}{message}\n | {shown}\n | {'.' * column}^"


def _tokens(text: str) -> list[_Token]:
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            unknown = partial_literal(text, position) or text[position]
            raise ParseError(f"token recognition error at: '{unknown}'", position, text)
        if match.lastgroup != "space":
            tokens.append(_Token(match.lastgroup or "", match[0], position))
        position = match.end()
    tokens.append(_Token("end", "<EOF>", len(text)))
    return tokens


TOO_DEEP = "expression recursion limit exceeded: 250"  # upstream's message
_LONGEST_INTEGER = 400  # digits, most of them zeros: one of more than 4,300 Python refuses to read

_BINARY = {
    "||": 1,
    "&&": 2,
    "==": 3,
    "!=": 3,
    "<": 3,
    "<=": 3,
    ">": 3,
    ">=": 3,
    "in": 3,
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
}


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._index = 0
        self._depth = 0

    @property
    def _now(self) -> _Token:
        return self._tokens[self._index]

    def _fail(self, token: _Token) -> ParseError:
        return ParseError(f"mismatched input '{token.text}'", token.position, self._text)

    def _take(self, text: str = "") -> _Token:
        token = self._now
        if text and (token.text != text or token.kind in ("string", "quoted")):
            raise self._fail(token)
        self._index += 1
        return token

    def _is(self, text: str) -> bool:
        return self._now.text == text and self._now.kind not in ("string", "quoted")

    def parse(self) -> Node:
        node = self._expression()
        if self._now.kind != "end":
            raise self._fail(self._now)
        return node

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ParseError("expression recursion limit exceeded", self._now.position, self._text)
        node = self._binary(1)
        if self._is("?"):
            position = self._take().position
            yes = self._binary(1)
            self._take(":")
            node = Node("call", "_?_:_", [node, yes, self._expression()], position=position)
        self._depth -= 1
        return node

    def _binary(self, least: int) -> Node:
        left = self._unary()
        while True:
            token = self._now
            power = _BINARY.get(token.text, 0) if token.kind in ("op", "name") else 0
            if power < least or not power:
                return left
            self._take()
            left = Node(
                "call", f"_{token.text}_", [left, self._binary(power + 1)], position=token.position
            )

    def _unary(self) -> Node:
        token = self._now
        if token.kind == "op" and token.text in ("!", "-"):
            self._take()
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise ParseError("expression recursion limit exceeded", token.position, self._text)
            inner = self._unary()
            self._depth -= 1
            if token.text == "-" and _is_signed_number(inner):
                return Node("literal", -inner.value, position=token.position)
            return Node(
                "call", "!_" if token.text == "!" else "-_", [inner], position=token.position
            )
        return self._member()

    def _member(self) -> Node:
        node = self._primary()
        while True:
            token = self._now
            if token.kind == "op" and token.text in (".", ".?"):
                self._take()
                name = self._now
                if name.kind not in ("name", "quoted"):
                    raise self._fail(name)
                self._take()
                label = name.text.strip("`")
                if token.text == "." and self._is("("):
                    position = self._now.position  # where upstream's messages point to
                    node = Node("call", label, self._arguments(), target=node, position=position)
                else:
                    node = Node(
                        "select",
                        label,
                        [node],
                        optional=token.text == ".?",
                        position=token.position,
                    )
            elif token.kind == "op" and token.text in ("[", "[?"):
                self._take()
                index = self._expression()
                self._take("]")
                node = Node(
                    "index",
                    None,
                    [node, index],
                    optional=token.text == "[?",
                    position=token.position,
                )
            elif token.kind == "op" and token.text == "{" and (dotted := _dotted(node)):
                self._take()
                node = self._message(dotted, token.position)
            else:
                return node

    def _arguments(self, close: str = ")") -> list[Node]:
        self._take("(")
        arguments = []
        while not self._is(close):
            arguments.append(self._expression())
            if not self._is(","):
                break
            self._take()
        self._take(close)
        return arguments

    def _primary(self) -> Node:
        token = self._take()
        if token.kind == "op" and token.text == "(":
            node = self._expression()
            self._take(")")
            return node
        if token.kind == "op" and token.text in ("[", "[?"):
            return self._list(token.position, first_optional=token.text == "[?")
        if token.kind == "op" and token.text == "{":
            return self._map(token.position)
        if token.kind == "op" and token.text == ".":
            token = self._take()
        if token.kind == "name":
            return self._name(token)
        return Node("literal", self._literal(token), position=token.position)

    def _name(self, token: _Token) -> Node:
        if token.text in ("true", "false", "null"):
            return Node(
                "literal",
                {"true": True, "false": False, "null": None}[token.text],
                position=token.position,
            )
        if token.text in RESERVED or token.text == "in":
            raise ParseError(f"reserved identifier: {token.text}", token.position, self._text)
        if self._is("("):
            position = self._now.position
            return Node("call", token.text, self._arguments(), position=position)
        return Node("name", token.text, position=token.position)

    def _literal(self, token: _Token) -> Any:
        text = token.text
        if token.kind == "float":
            return float(text)
        if token.kind in ("int", "hex"):
            if len(text) > _LONGEST_INTEGER:
                raise ParseError("invalid int literal", token.position, self._text)
            number = int(text.rstrip("uU"), 16 if token.kind == "hex" else 10)
            if number >= 2**64 or (number > 2**63 and text[-1] not in "uU"):
                raise ParseError("invalid int literal", token.position, self._text)
            return Uint(number) if text[-1] in "uU" else number
        if token.kind == "string":
            return self._value_of(token)
        raise self._fail(token)

    def _value_of(self, token: _Token) -> str | bytes:
        try:
            return value_of(token.text)
        except LiteralError as error:
            raise CelError(explain(str(error), token.position, self._text)) from None

    def _list(self, position: int, first_optional: bool) -> Node:
        items: list[Node] = []
        optional: list[bool] = []
        while not self._is("]"):
            marked = self._is("?")
            if marked:
                self._take()
            optional.append(marked or (first_optional and not items))
            items.append(self._expression())
            if not self._is(","):
                break
            self._take()
        self._take("]")
        return Node("list", None, items, optional=optional, position=position)

    def _message(self, name: str, position: int) -> Node:
        entries = []
        optional = []
        while not self._is("}"):
            optional.append(self._is("?"))
            if optional[-1]:
                self._take()
            label = self._take()
            if label.kind not in ("name", "quoted"):
                raise self._fail(label)
            entries.append(Node("literal", label.text.strip("`"), position=label.position))
            self._take(":")
            entries.append(self._expression())
            if not self._is(","):
                break
            self._take()
        self._take("}")
        return Node("message", name, entries, optional=optional, position=position)

    def _map(self, position: int) -> Node:
        entries = []
        optional = []
        while not self._is("}"):
            optional.append(self._is("?"))
            if optional[-1]:
                self._take()
            entries.append(self._expression())
            self._take(":")
            entries.append(self._expression())
            if not self._is(","):
                break
            self._take()
        self._take("}")
        return Node("map", None, entries, optional=optional, position=position)


def _dotted(node: Node) -> str:
    """``Object.spec`` of a chain of selects, the empty string of anything else."""
    if node.kind == "name":
        return str(node.value)
    if node.kind == "select" and not node.optional and (head := _dotted(node.args[0])):
        return f"{head}.{node.value}"
    return ""


@remembered(1024)
def parse(text: str) -> Node:
    """The tree of an expression. Raises ParseError."""
    if len(text) > 100_000:
        raise CelError("expression code point size exceeds limit")
    try:
        return _Parser(text).parse()
    except RecursionError:
        raise CelError(TOO_DEEP) from None
