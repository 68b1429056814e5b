"""Functions of strings."""

from __future__ import annotations

import re
from typing import Any

from tiphys.machinery import regexp
from tiphys.machinery.cel.conversions import string_of
from tiphys.machinery.cel.frames import Function
from tiphys.machinery.cel.values import (
    CelError,
    TypeValue,
    equal,
)


def _regex(pattern: str) -> Any:
    try:
        return regexp.compiled(pattern)
    except regexp.RegexpError as error:
        raise CelError(str(error)) from None


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    return text.replace(old, new, count)


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise CelError(f"index out of range: {start if not 0 <= start <= len(text) else end}")
    return text[start:end]


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise CelError(f"index out of range: {index}")
    return text[index : index + 1]


def _split(text: str, by: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    parts = text.split(by) if by else list(text)
    if 0 < limit < len(parts):
        parts = [*parts[: limit - 1], by.join(parts[limit - 1 :])]
    return parts


def _join(items: list[str], by: str = "") -> str:
    return by.join(items)


def _index(value: Any, item: Any, start: int = 0) -> int:
    if isinstance(value, str):
        if item == "" and start >= 0:
            return min(start, len(value))
        return value.find(item, _within(start))
    return next((n for n, other in enumerate(value) if equal(other, item)), -1)


def _within(index: int) -> int:
    if index < 0:
        raise CelError(f"index out of range: {index}")
    return index


def _last_index(value: Any, item: Any, last: int | None = None) -> int:
    if isinstance(value, str):
        if last is None:
            return value.rfind(item)
        return value.rfind(item, 0, last + len(item)) if _within(last) <= len(value) else -1
    return next((n for n in range(len(value) - 1, -1, -1) if equal(value[n], item)), -1)


def _format(template: str, values: list[Any]) -> str:
    remaining = iter(values)

    def fill(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        try:
            value = next(remaining)
        except StopIteration:
            raise CelError("index out of range") from None
        return _clause(match[2], match[1], value)

    return re.sub(r"%(?:%|(\.\d+)?([sdfexXob]))", fill, template)


_LONGEST_PRECISION = 4  # characters: a point and three digits


def _clause(verb: str, precision: str | None, value: Any) -> str:
    if verb == "s":
        return _shown(value)
    if verb == "d":
        return str(int(value))
    if verb in "fe":
        if precision and len(precision) > _LONGEST_PRECISION:
            raise CelError(f"precision {precision[1:]} is too large")
        return f"{float(value):{precision or '.6'}{verb}}"
    if verb == "b":
        return f"{int(value):b}"
    if verb == "o":
        return f"{int(value):o}"
    if isinstance(value, str | bytes):
        raw = value.encode() if isinstance(value, str) else value
        return raw.hex() if verb == "x" else raw.hex().upper()
    return f"{int(value):{verb}}"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_shown(k)}: {_shown(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, TypeValue):
        return value.name
    return string_of(value)


def _find(text: str, pattern: str) -> str:
    match = _regex(pattern).search(text)
    return match[0] if match else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    matches = [match[0] for match in _regex(pattern).finditer(text)]
    return matches if limit < 0 else matches[:limit]


def _quote(text: str) -> str:
    return (
        '"'
        + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        + '"'
    )


FUNCTIONS: dict[str, Function] = {
    "matches": lambda text, pattern: _regex(pattern).search(text) is not None,
    "strings.quote": _quote,
}
METHODS: dict[str, Function] = {
    "startsWith": lambda t, s: t.startswith(s),
    "endsWith": lambda t, s: t.endswith(s),
    "matches": FUNCTIONS["matches"],
    "find": _find,
    "findAll": _find_all,
    "replace": _replace,
    "substring": _substring,
    "charAt": _char_at,
    "split": _split,
    "indexOf": _index,
    "lastIndexOf": _last_index,
    "trim": lambda t: t.strip(),
    "format": _format,
    "lowerAscii": lambda t: "".join(c.lower() if c.isascii() else c for c in t),
    "upperAscii": lambda t: "".join(c.upper() if c.isascii() else c for c in t),
    "join": _join,
}
