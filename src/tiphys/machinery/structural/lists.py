"""The items of lists: which was which before, and which are there twice."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.errors import FieldError, duplicate, invalid_value
from tiphys.machinery.fielderrors import ENOUGH
from tiphys.machinery.structural.schema import UNSET, Schema


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


def list_errors(value: list[Any], schema: Schema, path: str) -> list[FieldError]:
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
            if len(errors) > ENOUGH:
                break
        seen.add(key)
    return errors
