"""Sets of fields in the published form of `managedFields` (FieldsV1), and their algebra.

A set is a dict of path elements: ``f:name`` for a field, ``k:{...}`` for an item of a map list,
``v:...`` for an item of a set. An element's value is the set below it; the element itself is a
member when that is empty or has a ``.``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

FieldSet = dict[str, Any]
_SELF: FieldSet = {}


def is_member(node: FieldSet) -> bool:
    """Whether an element with this below it is a member itself."""
    return not node or "." in node


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """The members of either set. Neither is changed; the result may share parts with them."""
    if not left or not right:
        return left or right
    result = dict(left)
    for element, below in right.items():
        if element in result and element != ".":
            below = _union(result[element], below)
        result[element] = below
    return result


def _union(left: FieldSet, right: FieldSet) -> FieldSet:
    if not left or not right:
        full = left or right
        return full if is_member(full) else {".": _SELF, **full}
    return union(left, right)


def joined(left: FieldSet, right: FieldSet) -> FieldSet:
    """The union of sets that are in order, in order: only what is new finds its place."""
    if not left or not right:
        return left or right
    result = dict(left)
    grows = False
    for element, below in right.items():
        present = result.get(element)
        if present is None:
            grows = True
            result[element] = below
        elif element != ".":
            result[element] = _joined(present, below)
    return dict(sorted(result.items())) if grows else result


def _joined(left: FieldSet, right: FieldSet) -> FieldSet:
    if not left or not right:
        return _union(left, right)
    return joined(left, right)


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """The members of `left` that `right` has not, in the order of `left`; `left` itself when that
    is all."""
    result: FieldSet = {}
    same = True
    for element, below in left.items():
        other = right.get(element)
        if other is None:
            result[element] = below
            continue
        rest = None if element == "." else _difference(below, other)
        same = same and rest is below
        if rest is not None:
            result[element] = rest
    return left if same else result


def _difference(left: FieldSet, right: FieldSet) -> FieldSet | None:
    """What is left below an element, None when that is no element any more."""
    inner = {k: v for k, v in left.items() if k != "."} if "." in left else left
    children = difference(inner, right)
    if is_member(left) and not is_member(right):
        if children is inner:
            return left
        return {".": _SELF, **children} if children else {}
    return children or None


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """The members of both sets."""
    result: FieldSet = {}
    for element, below in left.items():
        other = right.get(element)
        if other is None or element == ".":
            continue
        both = intersection(below, other)
        if is_member(below) and is_member(other):
            result[element] = {".": _SELF, **both} if both else {}
        elif both:
            result[element] = both
    return result


def ordered(fields: FieldSet) -> FieldSet:
    """The set with its elements in order, as it is published."""
    return {
        element: ordered(below) if below else below for element, below in sorted(fields.items())
    }


def paths(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """Every member as users read it: ``.spec.containers[name="c"].image``."""
    for element, below in sorted(fields.items()):
        if element == ".":
            continue
        path = prefix + readable(element)
        if is_member(below):
            yield path
        yield from paths(below, path)


def readable(element: str) -> str:
    """A path element as users read it: ``.image``, ``[name="c"]``, ``[="x"]`` or ``[0]``."""
    kind, _, text = element.partition(":")
    match kind:
        case "f":
            return f".{text}"
        case "k":
            keys = msgspec.json.decode(text)
            pairs = [f"{key}={msgspec.json.encode(keys[key]).decode()}" for key in sorted(keys)]
            return f"[{','.join(pairs)}]"
        case "v":
            return f"[={text}]"
    return f"[{text}]"


def field(name: str) -> str:
    """The element of a field."""
    return "f:" + name


def item_key(keys: dict[str, Any]) -> str:
    """The element of an item of a map list, by the values of its keys."""
    return "k:" + msgspec.json.encode(dict(sorted(keys.items()))).decode()


def item_value(value: Any) -> str:
    """The element of an item of a set."""
    return "v:" + msgspec.json.encode(value).decode()
