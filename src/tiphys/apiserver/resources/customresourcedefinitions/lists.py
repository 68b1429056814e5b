"""How lists and maps merge: what `x-kubernetes-list-type`, `-map-type` and `-list-map-keys` may
say.

Source: upstream's `apiextensions/validation/validation.go`. `facts` is a schema as it is published,
`path` where it is in the definition.
"""

from __future__ import annotations

from typing import Any

from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_LIST_TYPE = "x-kubernetes-list-type"
_MAP_TYPE = "x-kubernetes-map-type"
_MAP_KEYS = "x-kubernetes-list-map-keys"
_LIST_TYPES = ("atomic", "set", "map")
_MAP_TYPES = ("atomic", "granular")


def merge_errors(facts: dict[str, Any], path: str) -> list[FieldError]:
    """Everything that is wrong with how lists and maps are to be merged."""
    return _map_type(facts, path) + _list_type(facts, path) + _map_keys(facts, path)


def _of_type(facts: dict[str, Any], path: str, wanted: str, because: str) -> list[FieldError]:
    kind = facts.get("type", "")
    if kind == wanted:
        return []
    return _invalid_or_missing(f"{path}.type", kind, f"must be {wanted} if {because} is specified")


def _invalid_or_missing(field: str, value: Any, detail: str) -> list[FieldError]:
    if value:
        return [errors.invalid_value(field, value, detail)]
    return [errors.required(field, detail)]


def _map_type(facts: dict[str, Any], path: str) -> list[FieldError]:
    kind = facts.get(_MAP_TYPE)
    if kind is None:
        return []
    violations = _of_type(facts, path, "object", _MAP_TYPE)
    if kind not in _MAP_TYPES:
        violations.append(errors.not_supported(f"{path}.{_MAP_TYPE}", kind, _MAP_TYPES))
    return violations


def _list_type(facts: dict[str, Any], path: str) -> list[FieldError]:
    kind = facts.get(_LIST_TYPE)
    items = facts.get("items")
    field = f"{path}.{_LIST_TYPE}"
    violations = [] if kind is None else _of_type(facts, path, "array", _LIST_TYPE)
    if kind == "set" and isinstance(items, dict) and not violations:
        violations += _set_items(items, path)
    if kind is not None and kind not in _LIST_TYPES:
        violations.append(errors.not_one_of(field, kind, _LIST_TYPES))
    if facts.get(_MAP_KEYS) and kind != "map":
        detail = f"must be map if {_MAP_KEYS} is non-empty"
        if kind is None:
            violations.append(errors.required(field, detail))
        else:
            violations.append(errors.invalid_value(field, kind, detail))
    return violations


def _set_items(items: dict[str, Any], path: str) -> list[FieldError]:
    """The items of a set are compared as a whole."""
    violations = []
    detail = f"must be atomic as item of a list with {_LIST_TYPE}=set"
    list_type = items.get(_LIST_TYPE)
    if items.get("type") == "array" and list_type not in (None, "atomic"):
        field = f"{path}.items.{_LIST_TYPE}"
        violations.append(errors.invalid_value(field, list_type, detail))
    if items.get("type") == "object" and items.get(_MAP_TYPE) != "atomic":
        field = f"{path}.items.{_MAP_TYPE}"
        violations.append(errors.invalid_value(field, list_type, detail))
    return violations


def _map_keys(facts: dict[str, Any], path: str) -> list[FieldError]:
    """The keys by which the items of a list are identified."""
    kind = facts.get(_LIST_TYPE)
    if kind not in ("map", "set"):
        return []
    items = facts.get("items")
    keys = facts.get(_MAP_KEYS) or []
    violations = []
    if kind == "map":
        violations += _missing_for_map(items, keys, path)
    if not isinstance(items, dict):
        return violations
    if kind == "map":
        violations += _map_items(items, keys, path)
    if items.get("nullable"):
        detail = f"cannot be nullable when {_LIST_TYPE} is {kind}"
        violations.append(errors.forbidden_field(f"{path}.items.nullable", detail))
    if kind == "map":
        for key in keys:
            violations += _key_is_set(items, key, path)
    return violations


def _missing_for_map(items: Any, keys: list[str], path: str) -> list[FieldError]:
    violations = []
    if not keys:
        detail = f"must not be empty if {_LIST_TYPE} is map"
        violations.append(errors.required(f"{path}.{_MAP_KEYS}", detail))
    if items is None:
        detail = f"must have a schema if {_LIST_TYPE} is map"
        violations.append(errors.required(f"{path}.items", detail))
    return violations


def _map_items(items: dict[str, Any], keys: list[str], path: str) -> list[FieldError]:
    kind = items.get("type", "")
    if kind != "object":
        detail = f"must be object if parent array's {_LIST_TYPE} is map"
        return [errors.invalid_value(f"{path}.items.type", kind, detail)]
    violations = []
    field = f"{path}.{_MAP_KEYS}"
    for index, key in enumerate(keys):
        inner = (items.get("properties") or {}).get(key)
        if inner is None:
            detail = "entries must all be names of item properties"
            violations.append(errors.invalid_value(field, keys, detail))
        elif inner.get("type") in ("array", "object"):
            detail = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            type_field = f"{path}.items.properties[{key}].type"
            violations.append(errors.invalid_value(type_field, "object", detail))
        if key in keys[:index]:
            violations.append(
                errors.invalid_value(field, keys, "must not contain duplicate entries")
            )
    return violations


def _key_is_set(items: dict[str, Any], key: str, path: str) -> list[FieldError]:
    """No item may be without a value for a key."""
    inner = (items.get("properties") or {}).get(key)
    if inner is None:
        return []
    violations = []
    field = f"{path}.items.properties[{key}]"
    because = f"this property is in {_MAP_KEYS}, so it"
    if key not in (items.get("required") or ()) and inner.get("default") is None:
        detail = f"{because} must have a default or be a required property"
        violations.append(errors.required(f"{field}.default", detail))
    if inner.get("nullable"):
        violations.append(
            errors.forbidden_field(f"{field}.nullable", f"{because} cannot be nullable")
        )
    return violations
