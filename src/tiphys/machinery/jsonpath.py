"""The JSONPath that printer columns, scale paths and selectable fields are written in, over plain
dicts and lists.

Fields (`.spec.a`, `['a.b']`, `.a\\.b`), indexes, `[*]`, slices, and filters that compare with a
literal (`[?(@.type=="Ready")]`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from tiphys.machinery.remembered import remembered

Step = Callable[[Iterable[Any]], Iterable[Any]]

_TOKEN = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\]\\])+)"""
    r"""|\[\?\((?P<filter>@[^)]*)\)\]"""
    r"""|\['(?P<quoted>(?:\\.|[^'\\])*)'\]"""
    r"""|\["(?P<double>(?:\\.|[^"\\])*)"\]"""
    r"""|\[(?P<index>-?\d+|\*|-?\d*:-?\d*)\]"""
)
_FILTER = re.compile(r"""@(?P<path>[^=!<>\s]*)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+))?$""")


class PathError(ValueError):
    """The text is no JSONPath of the supported kind."""


@remembered(4096)
def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """A function from a document to what the path finds, in order. Raises PathError."""
    text = text.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if text and text[0] not in ".[":
        text = "." + text
    steps: list[Step] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise PathError(f"invalid JSONPath {text!r} at {position}")
        steps.append(_step(match))
        position = match.end()

    def find(document: Any) -> list[Any]:
        values: Iterable[Any] = [document]
        for step in steps:
            values = step(values)
        return list(values)

    return find


def _step(match: re.Match[str]) -> Step:
    kind = match.lastgroup
    text = match[match.lastgroup or 0]
    if kind == "filter":
        return _filter(text)
    if kind == "index":
        return _index(text)
    name = re.sub(r"\\(.)", r"\1", text)
    if name == "*" and kind == "field":
        return _index("*")
    return lambda values: (v[name] for v in values if isinstance(v, dict) and name in v)


def _index(text: str) -> Step:
    if text == "*":
        return lambda values: (
            i
            for v in values
            if isinstance(v, list | dict)
            for i in (v.values() if isinstance(v, dict) else v)
        )
    if ":" in text:
        low, high = (int(part) if part else None for part in text.split(":"))
        return lambda values: (i for v in values if isinstance(v, list) for i in v[low:high])
    number = int(text)
    return lambda values: (
        v[number] for v in values if isinstance(v, list) and -len(v) <= number < len(v)
    )


def _filter(text: str) -> Step:
    match = _FILTER.match(text)
    if match is None:
        raise PathError(f"invalid filter {text!r}")
    find = compile_path(match["path"]) if match["path"] else lambda value: [value]
    operator = match["op"]
    literal = _literal(match["value"] or "")

    def keep(value: Any) -> bool:
        matches = find(value)
        if not matches:
            return False
        return operator is None or _compare(matches[0], operator, literal)

    return lambda values: (i for v in values if isinstance(v, list) for i in v if keep(i))


def _literal(text: str) -> Any:
    text = text.strip()
    if text[:1] in "\"'" and text[-1:] == text[:1]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def _compare(left: Any, operator: str, right: Any) -> bool:
    if operator == "==":
        return bool(left == right)
    if operator == "!=":
        return bool(left != right)
    try:
        return bool(
            {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[
                operator
            ]
        )
    except TypeError:
        return False


def field_path(text: str) -> tuple[str, ...] | None:
    """The names of a path of plain fields (``.spec.replicas``), None when it is anything more."""
    names = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup == "index" or match.lastgroup == "filter":
            return None
        names.append(re.sub(r"\\(.)", r"\1", match[match.lastgroup or 0]))
        position = match.end()
    return tuple(names) or None


_PIECE = re.compile(r"'(?:\\.|[^'\\])*'|[.\[\]]|[^.\[\]']+|'")


def schema_path(text: str, facts: Any, arrays: bool = True) -> tuple[str, Any]:
    """(the path in its usual form, the schema found there) of a path of fields through a published
    schema, as rules and selectable fields name them: ``.spec.a`` and, with `arrays`, ``['a.b']``.
    Raises PathError in upstream's words."""
    pieces = iter(_PIECE.findall(text))
    usual_form = ""

    def take() -> str:
        piece = next(pieces, None)
        if piece is None:
            raise PathError("unexpected end of JSON path")
        return str(piece)

    for piece in pieces:
        if piece == "[":
            if not arrays:
                raise PathError("array notation is not allowed")
            name = take()
            if len(name) < 2 or name[0] != "'" or name[-1] != "'":
                raise PathError(f"expected single quoted string but got {name}")
            name = re.sub(r"\\(.)", r"\1", name[1:-1])
        elif piece == ".":
            name = take()
        else:
            raise PathError(f"expected [ or . but got: {piece}")
        if facts.get("properties"):
            if name not in facts["properties"]:
                raise PathError("does not refer to a valid field")
            usual_form = f"{usual_form}.{name}" if usual_form else name
            facts = facts["properties"][name]
        elif isinstance(facts.get("additionalProperties"), dict):
            usual_form = f"{usual_form}[{name}]"
            facts = facts["additionalProperties"]
        else:
            raise PathError("does not refer to a valid field")
        if piece == "[" and (closing := take()) != "]":
            raise PathError(f"expected ] but got {closing}")
    return usual_form, facts


def get_field(document: Any, path: tuple[str, ...]) -> Any:
    """The value at a path of plain fields, or None."""
    for name in path:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def set_field(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Sets the value at a path of plain fields, making the objects on the way."""
    for name in path[:-1]:
        inner = document.get(name)
        if not isinstance(inner, dict):
            inner = document[name] = {}
        document = inner
    document[path[-1]] = value
