"""Bytes to structs; fields that the type does not know are skipped."""

from __future__ import annotations

import functools
import struct
from typing import Any, TypeVar

import msgspec

from tiphys.api.base import Struct, canonical_quantity
from tiphys.machinery import timestamps
from tiphys.machinery.protobuf.wire import (
    BYTES,
    WIRE_TYPES,
    WireError,
    numbered,
    read_field,
    read_varint,
    signed,
    tagged,
    union_tags,
    wire_type,
)
from tiphys.machinery.schema import Field, fields_of, inlined

T = TypeVar("T", bound=Struct)


_MOST_ITEMS = 150_000  # a message of nothing takes two bytes, and an object of it a kilobyte


def _union_value(field: Field, raw: bytes) -> Any:
    tags = union_tags(field)
    assert field.other is not None
    parts = tagged(raw)
    structs = [part for tag, part in parts if tag == tags.struct]
    others = [part for tag, part in parts if tag == tags.other]
    if field.other.kind == "bool":
        return decode(structs[-1], field.item) if structs else bool(others and others[-1])
    if others:
        return [_value(field.other.item, part) for part in others]
    return decode(structs[-1], field.item) if structs else None


def decode(data: bytes, kind: type[T]) -> T:
    """Message of bytes; fields that the type does not know are skipped. Raises WireError."""
    values: dict[str, Any] = {}
    try:
        _collect(data, kind, values)
    except WireError:
        raise
    except UnicodeDecodeError as error:
        raise WireError(f"proto: invalid UTF-8: {error}") from None
    except RecursionError:
        raise WireError("proto: exceeded max depth") from None
    except (ValueError, TypeError, AttributeError, struct.error) as error:
        raise WireError(f"proto: illegal value: {error}") from None
    return kind(**values)


def _collect(data: bytes, kind: type[Struct], values: dict[str, Any]) -> None:
    """Reads the fields of a message into `values`, by attribute."""
    fields = _by_tag(kind)
    nested = inlined(kind)
    position = 0
    end = len(data)
    while position < end:
        key, position = read_varint(data, position)
        tag = key >> 3
        wire = key & 7
        raw, position = read_field(data, position, wire)
        field = fields.get(tag)
        if field is not None:
            expected = WIRE_TYPES.get(field.kind, BYTES)  # `wire_type`, but a tenth faster
            if wire != expected and not _is_single_item(field, wire):
                raise WireError(f"proto: wrong wireType = {wire} for field {field.name}")
            _store(values, field, raw, wire)
        elif nested is not None and nested[1] == tag:
            _collect(raw, nested[0], values)


def _is_single_item(field: Field, wire: int) -> bool:
    """Whether this is one number of a list, which may also come packed together as bytes."""
    return field.kind == "list" and wire == wire_type(field.item)


@functools.cache
def _by_tag(kind: type[Struct]) -> dict[int, Field]:
    return {f.facts.tag: f for f in fields_of(kind).values() if f.facts.tag and f.base is None}


def _store(values: dict[str, Any], field: Field, raw: Any, wire: int) -> None:
    if field.kind == "list":
        items = values.setdefault(field.attribute, [])
        if wire == BYTES and field.item.kind in ("int32", "int64", "bool"):
            items.extend(_unpacked(raw, field.item))
        else:
            items.append(_value(field.item, raw))
            if len(items) > _MOST_ITEMS:
                raise WireError(f"proto: more than {_MOST_ITEMS} items in a list")
    elif field.kind == "dict":
        name, value = _entry(field.item, raw)
        values.setdefault(field.attribute, {})[name] = value
    elif raw != b"" or field.kind not in ("time", "microtime"):  # an empty time is no time
        values[field.attribute] = _value(field, raw)


def _unpacked(raw: bytes, field: Field) -> list[Any]:
    """Numbers that are packed together."""
    items = []
    position = 0
    while position < len(raw):
        value, position = read_varint(raw, position)
        items.append(_value(field, value))
    return items


def _entry(field: Field, raw: bytes) -> tuple[str, Any]:
    """(name, value) of a map's entry; a part that is left out is zero."""
    name = ""
    value = None
    for tag, part in tagged(raw):
        if tag == 1:
            name = part.decode()
        elif tag == 2:
            value = _value(field, part)
    return name, _zero(field) if value is None else value


def _zero(field: Field) -> Any:
    if field.kind == "struct":
        return field.item()
    zeros: dict[str, Any] = {"string": "", "bytes": b"", "bool": False, "float": 0.0}
    return zeros.get(field.kind, 0)


def _number(value: float) -> int | float:
    """A double as Go writes it in JSON: a whole one without a fraction."""
    return int(value) if value.is_integer() and abs(value) < 1e21 and value else value


def _value(field: Field, raw: Any) -> Any:
    match field.kind:
        case "int32" | "int64":
            return signed(raw)
        case "bool":
            return bool(raw)
        case "float":
            return _number(struct.unpack("<d", raw)[0])
        case "string":
            return raw.decode()
        case "bytes":
            return bytes(raw)
        case "struct":
            return decode(raw, field.item)
        case "quantity":
            return canonical_quantity(numbered(raw).get(1, b"0").decode())
        case "time" | "microtime":
            return _time_text(raw, with_micros=field.kind == "microtime")
        case "intorstring":
            parts = numbered(raw)
            return parts.get(3, b"").decode() if parts.get(1) else signed(parts.get(2, 0))
        case "any":
            data = numbered(raw).get(1, b"null")
            return msgspec.json.decode(data) if data else None
        case "union":
            return _union_value(field, raw)
        case "list":
            return [_value(field.item, part) for _, part in tagged(raw)]
        case kind:
            raise WireError(f"{field.name}: {kind} has no place on the wire")


def _time_text(raw: bytes, with_micros: bool) -> str:
    parts = numbered(raw)
    seconds = signed(parts.get(1, 0))
    try:
        if with_micros:
            return timestamps.rfc3339_micro(seconds, parts.get(2, 0) // 1000)
        return timestamps.rfc3339(seconds)
    except (ValueError, OverflowError, OSError) as error:
        raise WireError(f"proto: a time is out of range: {error}") from None
