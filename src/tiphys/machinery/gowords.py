"""Why a body could not be read, in the words of Go's decoder: clients and their users know these.

Everything here runs only for requests that fail.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, NamedTuple

import msgspec

from tiphys.api.base import Struct
from tiphys.api.custom import CustomObject
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.schema import Field, fields_of

_HEAD = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
_PATH = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def name_of(value: Any) -> str:
    """What Go calls the kind of a JSON value."""
    names = {
        str: "string",
        bool: "bool",
        int: "number",
        float: "number",
        list: "array",
        dict: "object",
    }
    return names.get(type(value), "null")


def syntax(data: bytes) -> str:
    """What is wrong with bytes that are no JSON, or not an object."""
    try:
        value = json.loads(data, parse_int=parse_number)
    except json.JSONDecodeError as error:
        return _syntax(error)
    except RecursionError:
        return "exceeded max depth"
    except (UnicodeDecodeError, ValueError):
        return "invalid UTF-8"
    for name in ("apiVersion", "kind"):
        if isinstance(value, dict) and not isinstance(value.get(name, ""), str | None):
            return f"json: cannot unmarshal {name_of(value[name])} into Go struct field .{name} of type string"
    return f"json: cannot unmarshal {name_of(value)} into Go value of type {_HEAD}"


def parse_number(digits: str) -> int | float:
    """A number of any length: Python refuses to read one of 4,300 digits, and takes long for those
    that are shorter."""
    return int(digits) if len(digits) < 400 else float(digits)


_EXPECTED = (
    ("Expecting value", "looking for beginning of value"),
    ("Expecting property name", "looking for beginning of object key string"),
    ("Illegal trailing comma", "looking for beginning of object key string"),
    ("Expecting ':'", "after object key"),
    ("Extra data", "after top-level value"),
    ("Invalid control character", "in string literal"),
    ("Invalid \\", "in string escape code"),
)


def _syntax(error: json.JSONDecodeError) -> str:
    rest = error.doc[error.pos :].lstrip(" \t\r\n")
    if not rest or error.msg.startswith("Unterminated"):
        return "unexpected end of JSON input"
    shown = json.dumps(rest[0])[1:-1].replace("'", "\\'").replace('\\"', '"')
    for text, expected in _EXPECTED:
        if error.msg.startswith(text):
            return f"invalid character '{shown}' {expected}"
    return f"invalid character '{shown}' after {_around(error.doc[: error.pos])}"


def _around(text: str) -> str:
    """What has just ended where a comma was expected."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    depth = []
    for character in bare:
        if character in "{[":
            depth.append(character)
        elif character in "}]" and depth:
            depth.pop()
    return "array element" if depth and depth[-1] == "[" else "object key:value pair"


def marshalled(value: Any) -> str:
    """Plain data as Go writes JSON: keys in order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def formatted(value: Any) -> str:
    """Plain data as Go prints it."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{formatted(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(formatted, value)) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Place(NamedTuple):
    """Where a value is not of the declared type: what stands there, on which path, in which struct
    and field."""

    value: Any
    steps: list[str]
    owner: type
    field: Field | None


def _place(path: str, text: str, value: Any, kind: type) -> _Place:
    current = value
    steps = list[str]()
    owner = kind
    field = None
    for name, index in _PATH.findall(path.rstrip("`")):
        current, step = _inside(current, name, index, text)
        owner, field = _declared(owner, field, name)
        steps += [step] if name else []
    return _Place(current, steps, owner, field)


def type_of(value: Any) -> str:
    """The Go type that a JSON value is read into when no type is declared."""
    plain = {str: "string", bool: "bool", int: "int64", float: "float64"}
    plain |= {list: "[]interface {}", dict: "map[string]interface {}"}
    return plain.get(type(value), "<nil>")


def mismatch(error: msgspec.ValidationError, value: Any, kind: type) -> str:
    """Where a value is not of the declared type. `value`: the whole document, plain."""
    text, _, path = str(error).partition(" - at `$")
    if "quantities must match" in text:
        return text
    if "base64" in text:
        return "illegal base64 data at input byte 0"
    place = _place(path, text, value, kind)
    shown = name_of(place.value)
    if shown == "number" and ("<=" in text or ">=" in text or isinstance(place.value, float)):
        shown = f"number {place.value}"
    if place.field is None:
        return f"json: cannot unmarshal {shown} into Go value of type {_go_struct(place.owner)}"
    where = f"{place.owner.__name__}.{'.'.join(place.steps)}"
    return f"json: cannot unmarshal {shown} into Go struct field {where} of type {_go_type(place.field)}"


_KINDS = {str: "string", bool: "bool", int: "int64", float: "float64", list: "slice", dict: "map"}
_OWN_READERS = ("quantity", "time", "microtime", "intorstring", "union")


def restoration(error: msgspec.ValidationError, value: Any, kind: type) -> str:
    """The same in the words of the converter that makes objects of maps: strategic merge patches go
    through it."""
    text, _, path = str(error).partition(" - at `$")
    place = _place(path, text, value, kind)
    if place.field is None or place.field.kind in _OWN_READERS:
        return mismatch(error, value, kind)
    actual = _KINDS.get(type(place.value), "nil")
    wanted = place.field.kind
    match wanted:
        case "dict":
            return f"cannot restore map from {actual}"
        case "struct":
            return f"cannot restore struct from: {actual}"
        case "bytes" if actual == "string":
            return f"error decoding from json: {mismatch(error, value, kind)}"
        case "list" | "bytes":
            return f"cannot restore slice from {actual}"
    return _unconverted(actual, wanted, _go_type(place.field)) or mismatch(error, value, kind)


def _unconverted(actual: str, wanted: str, named: str) -> str:
    """Go's types convert numbers into strings and each other; what does not convert has no form for
    the converter."""
    numbers = ("int32", "int64", "float", "float64")
    if actual == "int64" and wanted in numbers:
        return ""
    if (actual == "int64" and wanted == "string") or (actual == "float64" and wanted in numbers):
        return f"cannot convert {actual} to {named}"
    return f"unrecognized type: {named}"


def _inside(value: Any, name: str, index: str, text: str) -> tuple[Any, str]:
    if isinstance(value, dict) and name:
        return value.get(name), name
    if isinstance(value, list) and index.isascii() and index.isdigit() and int(index) < len(value):
        return value[int(index)], ""
    # Which entry of a map it was is not in the message: the first of the reported type.
    if isinstance(value, dict) and value:
        expected = re.search(r"got `(\w+)`", text)
        kinds: dict[str, Any] = {
            "str": str,
            "int": int,
            "float": float,
            "bool": bool,
            "array": list,
            "object": dict,
        }
        wanted = kinds.get(expected[1], object) if expected else object
        return next(
            (item for item in value.values() if type(item) is wanted), next(iter(value.values()))
        ), ""
    return None, name


def _declared(owner: type, field: Field | None, name: str) -> tuple[type, Field | None]:
    """One step further: the struct that declares the field, and the field."""
    if not name:  # an item of a list, an entry of a map
        return owner, field.item if field is not None and field.kind in ("list", "dict") else field
    inner: Any = owner
    if field is not None:
        inner = field.item if field.kind in ("struct", "union") else None
    if inner is not None and issubclass(inner, CustomObject):
        if name != "metadata":
            return inner, None
        return inner, Field(name, name, "struct", False, None, ObjectMeta)  # type: ignore[arg-type]
    if inner is None or not issubclass(inner, Struct):
        return owner, field
    declared = fields_of(inner).get(name)
    return (inner, declared) if declared is not None else (owner, field)


_SCALARS = {
    "float": "float64",
    "bytes": "[]uint8",
    "quantity": "resource.Quantity",
    "intorstring": "intstr.IntOrString",
    "time": "v1.Time",
    "microtime": "v1.MicroTime",
}


def _go_type(field: Field) -> str:
    if field.kind == "list":
        return "[]" + _go_type(field.item)
    if field.kind == "dict":
        return "map[string]" + _go_type(field.item)
    if field.kind in ("struct", "union") and field.item is not None:
        return _go_struct(field.item)
    if field.name == "uid":
        return "types.UID"
    return _SCALARS.get(field.kind, field.kind)


@functools.cache
def _go_struct(kind: type) -> str:
    version = kind.__module__.rpartition("_")[2]
    return f"{version}.{kind.__name__}" if version.startswith("v") else kind.__name__
