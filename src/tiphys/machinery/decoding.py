"""Bytes of a request to a typed object, as forgiving and as strict as upstream.

The fast way is msgspec's typed decoder. What it refuses (a null where Go takes nulls) or does not
notice (fields that the type does not have, fields given twice) takes the slow way over plain dicts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from tiphys.api.base import Struct, decode, decoder, from_builtins
from tiphys.api.custom import CustomObject
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import gowords
from tiphys.machinery.fieldvalidation import twin_of
from tiphys.machinery.schema import Field, fields_of, struct_of
from tiphys.machinery.timefields import make_times_canonical, plan_of

T = TypeVar("T", bound=Struct | CustomObject)


class DecodeError(ValueError):
    """The body is not an object of the type; the text is for the user.

    unread:      not even its kind could be read
    restoration: the same in the words of the converter that strategic merge patches go through
    """

    unread = False

    def __init__(self, text: str, restoration: str = "") -> None:
        super().__init__(text)
        self.restoration = restoration or text


class Unread(DecodeError):
    """Not even the kind of the body could be read."""

    unread = True

    def __init__(self, problem: str) -> None:
        super().__init__(f"couldn't get version/kind; json parse error: {problem}")


def warming(kind: type[Struct], seen: set[type[Struct]] | None = None) -> Iterator[None]:
    """Builds the decoders of a type, a step at a time and its smallest parts first.

    For a pod they take a tenth of a second, once in the life of a process: too long for one turn of
    the event loop.
    """
    seen = {kind} if seen is None else seen
    for field in fields_of(kind).values():
        inner = struct_of(field)
        if inner is not None and field.kind != "union" and inner not in seen:
            seen.add(inner)
            yield from warming(inner, seen)
    decoder(kind)
    plan_of(kind)
    yield
    twin_of(kind)
    yield


def plain(data: bytes) -> Any:
    """Plain dicts and lists from JSON. Raises DecodeError."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        raise Unread(gowords.syntax(data)) from None


def typed(data: bytes, kind: type[T]) -> T:
    """Typed object of JSON bytes. Nulls count as absent. Raises DecodeError."""
    try:
        if not data.isascii():
            data.decode()  # msgspec does not look at keys that it does not know
        return _with_times(decode(data, kind))
    except msgspec.ValidationError:
        return convert(plain(data), kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unread(gowords.syntax(data)) from None


def _names_its_kind(value: Any) -> bool:
    """Whether a document is an object whose version and kind are texts, if it has them."""
    if not isinstance(value, dict):
        return False
    return all(isinstance(value.get(name), str | None) for name in ("apiVersion", "kind"))


def convert(value: Any, kind: type[T]) -> T:
    """Typed object of plain dicts and lists. Nulls count as absent, also one in place of the whole
    object, as for Go. Raises DecodeError."""
    value = {} if value is None else value
    if not _names_its_kind(value):
        raise Unread(gowords.syntax(msgspec.json.encode(value)))
    try:
        if issubclass(kind, CustomObject):
            return _custom(value, kind)
        with contextlib.suppress(msgspec.ValidationError):
            return _with_times(from_builtins(value, kind))
        value = without_nulls(value, kind)
        return _with_times(from_builtins(value, kind))
    except msgspec.ValidationError as error:
        restoration = gowords.restoration(error, value, kind)
        raise DecodeError(gowords.mismatch(error, value, kind), restoration) from None
    except RecursionError:
        raise DecodeError("json: exceeded max depth") from None


def _with_times(obj: T) -> T:
    """The object, its times as Go keeps them. Raises DecodeError."""
    try:
        make_times_canonical(obj.metadata if isinstance(obj, CustomObject) else obj)
    except ValueError as error:
        raise DecodeError(str(error)) from None
    return obj


def _custom(value: dict[str, Any], kind: type[T]) -> T:
    meta = without_nulls(value.get("metadata") or {}, ObjectMeta)
    try:
        from_builtins(meta, ObjectMeta)
    except msgspec.ValidationError as error:
        raise DecodeError(gowords.mismatch(error, meta, ObjectMeta)) from None
    return _with_times(from_builtins({**value, "metadata": meta}, kind))


def without_nulls(value: Any, kind: type[Struct]) -> Any:
    """Drops nulls wherever the type gives them no meaning, and what Go reads over in base64."""
    if not isinstance(value, dict):
        return value
    fields = fields_of(kind)
    result = {}
    for key, item in value.items():
        field = fields.get(key)
        if item is None and (field is None or field.kind != "any"):
            continue
        result[key] = item if field is None else _without_nulls(item, field)
    return result


_LINE_BREAKS = {ord("\r"): None, ord("\n"): None}


def _without_nulls(value: Any, field: Field) -> Any:
    if field.kind == "bytes" and isinstance(value, str):
        return value.translate(_LINE_BREAKS)  # Go's base64 takes them, wherever they are
    if field.kind in ("struct", "union") and field.item is not None:
        if isinstance(value, list):
            return [without_nulls(item, field.item) for item in value]
        return without_nulls(value, field.item)
    if field.kind == "list" and isinstance(value, list):
        return [_or_zero(item, field.item) for item in value]
    if field.kind == "dict" and isinstance(value, dict):
        return {key: _or_zero(item, field.item) for key, item in value.items()}
    return value


def _or_zero(value: Any, field: Field) -> Any:
    """An item of a list or an entry of a map: Go reads a null in its place as the zero value."""
    return _zero(field) if value is None else _without_nulls(value, field)


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
