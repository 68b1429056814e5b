"""The facts of a type's fields, read once from its declaration and kept."""

from __future__ import annotations

import functools
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec

from tiphys.api.base import F, Quantity, Scalar, Struct


@dataclass(frozen=True, slots=True)
class Field:
    """One JSON field of a type.

    name:      in JSON
    attribute: in Python
    kind:      "struct", "list", "dict", "union", "any" or the scalar: "string", "int32", "int64",
               "bool", "float", "bytes", "quantity", "intorstring", "time", "microtime"; "any" is
               free JSON
    optional:  None is a value of its own
    item:      for "struct" the class; for "list" and "dict" the Field of an element; for "union"
               the struct among its arms
    base:      the inlined struct that declares the field, None when the type itself does
    other:     for "union" the Field of the arm that is not a struct
    """

    name: str
    attribute: str
    kind: str
    optional: bool
    facts: F
    item: Any = None
    base: type | None = None
    other: Field | None = None


_SCALARS: dict[Any, str] = {
    str: "string",
    bool: "bool",
    float: "float",
    bytes: "bytes",
    Quantity: "quantity",
}
_NONE = type(None)


class _Hint(NamedTuple):
    """A type without its annotations, the facts of the field, and the kind of scalar that an
    annotation names."""

    type: Any
    facts: F
    scalar: str


def _unwrap(hint: Any) -> _Hint:
    facts = F(0)
    scalar = ""
    while get_origin(hint) is Annotated:
        args = get_args(hint)
        hint = args[0]
        for extra in args[1:]:
            if isinstance(extra, F):
                facts = extra
            elif isinstance(extra, msgspec.Meta):
                if extra.le == 2**31 - 1:
                    scalar = "int32"
            elif isinstance(extra, Scalar):
                scalar = extra.kind
    return _Hint(hint, facts, scalar)


def _field(name: str, attribute: str, hint: Any, base: type | None) -> Field:
    kind_hint, facts, scalar = _unwrap(hint)
    field = functools.partial(Field, name, attribute, facts=facts, base=base)
    optional = False
    if get_origin(kind_hint) in (typing.Union, types.UnionType):
        options = [option for option in get_args(kind_hint) if option is not _NONE]
        optional = len(options) < len(get_args(kind_hint))
        if len(options) > 1:
            arms = _arms(name, attribute, options)
            return field(arms.kind, optional, item=arms.struct, other=arms.other)
        kind_hint, _, scalar = _unwrap(options[0])
    origin = get_origin(kind_hint)
    if origin in (list, dict):
        item = _field("", "", get_args(kind_hint)[-1], None)
        return field("list" if origin is list else "dict", optional, item=item)
    if kind_hint is int:
        return field(scalar or "int64", optional)
    if kind_hint in _SCALARS:
        return field(scalar or _SCALARS[kind_hint], optional)
    if _is_struct(kind_hint):
        return field("struct", optional, item=kind_hint)
    return field("any", optional)


class _Arms(NamedTuple):
    kind: str
    struct: type[Struct] | None = None
    other: Field | None = None


def _arms(name: str, attribute: str, options: list[Any]) -> _Arms:
    """What a union of several types is."""
    bare = [_unwrap(option).type for option in options]
    if set(bare) == {int, float}:
        return _Arms("float")
    if set(bare) == {int, str}:
        return _Arms("intorstring")
    struct = next((kind for kind in bare if _is_struct(kind)), None)
    for option, kind in zip(options, bare, strict=True):
        if not _is_struct(kind):
            return _Arms("union", struct, _field(name, attribute, option, None))
    return _Arms("union", struct)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def inlined(kind: type) -> tuple[type, int] | None:
    """The struct a type inlines in JSON and the protobuf tag under which it is nested."""
    tag = kind.__dict__.get("inline")
    return (kind.__bases__[0], tag) if tag is not None else None


@functools.cache
def fields_of(kind: type[Struct]) -> dict[str, Field]:
    """The JSON fields of a type by JSON name, in the order they are written."""
    hints = typing.get_type_hints(kind, include_extras=True)
    nested = inlined(kind)
    inherited = set(nested[0].__struct_fields__) if nested else set()  # type: ignore[attr-defined]
    result = {}
    for attribute, name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        base = nested[0] if nested and attribute in inherited else None
        result[name] = _field(name, attribute, hints[attribute], base)
    return result


def element(field: Field | None) -> Field | None:
    """The Field of the elements of a list or map, None for others."""
    return field.item if field is not None and field.kind in ("list", "dict") else None


def struct_of(field: Field | None) -> type[Struct] | None:
    """The struct behind a field or its elements, None for scalars."""
    while field is not None and field.kind in ("list", "dict"):
        field = field.item
    return field.item if field is not None and field.kind in ("struct", "union") else None
