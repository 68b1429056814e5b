"""What is missing and has a default is filled in."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.machinery import patience
from tiphys.machinery.structural.schema import Schema

_PER_UNIT = 64  # bytes of defaults that take as long as a unit of an expression's cost


class TooMuch(Exception):
    """The defaults make an object larger than any may be."""


class Growth:
    """How many bytes of defaults an object has got. A list of a thousand empty objects may get a
    megabyte. `most`: from which on TooMuch is raised; None: never."""

    def __init__(self, most: int | None = None) -> None:
        self.size = 0
        self._most = most

    def add(self, size: int) -> None:
        self.size += size
        patience.take(1 + size // _PER_UNIT)
        if self._most is not None and self.size > self._most:
            raise TooMuch


def apply_defaults(value: Any, schema: Schema, growth: Growth | None = None) -> None:
    """Fills in, in place, what is missing and has a default. Nulls that the schema does not allow
    count as missing. `growth` is called with the size of what was added; it may raise TooMuch."""
    if not schema.has_defaults:
        return
    _apply(value, schema, growth if growth is not None else Growth())


def _apply(value: Any, schema: Schema, growth: Growth) -> None:
    if not schema.has_defaults:
        return
    if isinstance(value, dict):
        _apply_to_fields(value, schema, growth)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            if item is None and _replaces_null(schema.items):
                value[index] = _default_of(schema.items, growth)
            _apply(value[index], schema.items, growth)


def _apply_to_fields(value: dict[str, Any], schema: Schema, growth: Growth) -> None:
    for name, inner in schema.properties.items():
        is_missing = name not in value or (value[name] is None and not inner.nullable)
        if inner.has_default and is_missing:
            value[name] = _default_of(inner, growth)
        if inner.has_defaults and isinstance(value.get(name), dict | list):
            _apply(value[name], inner, growth)
    additional = schema.additional
    if additional is None or not additional.has_defaults:
        return
    for name, item in value.items():
        if name in schema.properties:
            continue
        if item is None and _replaces_null(additional):
            value[name] = _default_of(additional, growth)
        _apply(value[name], additional, growth)


def _default_of(schema: Schema, growth: Growth) -> Any:
    growth.add(schema.default_size)
    return copy.deepcopy(schema.default)


def _replaces_null(schema: Schema) -> bool:
    return schema.has_default and not schema.nullable
