"""What is wrong with the fields of a document: those that its type does not have, and those that
stand twice (upstream's field validation)."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from tiphys.api.apiextensions_v1 import JSONSchemaProps
from tiphys.api.base import BUILDING, Struct
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import gowords
from tiphys.machinery.fielderrors import ENOUGH, field_path, fitting
from tiphys.machinery.schema import Field, fields_of
from tiphys.machinery.structural import Schema, prune

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
        if below is None:
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
    return json.loads(data, object_pairs_hook=_Object, parse_int=gowords.parse_number)


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
def twin_of(kind: type[Struct]) -> Any:
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
        twin = msgspec.defstruct(kind.__name__, fields, forbid_unknown_fields=True)
        msgspec.json.Decoder(twin)
    return twin


def _twin_type(nesting: _Nesting) -> Any:
    how, inner = nesting or ("free", None)
    if how == "free":
        return Any
    if inner is JSONSchemaProps:  # contains itself
        return None
    below: Any = twin_of(inner) if how == "struct" else _twin_type(inner)
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
    twin = twin_of(kind)
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
