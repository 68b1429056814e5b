"""How large values may be that a schema declares, as upstream's SchemaDeclType says it: what
estimates of cost rest on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from tiphys.machinery.cel.frames import unescaped
from tiphys.machinery.structural import ANYTHING, Schema

REQUEST = 3 * 1024 * 1024  # bytes of the largest request
_STRING = REQUEST - 2  # without the quotes
# (longest, shortest) of strings of a format, in bytes of JSON
_FORMATS = {"duration": (32, 3), "date": (12, 12), "date-time": (32, 21)}
_LEAST = {"boolean": 4, "number": 1, "integer": 1, "string": 2, "array": 2}


@dataclass(slots=True)
class Declared:
    """A declared value.

    most: elements of a list or map, or length of a string, that it has at most; 0 of what has no
          length
    least: bytes that it takes at least in JSON
    lookup, item, key: what is in it, by name, of a list or map; None where nothing is declared
    """

    most: int = 0
    least: int = 1
    lookup: Callable[[str], Declared | None] = lambda name: None
    item: Callable[[], Declared | None] = lambda: None
    key: Declared | None = None
    fields: dict[str, Declared | None] = dataclasses.field(default_factory=dict)

    def named(self, name: str) -> Declared | None:
        """The field of that name, as expressions write it."""
        if name not in self.fields:
            self.fields[name] = self.lookup(name)
        return self.fields[name]


_KEY = Declared(0, 2)
NOWHERE: Declared = Declared(lookup=lambda name: NOWHERE, item=lambda: NOWHERE)
"""What is below something that is declared, but not declared itself."""


def is_exposed(schema: Schema | None) -> bool:
    """Whether expressions may see a value of the schema: its type is known, and that of what is in
    it."""
    if schema is None:
        return False
    if schema.int_or_string:
        return True
    if schema.type == "array":
        return is_exposed(schema.items)
    if schema.type == "object" and is_map(schema):
        return is_exposed(schema.additional)
    return schema.type in ("object", *_LEAST)


def is_map(schema: Schema) -> bool:
    """Whether values have keys that are not known before. `additionalProperties: true` says nothing
    of them."""
    return schema.additional is not None and schema.additional is not ANYTHING


def field_schema(schema: Schema, name: str) -> Schema | None:
    """The schema of a field as an expression names it, None where there is none or it is not
    exposed."""
    inner = schema.properties.get(name) or schema.properties.get(unescaped(name))
    return inner if is_exposed(inner) else None


def declared(schema: Schema) -> Declared:
    """The sizes of an exposed schema's values."""
    if schema.int_or_string:
        length = schema.facts.get("maxLength")
        return Declared(_STRING if length is None else max(length, 0) * 4, 1)
    schema = schema.as_seen()
    if schema.type == "string":
        return _string(schema)
    if schema.type == "array":
        return Declared(_most_items(schema), 2, item=lambda: _inside(schema.items))
    if schema.type != "object":
        return Declared(0, _LEAST.get(schema.type, 1))
    if is_map(schema):
        return Declared(_most_items(schema), 2, item=lambda: _inside(schema.additional), key=_KEY)
    return Declared(0, least(schema), lookup=lambda name: _inside(field_schema(schema, name)))


def _inside(schema: Schema | None) -> Declared | None:
    return declared(schema) if schema is not None and is_exposed(schema) else None


def _string(schema: Schema) -> Declared:
    form = schema.facts.get("format")
    length = schema.facts.get("maxLength")
    if form in _FORMATS:
        return Declared(*_FORMATS[form])
    if length is not None:
        # A character of JSON's may take four bytes; of bytes the length is taken as it is.
        return Declared(max(length, 0) * (1 if form == "byte" else 4), 2)
    names = [value for value in schema.facts.get("enum") or () if isinstance(value, str)]
    if schema.facts.get("enum") and form != "byte":
        return Declared(max((len(name.encode()) for name in names), default=0), 2)
    return Declared(_STRING, 2)


def _most_items(schema: Schema) -> int:
    """How many elements a list or map has at most: as declared, or as many as a request holds."""
    listed = schema.type == "array"
    limit = schema.facts.get("maxItems" if listed else "maxProperties")
    if limit is not None:
        return max(int(limit), 0)
    inner = schema.items if listed else schema.additional
    assert inner is not None
    return (REQUEST - 2) // (
        least(inner) + (1 if listed else 6)
    )  # a comma; and a key, quoted, with its colon


def least(schema: Schema) -> int:
    """Bytes that a value of that schema takes at least."""
    if schema.int_or_string:
        return 1
    if schema.type == "string":
        return _FORMATS.get(schema.facts.get("format", ""), (0, 2))[1]
    if schema.type != "object":
        return _LEAST.get(schema.type, 1)
    size = 2
    if is_map(schema):
        return size
    schema = schema.as_seen()
    for name in schema.required:
        inner = schema.properties.get(name)
        if (
            inner is not None
            and is_exposed(inner)
            and (not inner.has_default or inner.default is None)
        ):
            size += len(name.encode()) + least(inner) + 4
    return size


def at_most(schema: Schema) -> int:
    """How often a value of that schema may be in an object at most, if nothing but the size of a
    request bounds it."""
    return REQUEST // (least(schema) + 1)
