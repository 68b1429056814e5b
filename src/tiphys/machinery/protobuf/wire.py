"""What stands on the wire: numbers, fields, and which wire type a declared field has."""

from __future__ import annotations

from typing import Any, NamedTuple

from tiphys.machinery.schema import Field

# Wire types.
VARINT = 0
FIXED64 = 1
BYTES = 2
FIXED32 = 5
WIRE_TYPES = {"int32": VARINT, "int64": VARINT, "bool": VARINT, "float": FIXED64}


class WireError(ValueError):
    """The bytes are not a message of the type."""


def varint(value: int) -> bytes:
    """A number of up to 64 bits; negative ones as their two's complement."""
    if value < 0:
        value += 1 << 64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """(unsigned value, next position). Raises WireError."""
    value = 0
    shift = 0
    try:
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
            if shift > 63:
                raise WireError("varint is too long")
    except IndexError:
        raise WireError("message ends within a number") from None


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def wire_type(field: Field) -> int:
    """Of one value of the field."""
    return WIRE_TYPES.get(field.kind, BYTES)


class UnionTags(NamedTuple):
    struct: int
    other: int


def union_tags(field: Field) -> UnionTags:
    """The tags of a union's arms in its message.

    A bool comes before its schema, a list after it, as in upstream's JSONSchemaPropsOrBool,
    JSONSchemaPropsOrArray and JSONSchemaPropsOrStringArray. Raises WireError for other unions.
    """
    if field.item is None or field.other is None or field.other.kind not in ("bool", "list"):
        raise WireError(f"{field.name}: a union of this kind has no place on the wire")
    if field.other.kind == "bool":
        return UnionTags(struct=2, other=1)
    return UnionTags(struct=1, other=2)


def read_field(data: bytes, position: int, wire: int) -> tuple[Any, int]:
    """(what a field of this wire type holds, next position). Raises WireError."""
    if wire == VARINT:
        return read_varint(data, position)
    if wire == BYTES:
        size, position = read_varint(data, position)
    else:
        size = {FIXED64: 8, FIXED32: 4}.get(wire, -1)
    if size < 0 or position + size > len(data):
        raise WireError("message ends within a field")
    return data[position : position + size], position + size


def tagged(raw: bytes) -> list[tuple[int, Any]]:
    """The fields of a small message in their order, each with its tag."""
    fields = []
    position = 0
    while position < len(raw):
        key, position = read_varint(raw, position)
        part, position = read_field(raw, position, key & 7)
        fields.append((key >> 3, part))
    return fields


def numbered(raw: bytes) -> dict[int, Any]:
    """The fields of a small message by tag; of those given twice the last."""
    return dict(tagged(raw))


def frame(tag: int, data: bytes) -> bytes:
    """A field that holds bytes: its key, its length, itself."""
    return varint(tag << 3 | BYTES) + varint(len(data)) + data
