"""What the places of a type are, from declared structs or from schemas."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from tiphys.api.admissionregistration_v1 import Variable
from tiphys.api.base import Struct
from tiphys.api.core_v1 import ContainerPort, LocalObjectReference, ObjectReference, ServicePort
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.machinery.schema import Field, fields_of
from tiphys.machinery.structural import ANYTHING, Schema

# What upstream's schema gives as the default of a key that its type may leave out; others have
# their zero value.
_KEY_DEFAULTS = {
    (ContainerPort, "protocol"): "TCP",
    (ServicePort, "protocol"): "TCP",
    (LocalObjectReference, "name"): "",
}
# Items of lists with keys that are replaced as a whole all the same.
_WHOLE_ITEMS = (LocalObjectReference, ObjectReference, OwnerReference, Variable)


@dataclass(slots=True, eq=False)
class Node:
    """One place of a type.

    kind:    "leaf", "map" (also structs), "set" or "list" (items with keys)
    fields:  of a map, the nodes of the fields that the type names; a function that gives them,
             called on first use (types may contain themselves)
    other:   of a map, the node of keys that `fields` does not name; None: deduced from the value
    item:    of a list or set
    keys:    of a list, the names of the keys of its items, each with its default
    untyped: a map if the value is one and else a leaf, as upstream has a schema that names no type
    """

    kind: str
    fields: dict[str, Node] | Callable[[], dict[str, Node]] | None = None
    other: Node | None = None
    item: Node | None = None
    keys: tuple[tuple[str, Any], ...] = ()
    untyped: bool = False

    def child(self, name: str, value: Any) -> Node:
        """The node of a field that has this value."""
        if callable(self.fields):
            self.fields = self.fields()
        node = (self.fields.get(name) if self.fields else None) or self.other or DEDUCED
        if node.untyped and not isinstance(value, dict):
            return LEAF
        return node

    def named(self, name: str) -> bool:
        """Whether the type itself has a field of that name."""
        if callable(self.fields):
            self.fields = self.fields()
        return self.fields is not None and name in self.fields


LEAF = Node("leaf")
DEDUCED = Node("map", {}, untyped=True)


@functools.cache
def node_of(kind: type[Struct]) -> Node:
    """The node of a declared type."""

    def fields() -> dict[str, Node]:
        return {name: _field_node(field) for name, field in fields_of(kind).items()}

    return Node("map", fields)


def _field_node(field: Field) -> Node:
    facts = field.facts
    if facts.atomic:
        return LEAF
    if field.kind == "struct":
        return node_of(field.item)
    if field.kind == "dict":
        return Node("map", {}, other=_field_node(field.item))
    if field.kind == "list" and facts.list == "map":
        kind = field.item.item
        item = LEAF if kind in _WHOLE_ITEMS else node_of(kind)
        keys = tuple((key, _key_default(kind, key)) for key in facts.keys)
        return Node("list", item=item, keys=keys)
    if field.kind == "list" and facts.list == "set":
        return Node("set", item=LEAF)
    return LEAF


def _key_default(kind: type[Struct], key: str) -> Any:
    """The value that an item without a key is taken to have, None if there is no default."""
    if (kind, key) in _KEY_DEFAULTS:
        return _KEY_DEFAULTS[kind, key]
    declared = next(field for field in msgspec.structs.fields(kind) if field.encode_name == key)
    return declared.default_factory() if declared.default_factory is not msgspec.NODEFAULT else None


def node_of_schema(schema: Schema, root: bool = False) -> Node:
    """The node of a custom resource's schema."""
    if schema is ANYTHING:
        return DEDUCED_ROOT if root else DEDUCED
    if schema.map_type == "atomic":
        return LEAF
    if schema.type == "array":
        if schema.list_type == "set":
            return Node("set", item=LEAF)
        if schema.list_type == "map" and schema.items is not None:
            return Node("list", item=node_of_schema(schema.items), keys=_schema_keys(schema))
        return LEAF
    if schema.type == "object" or schema.properties or (schema.preserve and not schema.type):
        fields = {name: node_of_schema(inner) for name, inner in schema.properties.items()}
        if root or schema.embedded:
            fields |= {"apiVersion": LEAF, "kind": LEAF, "metadata": node_of(ObjectMeta)}
        other = node_of_schema(schema.additional) if schema.additional is not None else None
        return Node("map", fields, other=other, untyped=not schema.type and not root)
    return LEAF


def _schema_keys(schema: Schema) -> tuple[tuple[str, Any], ...]:
    assert schema.items is not None
    keys: list[tuple[str, Any]] = []
    for key in schema.list_keys:
        inner = schema.items.properties.get(key)
        default = inner.default if inner is not None and inner.has_default else None
        keys.append((key, default))
    return tuple(keys)


DEDUCED_ROOT = Node("map", {"apiVersion": LEAF, "kind": LEAF, "metadata": node_of(ObjectMeta)})
