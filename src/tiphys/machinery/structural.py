"""Structural schemas of custom resources: pruning, defaulting and validation of plain dicts and lists.

A schema is compiled once from a CustomResourceDefinition's JSON. Sentences are those that upstream's validator writes.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import gowords
from tiphys.machinery.errors import FieldError, duplicate, invalid_value, not_supported, required
from tiphys.machinery.formats import FORMATS
from tiphys.machinery.keywords import checks_of, enum_texts, of_type
from tiphys.machinery.names import label_key_errors, label_value_errors
from tiphys.machinery.schema import fields_of

UNSET: Any = object()
ROOT = ("apiVersion", "kind", "metadata")


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
    branches: tuple[
        tuple[str, tuple[Schema, ...]], ...
    ] = ()  # (allOf, anyOf, oneOf or not; the schemas)
    rules: tuple[dict[str, Any], ...] = ()
    has_defaults: bool = False
    has_rules: bool = False
    has_embedded: bool = False
    _seen: Schema | None = None

    def as_seen(self, root: bool = False) -> Schema:
        """The schema as rules see it: those of a resource's root, or of an embedded one's, know its kind and names
        whatever it says itself."""
        if not (root or self.embedded) or _names_itself(self):
            return self
        if self._seen is None:
            self._seen = replace(self, properties={**self.properties, **_OBJECT_META})
            self._seen._seen = self._seen
        return self._seen

    @property
    def has_default(self) -> bool:
        return self.default is not UNSET

    def child(self, name: str) -> Schema | None:
        return self.properties.get(name) or self.additional


def rules_in(schema: Schema) -> Iterator[str]:
    """The text of every rule of a schema."""
    if not schema.has_rules:
        return
    yield from (rule["rule"] for rule in schema.rules if isinstance(rule.get("rule"), str))
    for inner in (*schema.properties.values(), schema.additional, schema.items):
        if inner is not None:
            yield from rules_in(inner)


def _names_itself(schema: Schema) -> bool:
    properties = schema.properties
    meta = properties.get("metadata")
    if meta is None or meta.type != "object":
        return False
    texts = [properties.get("kind"), properties.get("apiVersion")]
    texts += [meta.properties.get("name"), meta.properties.get("generateName")]
    return all(inner is not None and inner.type == "string" for inner in texts)


_TEXT = Schema({"type": "string"}, type="string")
_NAMES = Schema(
    {"type": "object"}, type="object", properties={"name": _TEXT, "generateName": _TEXT}
)
_OBJECT_META = {"kind": _TEXT, "apiVersion": _TEXT, "metadata": _NAMES}
ANYTHING = Schema({}, preserve=True)
_NOTHING = Schema({})


def compile_schema(facts: dict[str, Any]) -> Schema:
    """The compiled form of one node and all below it."""
    items, extra = facts.get("items"), facts.get("additionalProperties")
    node = Schema(
        facts,
        type=facts.get("type", ""),
        properties={
            name: compile_schema(inner) for name, inner in (facts.get("properties") or {}).items()
        },
        additional=compile_schema(extra)
        if isinstance(extra, dict)
        else ANYTHING
        if extra is True
        else None,
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
        checks=tuple(checks_of(facts)),
        branches=tuple(_branches(facts)),
        rules=tuple(facts.get("x-kubernetes-validations") or ()),
    )
    inner = [
        *node.properties.values(),
        *(n for n in (node.additional, node.items) if n is not None),
    ]
    node.has_defaults = node.has_default or any(n.has_defaults for n in inner)
    node.has_rules = bool(node.rules) or any(n.has_rules for n in inner)
    node.has_embedded = node.embedded or any(n.has_embedded for n in inner)
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


def prune(
    value: Any, schema: Schema, root: bool = False, path: str = "", found: list[str] | None = None
) -> None:
    """Takes out, in place, what the schema does not name; `found` collects the paths of what went."""
    if isinstance(value, list):
        below = schema.items or _NOTHING
        for index, item in enumerate(value):
            if isinstance(item, dict | list) and not (schema.items is None and schema.preserve):
                prune(item, below, False, f"{path}[{index}]", found)
        return
    if not isinstance(value, dict) or schema is ANYTHING:
        return
    for key in list(value):
        if (root or schema.embedded) and key in ROOT:
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
            if inner.has_default and (
                name not in value or (value[name] is None and not inner.nullable)
            ):
                value[name] = copy.deepcopy(inner.default)
            if inner.has_defaults and isinstance(value.get(name), dict | list):
                apply_defaults(value[name], inner)
        if schema.additional is not None and schema.additional.has_defaults:
            for name, item in value.items():
                if name not in schema.properties:
                    if (
                        item is None
                        and schema.additional.has_default
                        and not schema.additional.nullable
                    ):
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
                if not inner.nullable and not inner.has_default:
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
            allowed = schema.facts.get("enum")
            return (
                [not_supported(path, None, enum_texts(allowed))]
                if allowed and None not in allowed
                else []
            )
        return [_wrong_type(path, "null", schema)]
    found = _type_errors(value, schema, path)
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
    return [
        table.get(list_key(item, schema), UNSET) if isinstance(item, dict) else UNSET
        for item in value
    ]


def list_key(item: dict[str, Any], schema: Schema) -> tuple[Any, ...]:
    """The values of a map list's keys; a missing one has its default."""
    row = []
    for key in schema.list_keys:
        inner = schema.items.properties.get(key) if schema.items else None
        row.append(
            item.get(key, inner.default if inner is not None and inner.has_default else None)
        )
    return tuple(repr(v) if isinstance(v, dict | list) else v for v in row)


def _list_errors(value: list[Any], schema: Schema, path: str) -> list[FieldError]:
    if schema.list_type not in ("set", "map"):
        return []
    seen: set[Any] = set()
    found = []
    for index, item in enumerate(value):
        if schema.list_type == "map":
            if not isinstance(item, dict):
                why = "must be an object for an array of list-type map"
                return [invalid_value(f"{path}[{index}]", item, why)]
            key: Any = list_key(item, schema)
            shown: Any = {k: item.get(k) for k in schema.list_keys if k in item}
        else:
            key, shown = (
                (repr(item) if isinstance(item, dict | list) else (type(item).__name__, item)),
                item,
            )
        if key in seen:
            found.append(duplicate(f"{path}[{index}]", shown))
        seen.add(key)
    return found


def _embedded_errors(value: dict[str, Any], path: str) -> list[FieldError]:
    where, found = f"{path}." if path else "", []
    for name in ("apiVersion", "kind"):
        if name not in value:
            found.append(required(where + name))
        elif not value[name]:
            found.append(invalid_value(where + name, value[name], "must not be empty"))
    meta = value.get("metadata")
    if isinstance(meta, dict):
        found += embedded_meta_errors(meta, f"{where}metadata")
    return found


def unreadable_embedded(value: Any, schema: Schema, path: str = "") -> str:
    """Why the kind or the metadata of an embedded object cannot be read at all; the empty string if all can."""
    if not schema.has_embedded:
        return ""
    if isinstance(value, list) and schema.items is not None:
        rows = ((f"{path}[{index}]", item, schema.items) for index, item in enumerate(value))
        return next(
            filter(None, (unreadable_embedded(item, inner, at) for at, item, inner in rows)), ""
        )
    if not isinstance(value, dict):
        return ""
    for key, item in value.items():
        where = f"{path}.{key}" if path else key
        if schema.embedded and key in ("apiVersion", "kind") and not isinstance(item, str):
            return str(invalid_value(where, item, "must be a string"))
        if schema.embedded and key == "metadata":
            try:
                from_builtins(item, ObjectMeta)
            except msgspec.ValidationError as error:
                return str(invalid_value(where, item, gowords.mismatch(error, item, ObjectMeta)))
        elif (inner := schema.child(key)) is not None and (
            problem := unreadable_embedded(item, inner, where)
        ):
            return problem
    return ""


def embedded_meta_errors(meta: dict[str, Any], path: str) -> list[FieldError]:
    """What is wrong with labels and annotations in the metadata of an embedded object."""
    found = []
    for key, value in (meta.get("labels") or {}).items():
        found += [invalid_value(f"{path}.labels", key, why) for why in label_key_errors(key)]
        found += [
            invalid_value(f"{path}.labels", value, why) for why in label_value_errors(str(value))
        ]
    for key in meta.get("annotations") or {}:
        found += [
            invalid_value(f"{path}.annotations", key, why) for why in label_key_errors(key.lower())
        ]
    return found


def _branch_errors(
    keyword: str, schemas: tuple[Schema, ...], value: Any, path: str
) -> list[FieldError]:
    results = [validate(value, schema, path) for schema in schemas]
    good = sum(not result for result in results)
    if keyword == "allOf" and good < len(results):
        none = "" if good else ". None validated"
        return [
            *itertools.chain(*results),
            _nowhere(f'"{path}" must validate all the schemas (allOf){none}'),
        ]
    if keyword == "anyOf" and not good:
        return [
            *min(results, key=len),
            _nowhere(f'"{path}" must validate at least one schema (anyOf)'),
        ]
    if keyword == "oneOf" and good != 1:
        best = [] if good else min(results, key=len)
        many = f"Found {good} valid alternatives" if good else "Found none valid"
        return [*best, _nowhere(f'"{path}" must validate one and only one schema (oneOf). {many}')]
    if keyword == "not" and good:
        return [_nowhere(f'"{path}" must not validate the schema (not)')]
    return []


def _nowhere(why: str) -> FieldError:
    """An error that upstream's validator ties to no field."""
    return invalid_value("<nil>", "", why)


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
    whole = have == "integer" or (have == "number" and value.is_integer() and abs(value) < 2**63)
    if schema.int_or_string:
        return (
            [] if have == "string" or whole else [_wrong_type(path, have, schema, "integer,string")]
        )
    want, form = schema.type, schema.facts.get("format")
    if want == "number" and have in ("integer", "number"):
        return []
    if want == "integer" and have in ("integer", "number"):
        return _whole_number_errors(value, whole, form, path)
    if not want or have == want:
        return []
    if want in ("integer", "number") and form in _NUMBERS and have in ("boolean", "object"):
        return [of_type(path, "", str(form))]
    if want == "string" and form in FORMATS and have in ("integer", "number"):
        return [of_type(path, "int64" if have == "integer" else "float64", str(form))]
    return [_wrong_type(path, have, schema)]


_NUMBERS = {"int32": 2**31, "int64": 2**63, "float": 0, "double": 0}


def _whole_number_errors(value: Any, whole: bool, form: str | None, path: str) -> list[FieldError]:
    told = f"with format {form}" if form in ("int32", "int64") else "(default format)"
    unlike = _nowhere(f"Checked value must be of type integer {told} in {path}")
    if whole:
        limit = _NUMBERS.get(form or "") or 2**63
        return [] if -limit <= value < limit else [unlike]
    shown, kind = ("float64", form) if form in ("int32", "int64") else ("number", "integer")
    return [of_type(path, shown, str(kind)), unlike]


def _wrong_type(path: str, have: str, schema: Schema, want: str = "") -> FieldError:
    return of_type(path, have, want or schema.type)
