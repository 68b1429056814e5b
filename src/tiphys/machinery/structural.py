"""Structural schemas of custom resources: pruning, defaulting and validation of plain dicts and
lists.

A schema is compiled once from a CustomResourceDefinition's JSON. Sentences are those that
upstream's validator writes.
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


Branch = tuple[str, tuple["Schema", ...]]  # allOf, anyOf, oneOf or not; its schemas


@dataclass(slots=True)
class Schema:
    """One node of a schema.

    facts:        the published JSON of the node, for documentation and rarely used keywords
    additional:   of properties that `properties` does not name, None if there may be none
    preserve:     what the schema does not name is kept
    embedded:     the value is an object with a kind and metadata of its own
    checks:       of the value by itself, see `keywords`
    rules:        x-kubernetes-validations
    has_...:      whether the node, or any below it, has some
    """

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
    branches: tuple[Branch, ...] = ()
    rules: tuple[dict[str, Any], ...] = ()
    has_defaults: bool = False
    has_rules: bool = False
    has_embedded: bool = False
    _for_rules: Schema | None = None

    def as_seen(self, root: bool = False) -> Schema:
        """The schema as rules see it.

        Rules of a resource's root, or of an embedded object's, know its kind and names, whether or
        not the schema declares them.
        """
        if not (root or self.embedded) or _declares_kind_and_names(self):
            return self
        if self._for_rules is None:
            self._for_rules = replace(self, properties={**self.properties, **_OBJECT_META})
            self._for_rules._for_rules = self._for_rules
        return self._for_rules

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


def _declares_kind_and_names(schema: Schema) -> bool:
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
    items = facts.get("items")
    properties = facts.get("properties") or {}
    node = Schema(
        facts,
        type=facts.get("type", ""),
        properties={name: compile_schema(inner) for name, inner in properties.items()},
        additional=_additional(facts.get("additionalProperties")),
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
    below = list(node.properties.values())
    if node.additional is not None:
        below.append(node.additional)
    if node.items is not None:
        below.append(node.items)
    node.has_defaults = node.has_default or any(inner.has_defaults for inner in below)
    node.has_rules = bool(node.rules) or any(inner.has_rules for inner in below)
    node.has_embedded = node.embedded or any(inner.has_embedded for inner in below)
    return node


def _additional(facts: Any) -> Schema | None:
    """Of additionalProperties, which are a schema or a boolean."""
    if isinstance(facts, dict):
        return compile_schema(facts)
    return ANYTHING if facts is True else None


def _branches(facts: dict[str, Any]) -> list[Branch]:
    branches: list[Branch] = []
    for keyword in ("allOf", "anyOf", "oneOf"):
        if facts.get(keyword):
            branches.append((keyword, tuple(compile_schema(inner) for inner in facts[keyword])))
    if facts.get("not"):
        branches.append(("not", (compile_schema(facts["not"]),)))
    return branches


def _at(path: str, name: str) -> str:
    """The path of a field of what is at `path`, which is empty for the root."""
    return f"{path}.{name}" if path else name


# --- pruning ---


def prune(
    value: Any, schema: Schema, root: bool = False, path: str = "", pruned: list[str] | None = None
) -> None:
    """Takes out, in place, what the schema does not name.

    root:   the value is a whole object, whose kind and metadata are not the schema's concern
    pruned: collects the paths of what was taken out
    """
    if isinstance(value, list):
        below = schema.items or _NOTHING
        for index, item in enumerate(value):
            if isinstance(item, dict | list) and not (schema.items is None and schema.preserve):
                prune(item, below, False, f"{path}[{index}]", pruned)
        return
    if not isinstance(value, dict) or schema is ANYTHING:
        return
    for key in list(value):
        if (root or schema.embedded) and key in ROOT:
            if key == "metadata" and not root and isinstance(value[key], dict):
                _prune_metadata(value[key], _at(path, "metadata"), pruned)
            continue
        inner = schema.child(key)
        if inner is not None:
            if isinstance(value[key], dict | list):
                prune(value[key], inner, False, _at(path, key), pruned)
        elif not schema.preserve:
            del value[key]
            if pruned is not None:
                pruned.append(_at(path, key))


def _prune_metadata(meta: dict[str, Any], path: str, pruned: list[str] | None) -> None:
    """The metadata of an embedded object has the fields that every object's has."""
    known = fields_of(ObjectMeta)
    for key in [key for key in meta if key not in known]:
        del meta[key]
        if pruned is not None:
            pruned.append(f"{path}.{key}")


# --- defaulting ---


def apply_defaults(value: Any, schema: Schema) -> None:
    """Fills in, in place, what is missing and has a default. Nulls that the schema does not allow
    count as missing."""
    if not schema.has_defaults:
        return
    if isinstance(value, dict):
        _apply_defaults_to_fields(value, schema)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            if item is None and _replaces_null(schema.items):
                value[index] = copy.deepcopy(schema.items.default)
            apply_defaults(value[index], schema.items)


def _apply_defaults_to_fields(value: dict[str, Any], schema: Schema) -> None:
    for name, inner in schema.properties.items():
        is_missing = name not in value or (value[name] is None and not inner.nullable)
        if inner.has_default and is_missing:
            value[name] = copy.deepcopy(inner.default)
        if inner.has_defaults and isinstance(value.get(name), dict | list):
            apply_defaults(value[name], inner)
    additional = schema.additional
    if additional is None or not additional.has_defaults:
        return
    for name, item in value.items():
        if name in schema.properties:
            continue
        if item is None and _replaces_null(additional):
            value[name] = copy.deepcopy(additional.default)
        apply_defaults(value[name], additional)


def _replaces_null(schema: Schema) -> bool:
    return schema.has_default and not schema.nullable


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


# --- validation ---


def validate(value: Any, schema: Schema, path: str = "", old: Any = UNSET) -> list[FieldError]:
    """Every broken rule. With `old`, what did not change since is not judged again (ratcheting)."""
    if old is not UNSET and value == old:
        return []
    if value is None:
        return _null_errors(schema, path)
    errors = _type_errors(value, schema, path)
    for check in schema.checks:
        error = check(value, path)
        if error is not None:
            errors.append(error)
    for keyword, schemas in schema.branches:
        errors += _branch_errors(keyword, schemas, value, path)
    if isinstance(value, dict):
        errors += _field_errors(value, schema, path, old)
    elif isinstance(value, list) and schema.items is not None:
        old_items = correlated(value, old, schema)
        for index, item in enumerate(value):
            errors += validate(item, schema.items, f"{path}[{index}]", old_items[index])
        errors += _list_errors(value, schema, path)
    return errors


def _null_errors(schema: Schema, path: str) -> list[FieldError]:
    if schema.type and not schema.nullable:
        return [_wrong_type(path, "null", schema)]
    allowed = schema.facts.get("enum")
    if allowed and None not in allowed:
        return [not_supported(path, None, enum_texts(allowed))]
    return []


def _field_errors(value: dict[str, Any], schema: Schema, path: str, old: Any) -> list[FieldError]:
    errors = [required(_at(path, name)) for name in schema.required if name not in value]
    old_fields = old if isinstance(old, dict) else {}
    for key, item in value.items():
        inner = schema.child(key)
        if inner is not None:
            errors += validate(item, inner, _at(path, key), old_fields.get(key, UNSET))
    if schema.embedded:
        errors += _embedded_errors(value, path)
    return errors


def correlated(value: list[Any], old: Any, schema: Schema) -> list[Any]:
    """For each item the item it was before, where the list's keys tell."""
    if not isinstance(old, list) or schema.list_type != "map":
        return [UNSET] * len(value)
    old_items = {list_key(item, schema): item for item in old if isinstance(item, dict)}
    result = []
    for item in value:
        key = list_key(item, schema) if isinstance(item, dict) else None
        result.append(UNSET if key is None else old_items.get(key, UNSET))
    return result


def list_key(item: dict[str, Any], schema: Schema) -> tuple[Any, ...]:
    """The values of a map list's keys; a missing one has its default."""
    values = []
    for key in schema.list_keys:
        inner = schema.items.properties.get(key) if schema.items else None
        default = inner.default if inner is not None and inner.has_default else None
        values.append(_hashable(item.get(key, default)))
    return tuple(values)


def _hashable(value: Any) -> Any:
    return repr(value) if isinstance(value, dict | list) else value


def _list_errors(value: list[Any], schema: Schema, path: str) -> list[FieldError]:
    if schema.list_type not in ("set", "map"):
        return []
    seen: set[Any] = set()
    errors = []
    for index, item in enumerate(value):
        if schema.list_type == "set":
            key: Any = (type(item), _hashable(item))  # 1 and true are two
            shown: Any = item
        elif isinstance(item, dict):
            key = list_key(item, schema)
            shown = {name: item[name] for name in schema.list_keys if name in item}
        else:
            explanation = "must be an object for an array of list-type map"
            return [invalid_value(f"{path}[{index}]", item, explanation)]
        if key in seen:
            errors.append(duplicate(f"{path}[{index}]", shown))
        seen.add(key)
    return errors


def _embedded_errors(value: dict[str, Any], path: str) -> list[FieldError]:
    errors = []
    for name in ("apiVersion", "kind"):
        if name not in value:
            errors.append(required(_at(path, name)))
        elif not value[name]:
            errors.append(invalid_value(_at(path, name), value[name], "must not be empty"))
    meta = value.get("metadata")
    if isinstance(meta, dict):
        errors += embedded_meta_errors(meta, _at(path, "metadata"))
    return errors


def unreadable_embedded(value: Any, schema: Schema, path: str = "") -> str:
    """Why the kind or the metadata of an embedded object cannot be read at all; the empty string if
    all can."""
    if not schema.has_embedded:
        return ""
    if isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            problem = unreadable_embedded(item, schema.items, f"{path}[{index}]")
            if problem:
                return problem
    elif isinstance(value, dict):
        for key, item in value.items():
            problem = _unreadable_field(key, item, schema, _at(path, key))
            if problem:
                return problem
    return ""


def _unreadable_field(key: str, item: Any, schema: Schema, path: str) -> str:
    if schema.embedded and key in ("apiVersion", "kind") and not isinstance(item, str):
        return str(invalid_value(path, item, "must be a string"))
    if schema.embedded and key == "metadata":
        try:
            from_builtins(item, ObjectMeta)
        except msgspec.ValidationError as error:
            return str(invalid_value(path, item, gowords.mismatch(error, item, ObjectMeta)))
        return ""
    inner = schema.child(key)
    return unreadable_embedded(item, inner, path) if inner is not None else ""


def embedded_meta_errors(meta: dict[str, Any], path: str) -> list[FieldError]:
    """What is wrong with labels and annotations in the metadata of an embedded object."""
    labels = f"{path}.labels"
    annotations = f"{path}.annotations"
    errors = []
    for key, value in (meta.get("labels") or {}).items():
        errors += [invalid_value(labels, key, text) for text in label_key_errors(key)]
        errors += [invalid_value(labels, value, text) for text in label_value_errors(str(value))]
    for key in meta.get("annotations") or {}:
        errors += [invalid_value(annotations, key, text) for text in label_key_errors(key.lower())]
    return errors


def _branch_errors(
    keyword: str, schemas: tuple[Schema, ...], value: Any, path: str
) -> list[FieldError]:
    """Upstream reports the schema that came closest, and then that none did."""
    results = [validate(value, schema, path) for schema in schemas]
    valid = sum(not errors for errors in results)
    match keyword:
        case "allOf" if valid < len(results):
            suffix = "" if valid else ". None validated"
            summary = _without_field(f'"{path}" must validate all the schemas (allOf){suffix}')
            return [*itertools.chain(*results), summary]
        case "anyOf" if not valid:
            summary = _without_field(f'"{path}" must validate at least one schema (anyOf)')
            return [*min(results, key=len), summary]
        case "oneOf" if valid != 1:
            closest = [] if valid else min(results, key=len)
            count = f"Found {valid} valid alternatives" if valid else "Found none valid"
            summary = _without_field(
                f'"{path}" must validate one and only one schema (oneOf). {count}'
            )
            return [*closest, summary]
        case "not" if valid:
            return [_without_field(f'"{path}" must not validate the schema (not)')]
    return []


def _without_field(explanation: str) -> FieldError:
    """An error that upstream's validator ties to no field."""
    return invalid_value("<nil>", "", explanation)


def json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _type_errors(value: Any, schema: Schema, path: str) -> list[FieldError]:
    have = json_type(value)
    want = schema.type
    if have == want and want != "integer" and not schema.int_or_string:  # nearly always
        return []
    is_whole = have == "integer" or (have == "number" and value.is_integer() and abs(value) < 2**63)
    if schema.int_or_string:
        if have == "string" or is_whole:
            return []
        return [_wrong_type(path, have, schema, "integer,string")]
    form = schema.facts.get("format")
    is_number = have in ("integer", "number")
    if not want or (want == "number" and is_number):
        return []
    if want == "integer" and is_number:
        return _whole_number_errors(value, is_whole, form, path)
    # The rest is wrong; upstream's library names the format in place of the type where it knows the
    # format.
    if want in ("integer", "number") and form in _NUMBERS and have in ("boolean", "object"):
        return [of_type(path, "", str(form))]
    if want == "string" and form in FORMATS and is_number:
        return [of_type(path, "int64" if have == "integer" else "float64", str(form))]
    return [_wrong_type(path, have, schema)]


_NUMBERS = {"int32": 2**31, "int64": 2**63, "float": 0, "double": 0}


def _whole_number_errors(
    value: Any, is_whole: bool, form: str | None, path: str
) -> list[FieldError]:
    has_size = form in ("int32", "int64")
    suffix = f"with format {form}" if has_size else "(default format)"
    not_integer = _without_field(f"Checked value must be of type integer {suffix} in {path}")
    if is_whole:
        limit = _NUMBERS.get(form or "") or 2**63
        return [] if -limit <= value < limit else [not_integer]
    if has_size:
        return [of_type(path, "float64", str(form)), not_integer]
    return [of_type(path, "number", "integer"), not_integer]


def _wrong_type(path: str, have: str, schema: Schema, want: str = "") -> FieldError:
    return of_type(path, have, want or schema.type)
