"""Bytes of a request to a typed object, as forgiving and as strict as upstream.

The fast way is msgspec's typed decoder. What it refuses (a null where Go takes nulls) or does not
notice (fields that the type does not have, fields given twice) takes the slow way over plain dicts.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

from tiphys.api.apiextensions_v1 import JSONSchemaProps
from tiphys.api.base import BUILDING, Struct, decode, decoder, from_builtins
from tiphys.api.custom import CustomObject
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import gowords
from tiphys.machinery.fielderrors import ENOUGH, field_path, fitting
from tiphys.machinery.schema import Field, fields_of, struct_of
from tiphys.machinery.structural import Schema, prune
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
    _twin(kind)
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
    """Typed object of plain dicts and lists. Nulls count as absent. Raises DecodeError."""
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


# How a value nests, for walks over documents, which must be fast: ("struct", the class), ("list" or
# "dict", the nesting of what is inside), ("free", None) where anything goes, or None for a scalar.
_Nesting = tuple[str, Any] | None
_Shape = dict[str, _Nesting]  # by field
_FREE: _Nesting = ("free", None)
_UNKNOWN: Any = object()
_MOST_PROBLEMS = 100  # that upstream's decoder of JSON remembers of a document


@functools.cache
def _shape(kind: type[Struct]) -> _Shape:
    return {name: _nesting(field) for name, field in fields_of(kind).items()}


def _nesting(field: Field) -> _Nesting:
    if field.kind in ("struct", "union") and field.item is not None:
        return ("struct", field.item)
    if field.kind in ("any", "union"):
        return _FREE
    if field.kind not in ("list", "dict"):
        return None
    inner = _nesting(field.item)
    if inner is not None:
        return (field.kind, inner)
    return _FREE if field.kind == "dict" else None


class FieldCheck(NamedTuple):
    """keys: of all objects in the document; unknown: paths of the fields that the type does not
    have."""

    keys: int
    unknown: list[str]


def check_fields(value: Any, kind: type[Struct]) -> FieldCheck:
    """Looks for unknown fields: 22 µs for a pod of three containers."""
    unknown: list[str] = []
    if not isinstance(value, dict):
        return FieldCheck(0, unknown)
    return FieldCheck(_count_keys_of(value, ("struct", kind), "", unknown), unknown)


def _count_keys_of(value: Any, nesting: tuple[str, Any], path: str, unknown: list[str]) -> int:
    """How many keys the objects of a value have; `unknown` collects the paths of unknown fields,
    `ENOUGH` of them at the most."""
    how, inner = nesting
    if how == "struct" and isinstance(value, list):  # of a union: a schema, or a list of them
        return sum(_count_keys_of(item, nesting, path, unknown) for item in value)
    if how == "struct":
        return _count_keys_of_struct(value, inner, path, unknown) if isinstance(value, dict) else 0
    total = 0
    if how == "list" and isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                total += _count_keys_of(item, inner, f"{path}[{index}]", unknown)
        return total
    if how == "dict" and isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list):
                total += _count_keys_of(item, inner, field_path(path, key), unknown)
        return total + len(value)
    return count_keys(value)


def _count_keys_of_struct(
    value: dict[str, Any], kind: type[Struct], path: str, unknown: list[str]
) -> int:
    shape = _shape(kind)
    total = len(value)
    for key, item in value.items():
        below = shape.get(key, _UNKNOWN)
        if below is None or item is None:
            continue
        if below is _UNKNOWN:
            if len(unknown) < ENOUGH:
                unknown.append(field_path(path, key))
            total += count_keys(item)
        elif isinstance(item, dict | list):
            total += _count_keys_of(item, below, f"{path}.{key}" if path else key, unknown)
    return total


def count_keys(value: Any) -> int:
    """How many keys the objects of a document have."""
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
    problems = _strict_problems(_as_given(data), ("free", None), "")
    return [problem.path for problem in problems if problem.kind == "duplicate"]


class _Problem(NamedTuple):
    """A field that strict decoding refuses: `kind` is "unknown" or "duplicate"."""

    kind: str
    path: str


def _strict_problems(value: Any, nesting: tuple[str, Any], path: str) -> Iterator[_Problem]:
    """In the order in which a strict decoder comes across them."""
    how, inner = nesting
    if isinstance(value, _Object):
        seen: set[str] = set()
        for key, item in value:
            below = _nesting_below(key, nesting)
            key_path = field_path(path, key)
            is_duplicate = key in seen
            seen.add(key)
            if below is _UNKNOWN:  # what is both unknown and there twice counts as unknown alone
                if not is_duplicate:
                    yield _Problem("unknown", key_path)
                continue
            if is_duplicate:
                yield _Problem("duplicate", key_path)
            yield from _strict_problems(item, below or ("free", None), key_path)
    elif isinstance(value, list):
        item_nesting = inner if how == "list" else nesting
        for index, item in enumerate(value):
            yield from _strict_problems(item, item_nesting, f"{path}[{index}]")


def _nesting_below(key: str, nesting: tuple[str, Any]) -> Any:
    """How the value of a key nests; `_UNKNOWN` for a field that its struct does not have."""
    how, inner = nesting
    if how == "struct":
        return _shape(inner).get(key, _UNKNOWN)
    return inner if how == "dict" else _FREE


def _texts(problems: Iterable[_Problem]) -> list[str]:
    """Each once, and no more than upstream's strict decoder remembers."""
    texts = dict[str, None]()
    for kind, path in problems:
        texts[f'{kind} field "{path}"'] = None
        if len(texts) == _MOST_PROBLEMS:
            break
    return list(texts)


def is_json(data: bytes) -> bool:
    """Whether a body that may be YAML is an object in JSON that has no key twice: most are, and
    need no YAML parser."""
    if data[:1] != b"{":
        return False
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return data.count(b'":') == msgspec.json.encode(value).count(b'":')


def json_patch_problems(data: bytes) -> list[str]:
    """What strict decoding of a JSON patch refuses."""
    known = ("op", "path", "from", "value")
    problems: list[str] = []
    for index, operation in enumerate(_as_given(data)):
        if not isinstance(operation, _Object):
            continue
        seen: set[str] = set()
        for key, _ in operation:
            if key not in known:
                problems.append(f'json patch unknown field "{field_path(f"[{index}]", key)}"')
            elif key in seen:
                problems.append(f'json patch duplicate field "{field_path(f"[{index}]", key)}"')
            seen.add(key)
    return list(dict.fromkeys(problems))[:_MOST_PROBLEMS]


@functools.cache
def _twin(kind: type[Struct]) -> Any:
    """A struct with the fields of `kind` that refuses every other field, and takes any scalar.

    Converting plain data into it costs less than half of a walk over the data; what can be
    converted has no unknown fields. None for a type that contains itself.
    """
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


def _twin_type(nesting: _Nesting) -> Any:
    how, inner = nesting or ("free", None)
    if how == "free":
        return Any
    if inner is JSONSchemaProps:  # contains itself
        return None
    below: Any = _twin(inner) if how == "struct" else _twin_type(inner)
    if below is None:
        return None
    if how == "list":
        return list[below] | None
    if how == "dict":
        return dict[str, below] | None
    return below | None


def _is_surely_strict(data: bytes, value: Any, kind: type[Struct]) -> bool:
    """A quick check: whether no field of the document is unknown or duplicate. `data` as for
    `field_problems`."""
    twin = _twin(kind)
    if twin is None:
        return False
    try:
        msgspec.convert(value, twin)
    except msgspec.ValidationError:
        return False
    # Written again, each key of an object is there once.
    return not data or data.count(b'":') == msgspec.json.encode(value).count(b'":')


def _check_custom_fields(value: Any, schema: Schema) -> FieldCheck:
    """As `check_fields`, of a custom resource."""
    if not isinstance(value, dict):
        return FieldCheck(0, [])
    unknown: list[str] = []
    prune(copy.deepcopy(value), schema, True, "", unknown)
    meta = check_fields(value.get("metadata") or {}, ObjectMeta)
    unknown += [f"metadata.{path}" for path in meta.unknown]
    return FieldCheck(count_keys(value), unknown)


def field_problems(
    data: bytes, value: Any, kind: type[Struct], schema: Schema | None = None
) -> list[str]:
    """What strict decoding refuses: ``unknown field "spec.x"`` and ``duplicate field "name"``.

    data:   the JSON that `value` came from; empty if it came from elsewhere
    schema: of a custom resource
    """
    if schema is None and _is_surely_strict(data, value, kind):
        return []
    if schema is not None:
        keys, unknown = _check_custom_fields(value, schema)
    else:
        keys, unknown = check_fields(value, kind)
    # Counting is a cheap first look: only when the numbers differ can a field be there twice.
    may_have_duplicates = bool(data) and data.count(b'":') != keys
    if schema is None and data and (unknown or may_have_duplicates):
        return _texts(_strict_problems(_as_given(data), ("struct", kind), ""))
    duplicates = duplicate_fields(data) if may_have_duplicates else []
    problems = [f'duplicate field "{path}"' for path in duplicates]
    problems += [f'unknown field "{path}"' for path in sorted(unknown)]
    return fitting(problems)
