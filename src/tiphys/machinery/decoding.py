"""Bytes of a request to a typed object, as forgiving and as strict as upstream.

The fast way is msgspec's typed decoder. What it refuses (a null where Go takes nulls) or does not notice (fields
that the type does not have, fields given twice) takes the slow way over plain dicts.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from tiphys.api.apiextensions_v1 import JSONSchemaProps
from tiphys.api.base import BUILDING, Struct, decode, decoder, from_builtins
from tiphys.api.custom import CustomObject
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import gowords
from tiphys.machinery.schema import Field, fields_of
from tiphys.machinery.structural import Schema, prune

T = TypeVar("T", bound=Struct | CustomObject)


class DecodeError(ValueError):
    """The body is not an object of the type; the text is for the user. `unread`: not even its kind could be read.
    `restoration`: the same as the converter says it that strategic merge patches go through."""

    unread = False

    def __init__(self, text: str, restoration: str = "") -> None:
        super().__init__(text)
        self.restoration = restoration or text


class Unread(DecodeError):
    unread = True


def warming(kind: type[Struct], seen: set[type[Struct]] | None = None) -> Iterator[None]:
    """Makes what reading an object of the type takes, step by step from its smallest parts on: for a pod it is a tenth of a
    second, once in the life of a process."""
    seen = {kind} if seen is None else seen
    for field in fields_of(kind).values():
        inner: Field | None = field
        while inner is not None and inner.kind in ("list", "dict"):
            inner = inner.item
        if (
            inner is not None
            and inner.kind == "struct"
            and inner.item is not None
            and inner.item not in seen
        ):
            seen.add(inner.item)
            yield from warming(inner.item, seen)
    decoder(kind)
    yield
    _twin(kind)
    yield


def plain(data: bytes) -> Any:
    """Plain dicts and lists from JSON; raises DecodeError."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        raise Unread(
            f"couldn't get version/kind; json parse error: {gowords.syntax(data)}"
        ) from None


def typed(data: bytes, kind: type[T]) -> T:
    """Typed object of JSON bytes. Nulls count as absent; raises DecodeError."""
    try:
        return decode(data, kind)
    except msgspec.ValidationError:
        return convert(plain(data), kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unread(
            f"couldn't get version/kind; json parse error: {gowords.syntax(data)}"
        ) from None


def convert(value: Any, kind: type[T]) -> T:
    """Typed object of plain dicts and lists. Nulls count as absent; raises DecodeError."""
    head = (value.get("apiVersion"), value.get("kind")) if isinstance(value, dict) else (0, 0)
    if not all(isinstance(name, str | None) for name in head):
        raise Unread(
            f"couldn't get version/kind; json parse error: {gowords.syntax(msgspec.json.encode(value))}"
        )
    try:
        if issubclass(kind, CustomObject):
            return _custom(value, kind)
        with contextlib.suppress(msgspec.ValidationError):
            return from_builtins(value, kind)
        value = without_nulls(value, kind)
        return from_builtins(value, kind)
    except msgspec.ValidationError as error:
        said = gowords.restoration(error, value, kind)
        raise DecodeError(gowords.mismatch(error, value, kind), said) from None
    except RecursionError:
        raise DecodeError("json: exceeded max depth") from None


def _custom(value: dict[str, Any], kind: type[T]) -> T:
    meta = without_nulls(value.get("metadata") or {}, ObjectMeta)
    try:
        from_builtins(meta, ObjectMeta)
    except msgspec.ValidationError as error:
        raise DecodeError(gowords.mismatch(error, meta, ObjectMeta)) from None
    return from_builtins({**value, "metadata": meta}, kind)


def without_nulls(value: Any, kind: type[Struct]) -> Any:
    """Drops nulls wherever the type gives them no meaning, and what Go reads over in base64."""
    if not isinstance(value, dict):
        return value
    fields = fields_of(kind)
    return {
        key: _without_nulls(item, fields[key]) if key in fields else item
        for key, item in value.items()
        if item is not None or (key in fields and fields[key].kind == "any")
    }


_LINE_BREAKS = {ord("\r"): None, ord("\n"): None}


def _without_nulls(value: Any, field: Field) -> Any:
    if field.kind == "bytes" and isinstance(value, str):
        return value.translate(_LINE_BREAKS)  # Go's base64 takes them, wherever they are
    if field.kind in ("struct", "union") and field.item is not None:
        if isinstance(value, list):
            return [without_nulls(item, field.item) for item in value]
        return without_nulls(value, field.item)
    if field.kind == "list" and isinstance(value, list):
        return [
            _zero(field.item) if item is None else _without_nulls(item, field.item)
            for item in value
        ]
    if field.kind == "dict" and isinstance(value, dict):
        return {
            key: _zero(field.item) if item is None else _without_nulls(item, field.item)
            for key, item in value.items()
        }
    return value


def _zero(field: Field) -> Any:
    zeros: dict[str, Any] = {
        "struct": {},
        "list": [],
        "dict": {},
        "string": "",
        "bytes": "",
        "quantity": "0",
        "bool": False,
    }
    return zeros.get(field.kind, None if field.kind in ("any", "union") else 0)


_FREE: Any = {}  # below here anything goes; keys are only counted
_Shape = dict[str, Any]  # field → None for a scalar, or (how it nests, the shape of what is inside)


@functools.cache
def _shape(kind: type[Struct]) -> _Shape:
    shape: _Shape = {}
    for name, field in fields_of(kind).items():
        shape[name] = _nesting(field)
    return shape


def _nesting(field: Field) -> Any:
    if field.kind in ("struct", "union") and field.item is not None:
        return ("struct", field.item)
    if field.kind in ("list", "dict"):
        inner = _nesting(field.item)
        return (
            (field.kind, inner)
            if inner is not None
            else ("free", None)
            if field.kind == "dict"
            else None
        )
    return ("free", None) if field.kind in ("any", "union") else None


def check_fields(value: Any, kind: type[Struct]) -> tuple[int, list[str]]:
    """(number of keys in the whole document, paths of the fields that the type does not have)."""
    found: list[str] = []
    return (_count(value, ("struct", kind), "", found) if isinstance(value, dict) else 0), found


def _count(value: Any, nesting: Any, path: str, found: list[str]) -> int:
    how, inner = nesting
    if how == "struct":
        if not isinstance(value, dict):
            return (
                sum(_count(item, nesting, path, found) for item in value)
                if isinstance(value, list)
                else 0
            )
        shape, total = _shape(inner), len(value)
        for key, item in value.items():
            below = shape.get(key, _FREE)
            if below is None or item is None:
                continue
            if below is _FREE:
                found.append(f"{path}.{key}" if path else key)
                total += count_keys(item)
            elif isinstance(item, dict | list):
                total += _count(item, below, f"{path}.{key}" if path else key, found)
        return total
    if how == "list" and isinstance(value, list):
        return sum(
            [
                _count(item, inner, f"{path}[{i}]", found)
                for i, item in enumerate(value)
                if isinstance(item, dict | list)
            ]
        )
    if how == "dict" and isinstance(value, dict):
        return len(value) + sum(
            [
                _count(v, inner, f"{path}.{k}", found)
                for k, v in value.items()
                if isinstance(v, dict | list)
            ]
        )
    return count_keys(value)


def count_keys(value: Any) -> int:
    if isinstance(value, dict):
        total = len(value)
        for item in value.values():
            if isinstance(item, dict | list):
                total += count_keys(item)
        return total
    if isinstance(value, list):
        return sum([count_keys(item) for item in value if isinstance(item, dict | list)])
    return 0


class _Object(list[tuple[str, Any]]):
    """A JSON object as its keys were given, in their order."""


def _as_given(data: bytes) -> Any:
    return json.loads(data, object_pairs_hook=_Object, parse_int=gowords.whole)


def duplicate_fields(data: bytes) -> list[str]:
    """Paths of the fields that one JSON object of the body gives twice."""
    return [
        path for what, path in _in_order(_as_given(data), ("free", None), "") if what == "duplicate"
    ]


def _in_order(value: Any, nesting: Any, path: str) -> Iterator[tuple[str, str]]:
    """("unknown" or "duplicate", path) as a strict decoder comes across them."""
    how, inner = nesting
    if isinstance(value, _Object):
        seen: set[str] = set()
        shape = _shape(inner) if how == "struct" else {}
        for key, item in value:
            where, again = f"{path}.{key}" if path else key, key in seen
            seen.add(key)
            below = (
                shape.get(key, _FREE)
                if how == "struct"
                else inner
                if how == "dict"
                else ("free", None)
            )
            if below is _FREE:  # what is both unknown and given twice counts as unknown alone
                if not again:
                    yield "unknown", where
                continue
            if again:
                yield "duplicate", where
            yield from _in_order(item, below or ("free", None), where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _in_order(item, inner if how == "list" else nesting, f"{path}[{index}]")


def _told(problems: Iterable[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(f'{what} field "{path}"' for what, path in problems))


def is_json(data: bytes) -> bool:
    """Whether a body that may be YAML is an object in JSON that gives no key twice: most are, and need no reader of YAML."""
    if data[:1] != b"{":
        return False
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return data.count(b'":') == msgspec.json.encode(value).count(b'":')


def json_patch_problems(data: bytes) -> list[str]:
    """What strict decoding of a JSON patch objects to."""
    known = ("op", "path", "from", "value")
    problems: list[str] = []
    for index, operation in enumerate(_as_given(data)):
        seen: set[str] = set()
        for key, _ in operation if isinstance(operation, _Object) else ():
            if key not in known or key in seen:
                problems.append(
                    f'json patch {"duplicate" if key in known else "unknown"} field "[{index}].{key}"'
                )
            seen.add(key)
    return list(dict.fromkeys(problems))


@functools.cache
def _twin(kind: type[Struct]) -> Any:
    """A struct with the fields of `kind` that refuses every other field, and asks nothing of the values of scalars.
    To convert plain data into it costs less than half of a walk over the data; what it takes has no unknown fields. None for
    a type that contains what it cannot stand for."""
    fields: list[Any] = []
    for name, nesting in _shape(kind).items():
        inner = _twin_type(nesting)
        if inner is None:
            return None
        fields.append((f"f{len(fields)}", inner, msgspec.field(default=None, name=name)))
    with BUILDING:
        made = msgspec.defstruct(kind.__name__, fields, forbid_unknown_fields=True)
        msgspec.json.Decoder(made)
    return made


def _twin_type(nesting: Any) -> Any:
    how, inner = nesting or ("free", None)
    if how == "free":
        return Any
    if inner is JSONSchemaProps:  # contains itself
        return None
    below: Any = _twin(inner) if how == "struct" else _twin_type(inner)
    if below is None:
        return None
    around = {"struct": below, "list": list[below], "dict": dict[str, below]}  # type: ignore[valid-type]
    return around[how] | None


def _spotless(data: bytes, value: Any, kind: type[Struct]) -> bool:
    """A quick look: surely no field of the document is unknown or was given twice. `data` as for `field_problems`."""
    twin = _twin(kind)
    if twin is None:
        return False
    try:
        msgspec.convert(value, twin)
    except msgspec.ValidationError:
        return False
    # Written again, each key of an object is there once.
    return not data or data.count(b'":') == msgspec.json.encode(value).count(b'":')


def _custom_fields(value: Any, schema: Schema) -> tuple[int, list[str]]:
    if not isinstance(value, dict):
        return 0, []
    unknown: list[str] = []
    prune(copy.deepcopy(value), schema, True, "", unknown)
    below = check_fields(value.get("metadata") or {}, ObjectMeta)[1]
    return count_keys(value), unknown + [f"metadata.{path}" for path in below]


def field_problems(
    data: bytes, value: Any, kind: type[Struct], schema: Schema | None = None
) -> list[str]:
    """What strict decoding objects to: ``unknown field "spec.x"`` and ``duplicate field "name"``. `data` is the JSON
    that `value` came from, if it did; `schema` is that of a custom resource."""
    if schema is None and _spotless(data, value, kind):
        return []
    keys, unknown = (
        _custom_fields(value, schema) if schema is not None else check_fields(value, kind)
    )
    # Counting is a cheap first look: only when the numbers differ can a field have been given twice.
    twice = bool(data) and data.count(b'":') != keys
    if schema is None and data and (unknown or twice):
        return _told(_in_order(_as_given(data), ("struct", kind), ""))
    problems = [f'unknown field "{path}"' for path in sorted(unknown)]
    return (
        [f'duplicate field "{path}"' for path in duplicate_fields(data)] + problems
        if twice
        else problems
    )
