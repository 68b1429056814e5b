"""Structural schemas of custom resources: pruning, defaulting and validation of plain dicts and lists.

A schema is compiled once from a CustomResourceDefinition's JSON. Sentences are those that upstream's validator writes.
"""

from __future__ import annotations

import base64
import copy
import datetime
import ipaddress
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.errors import FieldError, invalid_value, not_supported, required
from tiphys.machinery.regexp import compiled
from tiphys.machinery.schema import fields_of

UNSET: Any = object()
_ROOT = ("apiVersion", "kind", "metadata")


@dataclass(slots=True)
class Schema:
    """One node. `facts` keeps the published JSON of the node, for documentation and rarely used keywords."""

    facts: dict[str, Any]
    type: str = ""
    properties: dict[str, Schema] = field(default_factory=dict)
    additional: Schema | None = None
    items: Schema | None = None
    nullable: bool = False
    preserve: bool = False
    embedded: bool = False
    int_or_string: bool = False
    default: Any = UNSET
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    map_type: str = ""
    required: tuple[str, ...] = ()
    checks: tuple[Callable[[Any, str], FieldError | None], ...] = ()
    branches: tuple[tuple[str, tuple[Schema, ...]], ...] = ()  # (allOf, anyOf, oneOf or not; the schemas)
    rules: tuple[dict[str, Any], ...] = ()
    has_defaults: bool = False
    has_rules: bool = False

    @property
    def has_default(self) -> bool:
        return self.default is not UNSET

    def child(self, name: str) -> Schema | None:
        return self.properties.get(name) or self.additional


ANYTHING = Schema({}, preserve=True)


def compile_schema(facts: dict[str, Any]) -> Schema:
    """The compiled form of one node and all below it."""
    items, extra = facts.get("items"), facts.get("additionalProperties")
    node = Schema(
        facts,
        type=facts.get("type", ""),
        properties={name: compile_schema(inner) for name, inner in (facts.get("properties") or {}).items()},
        additional=compile_schema(extra) if isinstance(extra, dict) else ANYTHING if extra is True else None,
        items=compile_schema(items) if isinstance(items, dict) else None,
        nullable=bool(facts.get("nullable")),
        preserve=bool(facts.get("x-kubernetes-preserve-unknown-fields")),
        embedded=bool(facts.get("x-kubernetes-embedded-resource")),
        int_or_string=bool(facts.get("x-kubernetes-int-or-string")),
        default=facts.get("default", UNSET),
        list_type=facts.get("x-kubernetes-list-type") or "",
        list_keys=tuple(facts.get("x-kubernetes-list-map-keys") or ()),
        map_type=facts.get("x-kubernetes-map-type") or "",
        required=tuple(facts.get("required") or ()),
        checks=tuple(_checks(facts)),
        branches=tuple(_branches(facts)),
        rules=tuple(facts.get("x-kubernetes-validations") or ()),
    )
    inner = [*node.properties.values(), *(n for n in (node.additional, node.items) if n is not None)]
    node.has_defaults = node.has_default or any(n.has_defaults for n in inner)
    node.has_rules = bool(node.rules) or any(n.has_rules for n in inner)
    return node


def _branches(facts: dict[str, Any]) -> list[tuple[str, tuple[Schema, ...]]]:
    found = []
    for keyword in ("allOf", "anyOf", "oneOf"):
        if facts.get(keyword):
            found.append((keyword, tuple(compile_schema(inner) for inner in facts[keyword])))
    if facts.get("not"):
        found.append(("not", (compile_schema(facts["not"]),)))
    return found


# --- pruning ------------------------------------------------------------------------------------------------------


def prune(value: Any, schema: Schema, root: bool = False, path: str = "", found: list[str] | None = None) -> None:
    """Takes out, in place, what the schema does not name; `found` collects the paths of what went."""
    if isinstance(value, list):
        if schema.items is not None:
            for index, item in enumerate(value):
                if isinstance(item, dict | list):
                    prune(item, schema.items, False, f"{path}[{index}]", found)
        return
    if not isinstance(value, dict) or schema is ANYTHING:
        return
    for key in list(value):
        if (root or schema.embedded) and key in _ROOT:
            if key == "metadata" and not root and isinstance(value[key], dict):
                _prune_metadata(value[key], f"{path}.metadata" if path else "metadata", found)
            continue
        inner, where = schema.child(key), f"{path}.{key}" if path else key
        if inner is not None:
            if isinstance(value[key], dict | list):
                prune(value[key], inner, False, where, found)
        elif not schema.preserve:
            del value[key]
            if found is not None:
                found.append(where)


def _prune_metadata(meta: dict[str, Any], path: str, found: list[str] | None) -> None:
    """The metadata of an embedded object has the fields that every object's has."""
    known = fields_of(ObjectMeta)
    for key in [key for key in meta if key not in known]:
        del meta[key]
        if found is not None:
            found.append(f"{path}.{key}")


# --- defaulting ---------------------------------------------------------------------------------------------------


def apply_defaults(value: Any, schema: Schema) -> None:
    """Fills in, in place, what is missing and has a default. Nulls that the schema does not allow count as missing."""
    if not schema.has_defaults:
        return
    if isinstance(value, dict):
        for name, inner in schema.properties.items():
            if inner.has_default and (name not in value or (value[name] is None and not inner.nullable)):
                value[name] = copy.deepcopy(inner.default)
            if inner.has_defaults and isinstance(value.get(name), dict | list):
                apply_defaults(value[name], inner)
        if schema.additional is not None and schema.additional.has_defaults:
            for name, item in value.items():
                if name not in schema.properties:
                    if item is None and schema.additional.has_default and not schema.additional.nullable:
                        value[name] = copy.deepcopy(schema.additional.default)
                    apply_defaults(value[name], schema.additional)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            if item is None and schema.items.has_default and not schema.items.nullable:
                value[index] = copy.deepcopy(schema.items.default)
            apply_defaults(value[index], schema.items)


def drop_nulls(value: Any, schema: Schema) -> None:
    """Takes out nulls, in place, where the schema allows none and has no default for them."""
    if isinstance(value, dict):
        for key in list(value):
            inner = schema.child(key)
            if inner is None or inner is ANYTHING:
                continue
            if value[key] is None:
                if not inner.nullable and not inner.has_default and inner.type:
                    del value[key]
            else:
                drop_nulls(value[key], inner)
    elif isinstance(value, list) and schema.items is not None:
        for item in value:
            drop_nulls(item, schema.items)


# --- validation ---------------------------------------------------------------------------------------------------


def validate(value: Any, schema: Schema, path: str = "", old: Any = UNSET) -> list[FieldError]:
    """Every broken rule. With `old`, what did not change since is not judged again (ratcheting)."""
    if old is not UNSET and value == old:
        return []
    if value is None:
        if schema.nullable or not schema.type:
            return []
        return [_wrong_type(path, "null", schema)]
    found = _type_errors(value, schema, path)
    if found:
        return found
    for check in schema.checks:
        problem = check(value, path)
        if problem is not None:
            found.append(problem)
    for keyword, schemas in schema.branches:
        found += _branch_errors(keyword, schemas, value, path)
    if isinstance(value, dict):
        for name in schema.required:
            if name not in value:
                found.append(required(f"{path}.{name}" if path else name))
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            inner = schema.properties.get(key)
            if inner is None:
                if schema.additional is None:
                    continue
                inner = schema.additional
            found += validate(item, inner, f"{path}.{key}" if path else key, before.get(key, UNSET))
        if schema.embedded:
            found += _embedded_errors(value, path)
    elif isinstance(value, list) and schema.items is not None:
        before_items = correlated(value, old, schema)
        for index, item in enumerate(value):
            found += validate(item, schema.items, f"{path}[{index}]", before_items[index])
        found += _list_errors(value, schema, path)
    return found


def correlated(value: list[Any], old: Any, schema: Schema) -> list[Any]:
    """For each item the item it was before, where the list's keys tell."""
    if not isinstance(old, list) or schema.list_type != "map":
        return [UNSET] * len(value)
    table = {list_key(item, schema): item for item in old if isinstance(item, dict)}
    return [table.get(list_key(item, schema), UNSET) if isinstance(item, dict) else UNSET for item in value]


def list_key(item: dict[str, Any], schema: Schema) -> tuple[Any, ...]:
    """The values of a map list's keys; a missing one has its default."""
    row = []
    for key in schema.list_keys:
        inner = schema.items.properties.get(key) if schema.items else None
        row.append(item.get(key, inner.default if inner is not None and inner.has_default else None))
    return tuple(repr(v) if isinstance(v, dict | list) else v for v in row)


def _list_errors(value: list[Any], schema: Schema, path: str) -> list[FieldError]:
    if schema.list_type not in ("set", "map"):
        return []
    seen: set[Any] = set()
    found = []
    for index, item in enumerate(value):
        if schema.list_type == "map":
            if not isinstance(item, dict):
                continue
            key: Any = list_key(item, schema)
            shown: Any = {k: item.get(k) for k in schema.list_keys if k in item}
        else:
            key, shown = (repr(item) if isinstance(item, dict | list) else (type(item).__name__, item)), item
        if key in seen:
            from tiphys.machinery.errors import duplicate

            found.append(duplicate(f"{path}[{index}]", shown))
        seen.add(key)
    return found


def _embedded_errors(value: dict[str, Any], path: str) -> list[FieldError]:
    where = f"{path}." if path else ""
    return [required(where + name, "must not be empty") for name in ("apiVersion", "kind") if not value.get(name)]


def _branch_errors(keyword: str, schemas: tuple[Schema, ...], value: Any, path: str) -> list[FieldError]:
    results = [validate(value, schema, path) for schema in schemas]
    good = sum(not result for result in results)
    if keyword == "allOf":
        return [error for result in results for error in result]
    if keyword == "anyOf" and not good:
        best = min(results, key=len)
        return [*best, _invalid(path, value, "must validate at least one schema (anyOf)")]
    if keyword == "oneOf" and good != 1:
        best = [] if good else min(results, key=len)
        return [*best, _invalid(path, value, "must validate one and only one schema (oneOf)")]
    if keyword == "not" and good:
        return [_invalid(path, value, "must not validate the schema (not)")]
    return []


def _invalid(path: str, value: Any, why: str) -> FieldError:
    return invalid_value(path, value, f'"{path}" {why}')


def json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _type_errors(value: Any, schema: Schema, path: str) -> list[FieldError]:
    have = json_type(value)
    if schema.int_or_string:
        return [] if have in ("integer", "string") else [_wrong_type(path, have, schema, "integer,string")]
    want = schema.type
    if not want or have == want or (want == "number" and have == "integer"):
        return []
    if want == "integer" and have == "number" and value.is_integer():
        return []
    return [_wrong_type(path, have, schema)]


def _wrong_type(path: str, have: str, schema: Schema, want: str = "") -> FieldError:
    shown = f"{path} in body must be of type {want or schema.type}: {have!r}".replace("'", '"')
    error = invalid_value(path, have, shown)
    return FieldError("FieldValueTypeInvalid", error.field, error.detail)


# --- keywords -----------------------------------------------------------------------------------------------------

Check = Callable[[Any, str], FieldError | None]


def _number(text: Any) -> str:
    return f"{text:g}" if isinstance(text, float) and abs(text) < 1e15 else str(text)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _checks(facts: dict[str, Any]) -> list[Check]:
    found: list[Check] = []
    for keyword, make in _KEYWORDS.items():
        given = facts.get(keyword)
        if given is not None and given is not False and given not in ("", []):
            found.append(make(facts[keyword], facts))
    return found


def _says(fits: Callable[[Any], bool], breaks: Callable[[Any], bool], why: str) -> Check:
    def check(value: Any, path: str) -> FieldError | None:
        if fits(value) and breaks(value):
            return invalid_value(path, value, f"{path} in body {why}")
        return None

    return check


def _maximum(limit: Any, facts: dict[str, Any]) -> Check:
    if facts.get("exclusiveMaximum"):
        return _says(_is_number, lambda v: v >= limit, f"should be less than {_number(limit)}")
    return _says(_is_number, lambda v: v > limit, f"should be less than or equal to {_number(limit)}")


def _minimum(limit: Any, facts: dict[str, Any]) -> Check:
    if facts.get("exclusiveMinimum"):
        return _says(_is_number, lambda v: v <= limit, f"should be greater than {_number(limit)}")
    return _says(_is_number, lambda v: v < limit, f"should be greater than or equal to {_number(limit)}")


def _multiple(step: Any, facts: dict[str, Any]) -> Check:
    def breaks(value: Any) -> bool:
        rest = value / step
        return bool(abs(rest - round(rest)) > 1e-9)

    return _says(_is_number, breaks, f"should be a multiple of {_number(step)}")


def _max_length(limit: int, facts: dict[str, Any]) -> Check:
    def check(value: Any, path: str) -> FieldError | None:
        if isinstance(value, str) and len(value) > limit:
            return FieldError("FieldValueTooLong", path, f"Too long: may not be more than {limit} bytes")
        return None

    return check


def _too_many(kind: type) -> Callable[[int, dict[str, Any]], Check]:
    def make(limit: int, facts: dict[str, Any]) -> Check:
        def check(value: Any, path: str) -> FieldError | None:
            if isinstance(value, kind) and len(value) > limit:  # type: ignore[arg-type]
                why = f"Too many: {len(value)}: must have at most {limit} items"  # type: ignore[arg-type]
                return FieldError("FieldValueTooMany", path, why)
            return None

        return check

    return make


def _pattern(text: str, facts: dict[str, Any]) -> Check:
    expression = compiled(text)
    return _says(lambda v: isinstance(v, str), lambda v: not expression.search(v), f"should match '{text}'")


def _enum(values: list[Any], facts: dict[str, Any]) -> Check:
    def check(value: Any, path: str) -> FieldError | None:
        if any(value == allowed and type(value) is type(allowed) for allowed in values):
            return None
        if facts.get("nullable") and value is None:
            return None
        return not_supported(path, value, [v if isinstance(v, str) else _number(v) for v in values])

    return check


def _unique(wanted: bool, facts: dict[str, Any]) -> Check:
    def breaks(value: Any) -> bool:
        return any(item in value[:index] for index, item in enumerate(value))

    return _says(lambda v: isinstance(v, list), breaks, "shouldn't contain duplicates")


def _format(name: str, facts: dict[str, Any]) -> Check:
    test = FORMATS.get(name)

    def check(value: Any, path: str) -> FieldError | None:
        if test is None or not isinstance(value, str):
            return None
        try:
            good = test(value)
        except ValueError:
            good = False
        if good:
            return None
        error = invalid_value(path, value, f'{path} in body must be of type {name}: "{value}"')
        return error

    return check


def _matches(expression: str) -> Callable[[str], bool]:
    compiled = re.compile(expression)
    return lambda text: compiled.fullmatch(text) is not None


_DURATION = r"[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h|d|w))+|\d+\s*[a-z]*"
FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": lambda text: bool(re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?\d\d)", text)),
    "datetime": lambda text: bool(re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?\d\d)", text)),
    "date": lambda text: bool(datetime.date.fromisoformat(text)) and len(text) == 10,
    "duration": _matches(_DURATION),
    "email": _matches(r"[^@\s]+@[^@\s]+"),
    "hostname": _matches(r"(?=.{1,253}$)[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"),
    "ipv4": lambda text: bool(ipaddress.IPv4Address(text)) or True,
    "ipv6": lambda text: bool(ipaddress.IPv6Address(text)) or True,
    "ip": lambda text: bool(ipaddress.ip_address(text)) or True,
    "cidr": lambda text: "/" in text and (bool(ipaddress.ip_network(text, strict=False)) or True),
    "mac": _matches(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}"),
    "uri": _matches(r"[a-zA-Z][a-zA-Z0-9+.-]*:\S+|/\S*"),
    "uuid": lambda text: bool(uuid.UUID(text)) and len(text) in (32, 36),
    "byte": lambda text: base64.b64decode(text, validate=True) is not None,
    "password": lambda text: True,
}  # fmt: skip

_KEYWORDS: dict[str, Callable[[Any, dict[str, Any]], Check]] = {
    "maximum": _maximum, "minimum": _minimum, "multipleOf": _multiple,
    "maxLength": _max_length,
    "minLength": lambda n, f: _says(lambda v: isinstance(v, str), lambda v: len(v) < n, f"should be at least {n} chars long"),
    "pattern": _pattern, "format": _format, "enum": _enum,
    "maxItems": _too_many(list),
    "minItems": lambda n, f: _says(lambda v: isinstance(v, list), lambda v: len(v) < n, f"should have at least {n} items"),
    "uniqueItems": _unique,
    "maxProperties": _too_many(dict),
    "minProperties": lambda n, f: _says(lambda v: isinstance(v, dict), lambda v: len(v) < n, f"should have at least {n} properties"),
}  # fmt: skip
