"""Protobuf coding of declared types: the tags are in the declarations, so there is no generated
code.

Used for what speaks protobuf below us (CRI, etcd) and for clients of the API that prefer it.
Encoders and decoders are built once per type. A type that inlines another in JSON nests it on the
wire: such a field is written under the tag of the inlined message.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from tiphys.api.base import Struct, canonical_quantity
from tiphys.machinery import timestamps
from tiphys.machinery.schema import Field, fields_of, inlined

T = TypeVar("T", bound=Struct)
Writer = Callable[[Any, bytearray], None]
Coder = Callable[[Any], bytes]  # of one value, with its length where the wire type needs it

# Wire types.
_VARINT = 0
_FIXED64 = 1
_BYTES = 2
_FIXED32 = 5
_WIRE_TYPES = {"int32": _VARINT, "int64": _VARINT, "bool": _VARINT, "float": _FIXED64}

_WRITTEN = (
    "struct",
    "any",
    "intorstring",
    "union",
)  # kinds that are written even when they are empty


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


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """(unsigned value, next position). Raises WireError."""
    value = 0
    shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
            if shift > 63:
                raise WireError("varint is too long")
    except IndexError:
        raise WireError("message ends within a number") from None


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def encode(message: Struct) -> bytes:
    """Bytes of a message; zero values and absent pointers are left out: 55 µs for a pod of three
    containers.

    Raises WireError for a type that has no place on the wire.
    """
    return _encode(message, type(message))


def _encode(message: Struct, kind: type[Struct]) -> bytes:
    out = bytearray()
    pointers = _pointers(kind)
    for attribute, write in _writers(kind):
        if attribute is None:
            write(message, out)
            continue
        value = getattr(message, attribute)
        if value or (value is not None and attribute in pointers):
            write(value, out)
    return bytes(out)


@functools.cache
def _pointers(kind: type[Struct]) -> frozenset[str]:
    """Attributes whose zero value means something because absence is spelled None."""
    return frozenset(
        field.attribute
        for field in fields_of(kind).values()
        if field.optional or field.kind in _WRITTEN
    )


class _FieldWriter(NamedTuple):
    """Writes one field; `attribute` is None for the inlined base, which is written from the whole
    message."""

    attribute: str | None
    write: Writer


@functools.cache
def _writers(kind: type[Struct]) -> tuple[_FieldWriter, ...]:
    """The writers of a type's fields, in the order of their tags."""
    by_tag = {
        field.facts.tag: _FieldWriter(field.attribute, _writer(field))
        for field in fields_of(kind).values()
        if field.facts.tag and field.base is None
    }
    nested = inlined(kind)
    if nested is not None:
        base, tag = nested
        by_tag[tag] = _FieldWriter(None, _base_writer(base, tag))
    return tuple(by_tag[tag] for tag in sorted(by_tag))


def _base_writer(base: type[Struct], tag: int) -> Writer:
    key = varint(tag << 3 | _BYTES)

    def write(message: Any, out: bytearray) -> None:
        data = _encode(message, base)
        if data:
            out += key + varint(len(data)) + data

    return write


def _wire_type(field: Field) -> int:
    """Of one value of the field."""
    return _WIRE_TYPES.get(field.kind, _BYTES)


def _coder(field: Field) -> Coder:
    """The coder of one value of the field."""
    match field.kind:
        case "int32" | "int64":
            return varint
        case "bool":
            return _bool_bytes
        case "float":
            return _double_bytes
    return _with_length(_content_coder(field))


def _with_length(content: Coder) -> Coder:
    def code(value: Any) -> bytes:
        data = content(value)
        return varint(len(data)) + data

    return code


def _content_coder(field: Field) -> Coder:
    match field.kind:
        case "string":
            return str.encode
        case "bytes":
            return bytes
        case "struct":
            return encode
        case "quantity":
            return _quantity_bytes
        case "time" | "microtime":
            return _time_bytes
        case "intorstring":
            return _int_or_string_bytes
        case "any":
            return _raw_bytes
        case "union":
            return _union_coder(field)
        case "list":  # the value of a map: a message whose first field is the list
            return functools.partial(_list_bytes, field)
        case kind:
            raise WireError(f"{field.name}: {kind} has no place on the wire")


def _bool_bytes(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


def _double_bytes(value: float) -> bytes:
    return struct.pack("<d", value)


def _quantity_bytes(value: str) -> bytes:
    return frame(1, value.encode())


def _time_bytes(text: str) -> bytes:
    seconds, micros = timestamps.split(text)
    return b"\x08" + varint(seconds) + b"\x10" + varint(micros * 1000)


def _int_or_string_bytes(value: int | str) -> bytes:
    if isinstance(value, int):
        return b"\x08\x00\x10" + varint(value) + b"\x1a\x00"
    data = value.encode()
    return b"\x08\x01\x10\x00\x1a" + varint(len(data)) + data


class _UnionTags(NamedTuple):
    struct: int
    other: int


def _union_tags(field: Field) -> _UnionTags:
    """The tags of a union's arms in its message.

    A bool comes before its schema, a list after it, as in upstream's JSONSchemaPropsOrBool,
    JSONSchemaPropsOrArray and JSONSchemaPropsOrStringArray. Raises WireError for other unions.
    """
    if field.item is None or field.other is None or field.other.kind not in ("bool", "list"):
        raise WireError(f"{field.name}: a union of this kind has no place on the wire")
    if field.other.kind == "bool":
        return _UnionTags(struct=2, other=1)
    return _UnionTags(struct=1, other=2)


def _union_coder(field: Field) -> Coder:
    tags = _union_tags(field)
    assert field.other is not None
    if field.other.kind == "bool":
        bool_key = varint(tags.other << 3 | _VARINT)

        def code_bool(value: Any) -> bytes:
            if isinstance(value, Struct):  # a schema allows what fits it
                return bool_key + b"\x01" + frame(tags.struct, encode(value))
            return bool_key + _bool_bytes(value)

        return code_bool
    item_coder = _coder(field.other.item)  # of strings or messages
    key = varint(tags.other << 3 | _BYTES)

    def code_list(value: Any) -> bytes:
        if isinstance(value, Struct):
            return frame(tags.struct, encode(value))
        return b"".join(key + item_coder(item) for item in value or ())

    return code_list


def _union_value(field: Field, raw: bytes) -> Any:
    tags = _union_tags(field)
    assert field.other is not None
    parts = _tagged(raw)
    structs = [part for tag, part in parts if tag == tags.struct]
    others = [part for tag, part in parts if tag == tags.other]
    if field.other.kind == "bool":
        return decode(structs[-1], field.item) if structs else bool(others and others[-1])
    if others:
        return [_value(field.other.item, part) for part in others]
    return decode(structs[-1], field.item) if structs else None


def _raw_bytes(value: Any) -> bytes:
    return frame(1, msgspec.json.encode(value))


def _list_bytes(field: Field, values: list[Any]) -> bytes:
    code = _coder(field.item)
    key = varint(1 << 3 | _wire_type(field.item))
    return b"".join(key + code(value) for value in values)


def _writer(field: Field) -> Writer:
    if field.kind == "list":
        return _list_writer(field)
    if field.kind == "dict":
        return _dict_writer(field)
    code = _coder(field)
    key = varint(field.facts.tag << 3 | _wire_type(field))

    def write(value: Any, out: bytearray) -> None:
        out += key + code(value)

    return write


def _list_writer(field: Field) -> Writer:
    code = _coder(field.item)
    key = varint(field.facts.tag << 3 | _wire_type(field.item))

    def write(values: list[Any], out: bytearray) -> None:
        for value in values:
            out += key + code(value)

    return write


def _dict_writer(field: Field) -> Writer:
    """A map is a list of entries, messages of a name (1) and a value (2); in order, so that equal
    maps are equal."""
    code = _coder(field.item)
    key = varint(field.facts.tag << 3 | _BYTES)
    value_key = varint(2 << 3 | _wire_type(field.item))

    def write(values: dict[str, Any], out: bytearray) -> None:
        for name in sorted(values):
            entry = frame(1, name.encode()) + value_key + code(values[name])
            out += key + varint(len(entry)) + entry

    return write


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
        raw, position = _read(data, position, wire)
        field = fields.get(tag)
        if field is not None:
            expected = _WIRE_TYPES.get(field.kind, _BYTES)  # `_wire_type`, but a tenth faster
            if wire != expected and not _is_single_item(field, wire):
                raise WireError(f"proto: wrong wireType = {wire} for field {field.name}")
            _store(values, field, raw, wire)
        elif nested is not None and nested[1] == tag:
            _collect(raw, nested[0], values)


def _is_single_item(field: Field, wire: int) -> bool:
    """Whether this is one number of a list, which may also come packed together as bytes."""
    return field.kind == "list" and wire == _wire_type(field.item)


@functools.cache
def _by_tag(kind: type[Struct]) -> dict[int, Field]:
    return {f.facts.tag: f for f in fields_of(kind).values() if f.facts.tag and f.base is None}


def _read(data: bytes, at: int, wire: int) -> tuple[Any, int]:
    """(what a field of this wire type holds, next position). Raises WireError."""
    if wire == _VARINT:
        return read_varint(data, at)
    if wire == _BYTES:
        size, at = read_varint(data, at)
    else:
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
    if size < 0 or at + size > len(data):
        raise WireError("message ends within a field")
    return data[at : at + size], at + size


def _store(values: dict[str, Any], field: Field, raw: Any, wire: int) -> None:
    if field.kind == "list":
        items = values.setdefault(field.attribute, [])
        if wire == _BYTES and field.item.kind in ("int32", "int64", "bool"):
            items.extend(_unpacked(raw, field.item))
        else:
            items.append(_value(field.item, raw))
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
    for tag, part in _tagged(raw):
        if tag == 1:
            name = part.decode()
        elif tag == 2:
            value = _value(field, part)
    return name, _zero(field) if value is None else value


def _tagged(raw: bytes) -> list[tuple[int, Any]]:
    """The fields of a small message in their order, each with its tag."""
    fields = []
    position = 0
    while position < len(raw):
        key, position = read_varint(raw, position)
        part, position = _read(raw, position, key & 7)
        fields.append((key >> 3, part))
    return fields


def _numbered(raw: bytes) -> dict[int, Any]:
    """The fields of a small message by tag; of those given twice the last."""
    return dict(_tagged(raw))


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
            return _signed(raw)
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
            return canonical_quantity(_numbered(raw).get(1, b"0").decode())
        case "time" | "microtime":
            return _time_text(raw, with_micros=field.kind == "microtime")
        case "intorstring":
            parts = _numbered(raw)
            return parts.get(3, b"").decode() if parts.get(1) else _signed(parts.get(2, 0))
        case "any":
            data = _numbered(raw).get(1, b"null")
            return msgspec.json.decode(data) if data else None
        case "union":
            return _union_value(field, raw)
        case "list":
            return [_value(field.item, part) for _, part in _tagged(raw)]
        case kind:
            raise WireError(f"{field.name}: {kind} has no place on the wire")


def _time_text(raw: bytes, with_micros: bool) -> str:
    parts = _numbered(raw)
    seconds = _signed(parts.get(1, 0))
    try:
        if with_micros:
            return timestamps.rfc3339_micro(seconds, parts.get(2, 0) // 1000)
        return timestamps.rfc3339(seconds)
    except (ValueError, OverflowError, OSError) as error:
        raise WireError(f"proto: a time is out of range: {error}") from None


# --- the API's envelope ---

MAGIC = b"k8s\x00"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"


def wrap(message: Any) -> bytes:
    """An API object in upstream's envelope: magic, then runtime.Unknown with its kind and bytes."""
    kind = frame(1, message.api_version.encode()) + frame(2, message.kind.encode())
    return MAGIC + frame(1, kind) + frame(2, encode(message)) + b"\x1a\x00\x22\x00"


def frame(tag: int, data: bytes) -> bytes:
    """A field that holds bytes: its key, its length, itself."""
    return varint(tag << 3 | _BYTES) + varint(len(data)) + data


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    """The envelope of a message that is encoded already."""
    return envelope_head(api_version, kind, len(message)) + message + ENVELOPE_TAIL


ENVELOPE_TAIL = b"\x1a\x00\x22\x00"  # no content encoding, no content type


def envelope_head(api_version: str, kind: str, size: int) -> bytes:
    """What stands before a message of `size` bytes; `ENVELOPE_TAIL` stands behind it."""
    named = frame(1, api_version.encode()) + frame(2, kind.encode())
    return MAGIC + frame(1, named) + varint(2 << 3 | _BYTES) + varint(size)


def unwrap(data: bytes) -> tuple[str, str, bytes]:
    """(apiVersion, kind, message bytes) of an envelope. Raises WireError."""
    if data[:4] != MAGIC:
        raise WireError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    parts = _numbered(data[4:])
    kind = _numbered(parts.get(1, b""))
    return kind.get(1, b"").decode(), kind.get(2, b"").decode(), parts.get(2, b"")
