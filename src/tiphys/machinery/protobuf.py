"""Protobuf coding of declared types: the tags are in the declarations, so there is no generated code.

Used for what speaks protobuf below us (CRI, etcd) and for clients of the API that prefer it. Encoders and decoders
are built once per type. A type that inlines another in JSON nests it on the wire: such a field is written under the
tag of the inlined message.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from tiphys.api.base import Struct, canonical_quantity
from tiphys.machinery import timestamps
from tiphys.machinery.schema import Field, fields_of, inlined

T = TypeVar("T", bound=Struct)
Writer = Callable[[Any, bytearray], None]
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WRITTEN = ("struct", "any", "intorstring", "union")  # written even when they are empty


class WireError(ValueError):
    """The bytes are not a message of the type."""


def varint(value: int) -> bytes:
    if value < 0:
        value += 1 << 64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """(unsigned value, next position)."""
    value = shift = 0
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
    """Bytes of a message; zero values and absent pointers are left out."""
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
        f.attribute for f in fields_of(kind).values() if f.optional or f.kind in _WRITTEN
    )


@functools.cache
def _writers(kind: type[Struct]) -> tuple[tuple[str | None, Writer], ...]:
    rows: list[tuple[int, str | None, Writer]]
    rows = [
        (f.facts.tag, f.attribute, _writer(f))
        for f in fields_of(kind).values()
        if f.facts.tag and f.base is None
    ]
    nested = inlined(kind)
    if nested is not None:
        base, tag = nested
        key = varint(tag << 3 | _BYTES)

        def write_base(message: Any, out: bytearray) -> None:
            data = _encode(message, base)
            if data:
                out += key + varint(len(data)) + data

        rows.append((tag, None, write_base))
    return tuple((attribute, write) for _, attribute, write in sorted(rows, key=lambda row: row[0]))


def _payload(field: Field) -> tuple[int, Callable[[Any], bytes]]:
    """(wire type, coder of one value); byte payloads come with their length."""

    def framed(coder: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        def code(value: Any) -> bytes:
            data = coder(value)
            return varint(len(data)) + data

        return code

    match field.kind:
        case "int32" | "int64":
            return _VARINT, varint
        case "bool":
            return _VARINT, lambda value: b"\x01" if value else b"\x00"
        case "float":
            return _FIXED64, lambda value: struct.pack("<d", value)
        case "string":
            return _BYTES, framed(str.encode)
        case "bytes":
            return _BYTES, framed(bytes)
        case "struct":
            return _BYTES, framed(encode)
        case "quantity":
            return _BYTES, framed(lambda value: b"\x0a" + varint(len(value)) + value.encode())
        case "time" | "microtime":
            return _BYTES, framed(_time_bytes)
        case "intorstring":
            return _BYTES, framed(_int_or_string_bytes)
        case "any":
            return _BYTES, framed(_raw_bytes)
        case "union":
            return _BYTES, framed(_union_coder(field))
        case "list":  # the value of a map: a message whose first field is the list
            return _BYTES, framed(lambda values: _list_bytes(field, values))
        case kind:
            raise WireError(f"{field.name}: {kind} has no place on the wire")


def _time_bytes(text: str) -> bytes:
    seconds, micros = timestamps.split(text)
    return b"\x08" + varint(seconds) + b"\x10" + varint(micros * 1000)


def _int_or_string_bytes(value: int | str) -> bytes:
    if isinstance(value, int):
        return b"\x08\x00\x10" + varint(value) + b"\x1a\x00"
    data = value.encode()
    return b"\x08\x01\x10\x00\x1a" + varint(len(data)) + data


def _union_tags(field: Field) -> tuple[int, int]:
    """(tag of the struct, tag of the other arm) in the message of a union: a bool stands before its schema, a list
    after it, as in upstream's JSONSchemaPropsOrBool, JSONSchemaPropsOrArray and JSONSchemaPropsOrStringArray."""
    if field.item is None or field.other is None or field.other.kind not in ("bool", "list"):
        raise WireError(f"{field.name}: a union of this kind has no place on the wire")
    return (2, 1) if field.other.kind == "bool" else (1, 2)


def _union_coder(field: Field) -> Callable[[Any], bytes]:
    own, other = _union_tags(field)
    assert field.other is not None
    if field.other.kind == "bool":

        def code(value: Any) -> bytes:
            if isinstance(value, Struct):  # a schema allows what fits it
                return varint(other << 3) + b"\x01" + frame(own, encode(value))
            return varint(other << 3) + (b"\x01" if value else b"\x00")

        return code
    _, one = _payload(field.other.item)  # strings or messages, both with their length
    key = varint(other << 3 | _BYTES)

    def code_list(value: Any) -> bytes:
        if isinstance(value, Struct):
            return frame(own, encode(value))
        return b"".join(key + one(item) for item in value or ())

    return code_list


def _union_value(field: Field, raw: bytes) -> Any:
    own, other = _union_tags(field)
    assert field.other is not None
    rows = _tagged(raw)
    structs = [part for tag, part in rows if tag == own]
    rest = [part for tag, part in rows if tag == other]
    if field.other.kind == "bool":
        return decode(structs[-1], field.item) if structs else bool(rest and rest[-1])
    if rest:
        return [_value(field.other.item, part) for part in rest]
    return decode(structs[-1], field.item) if structs else None


def _raw_bytes(value: Any) -> bytes:
    data = msgspec.json.encode(value)
    return b"\x0a" + varint(len(data)) + data


def _list_bytes(field: Field, values: list[Any]) -> bytes:
    wire, one = _payload(field.item)
    key = varint(1 << 3 | wire)
    return b"".join(key + one(value) for value in values)


def _writer(field: Field) -> Writer:
    if field.kind == "list":
        wire, one = _payload(field.item)
        key = varint(field.facts.tag << 3 | wire)

        def write_list(values: list[Any], out: bytearray) -> None:
            for value in values:
                out += key + one(value)

        return write_list
    if field.kind == "dict":
        wire, one = _payload(field.item)
        key, inner = varint(field.facts.tag << 3 | _BYTES), varint(2 << 3 | wire)

        def write_dict(values: dict[str, Any], out: bytearray) -> None:
            for name in sorted(values):
                text = name.encode()
                entry = b"\x0a" + varint(len(text)) + text + inner + one(values[name])
                out += key + varint(len(entry)) + entry

        return write_dict
    wire, one = _payload(field)
    key = varint(field.facts.tag << 3 | wire)

    def write(value: Any, out: bytearray) -> None:
        out += key + one(value)

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
    fields, nested = _by_tag(kind), inlined(kind)
    at, end = 0, len(data)
    while at < end:
        key, at = read_varint(data, at)
        raw, at = _read(data, at, key & 7)
        field = fields.get(key >> 3)
        if field is not None:
            if key & 7 != _WIRE.get(field.kind, _BYTES) and not _listed(field, key & 7):
                raise WireError(f"proto: wrong wireType = {key & 7} for field {field.name}")
            _store(values, field, raw, key & 7)
        elif nested is not None and nested[1] == key >> 3:
            _collect(raw, nested[0], values)


_WIRE = {"int32": _VARINT, "int64": _VARINT, "bool": _VARINT, "float": _FIXED64}  # others are bytes


def _listed(field: Field, wire: int) -> bool:
    """Whether an item of a list may come like this: by itself, or numbers packed together."""
    return field.kind == "list" and wire == _WIRE.get(field.item.kind, _BYTES)


@functools.cache
def _by_tag(kind: type[Struct]) -> dict[int, Field]:
    return {f.facts.tag: f for f in fields_of(kind).values() if f.facts.tag and f.base is None}


def _read(data: bytes, at: int, wire: int) -> tuple[Any, int]:
    if wire == _VARINT:
        return read_varint(data, at)
    if wire == _BYTES:
        size, at = read_varint(data, at)
    else:
        size = 8 if wire == _FIXED64 else 4 if wire == _FIXED32 else -1
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
    items, at = [], 0
    while at < len(raw):
        value, at = read_varint(raw, at)
        items.append(_value(field, value))
    return items


def _entry(field: Field, raw: bytes) -> tuple[str, Any]:
    name, value, at = "", None, 0
    while at < len(raw):
        key, at = read_varint(raw, at)
        part, at = _read(raw, at, key & 7)
        if key >> 3 == 1:
            name = part.decode()
        elif key >> 3 == 2:
            value = _value(field, part)
    return name, _zero(field) if value is None else value


def _tagged(raw: bytes) -> list[tuple[int, Any]]:
    """The fields of a small message in their order, each with its tag."""
    found, at = [], 0
    while at < len(raw):
        key, at = read_varint(raw, at)
        part, at = _read(raw, at, key & 7)
        found.append((key >> 3, part))
    return found


def _numbered(raw: bytes) -> dict[int, Any]:
    """The fields of a small message by tag; of those given twice the last."""
    return dict(_tagged(raw))


def _repeated(raw: bytes) -> list[Any]:
    return [part for _, part in _tagged(raw)]


def _zero(field: Field) -> Any:
    zeros: dict[str, Any] = {"string": "", "bytes": b"", "bool": False, "float": 0.0}
    return field.item() if field.kind == "struct" else zeros.get(field.kind, 0)


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
            parts = _numbered(raw)
            seconds, nanos = _signed(parts.get(1, 0)), parts.get(2, 0)
            try:
                if field.kind == "time":
                    return timestamps.rfc3339(seconds)
                return timestamps.rfc3339_micro(seconds, nanos // 1000)
            except (ValueError, OverflowError, OSError) as error:
                raise WireError(f"proto: a time is out of range: {error}") from None
        case "intorstring":
            parts = _numbered(raw)
            return parts.get(3, b"").decode() if parts.get(1) else _signed(parts.get(2, 0))
        case "any":
            data = _numbered(raw).get(1, b"null")
            return msgspec.json.decode(data) if data else None
        case "union":
            return _union_value(field, raw)
        case "list":
            return [_value(field.item, part) for part in _repeated(raw)]
        case kind:
            raise WireError(f"{field.name}: {kind} has no place on the wire")


# --- the API's envelope ---

MAGIC = b"k8s\x00"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"


def wrap(message: Any) -> bytes:
    """An API object in upstream's envelope: magic, then runtime.Unknown with its kind and bytes."""

    def framed(tag: int, data: bytes) -> bytes:
        return varint(tag << 3 | _BYTES) + varint(len(data)) + data

    kind = framed(1, message.api_version.encode()) + framed(2, message.kind.encode())
    return MAGIC + framed(1, kind) + framed(2, encode(message)) + b"\x1a\x00\x22\x00"


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
