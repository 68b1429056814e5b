"""The facts of a type's fields, read once from its declaration and kept."""

from __future__ import annotations

import functools
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

import msgspec

from tiphys.api.base import F, Quantity, Scalar, Struct


@dataclass(frozen=True, slots=True)
class Field:
    """One JSON field of a type.

    kind: "struct", "list", "dict", "union", "any" or the scalar: "string", "int32", "int64", "bool", "float",
          "bytes", "quantity", "intorstring", "time", "microtime"; "any" is free JSON
    item: for "struct" the class; for "list" and "dict" the Field of an element; for "union" the struct among its arms
    other: for "union" the Field of the arm that is no struct
    """

    name: str
    attribute: str
    kind: str
    optional: bool
    facts: F
    item: Any = None
    base: type | None = (
        None  # the inlined struct that declares the field, None when the type itself does
    )
    other: Field | None = None


_SCALARS: dict[Any, str] = {
    str: "string",
    bool: "bool",
    float: "float",
    bytes: "bytes",
    Quantity: "quantity",
}
_NONE = type(None)


def _unwrap(hint: Any) -> tuple[Any, F, str]:
    """(type without annotations, facts, what an annotation says of the scalar)."""
    facts, mark = F(0), ""
    while get_origin(hint) is Annotated:
        args = get_args(hint)
        hint = args[0]
        for extra in args[1:]:
            if isinstance(extra, F):
                facts = extra
            elif isinstance(extra, msgspec.Meta):
                mark = "int32" if extra.le == 2**31 - 1 else mark
            elif isinstance(extra, Scalar):
                mark = extra.kind
    return hint, facts, mark


def _field(name: str, attribute: str, hint: Any, base: type | None) -> Field:
    hint, facts, mark = _unwrap(hint)
    optional = False
    if get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not _NONE]
        optional = len(options) < len(get_args(hint))
        if len(options) > 1:
            bare = {_unwrap(option)[0] for option in options}
            if bare == {int, float}:
                return Field(name, attribute, "float", optional, facts, None, base)
            kind = "intorstring" if bare == {int, str} else "union"
            structs = [
                option for option in bare if isinstance(option, type) and issubclass(option, Struct)
            ]
            others = [
                option
                for option in options
                if kind == "union" and _unwrap(option)[0] not in structs
            ]
            other = _field(name, attribute, others[0], None) if others else None
            return Field(
                name, attribute, kind, optional, facts, structs[0] if structs else None, base, other
            )
        hint, _, mark = _unwrap(options[0])
    origin = get_origin(hint)
    if origin in (list, dict):
        item = _field("", "", get_args(hint)[-1], None)
        return Field(
            name, attribute, "list" if origin is list else "dict", optional, facts, item, base
        )
    if hint is int:
        return Field(name, attribute, mark or "int64", optional, facts, None, base)
    if hint in _SCALARS:
        return Field(name, attribute, mark or _SCALARS[hint], optional, facts, None, base)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return Field(name, attribute, "struct", optional, facts, hint, base)
    return Field(name, attribute, "any", optional, facts, None, base)


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
    return field.item if field is not None and field.kind in ("list", "dict") else None


def struct_of(field: Field | None) -> type[Struct] | None:
    """The struct behind a field or its elements, None for scalars."""
    while field is not None and field.kind in ("list", "dict"):
        field = field.item
    return field.item if field is not None and field.kind in ("struct", "union") else None
