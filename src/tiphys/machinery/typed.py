"""How plain objects are taken apart, compared and merged field by field, as server-side apply sees
them.

A `Node` says what one place of a type is: a leaf that is replaced as a whole, a map or struct of
further nodes, a set, or a list whose items have keys. Nodes come from the declared structs or from
a custom resource's schema.
"""

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
from tiphys.machinery.fieldsets import FieldSet, item_key, item_value, readable
from tiphys.machinery.gowords import formatted
from tiphys.machinery.schema import Field, fields_of
from tiphys.machinery.structural import ANYTHING, Schema

_ABSENT: Any = object()
_SELF: FieldSet = {}
# What upstream's schema gives as the default of a key that its type may leave out; others have
# their zero value.
_KEY_DEFAULTS = {
    (ContainerPort, "protocol"): "TCP",
    (ServicePort, "protocol"): "TCP",
    (LocalObjectReference, "name"): "",
}
# Items of lists with keys that are replaced as a whole all the same.
_WHOLE_ITEMS = (LocalObjectReference, ObjectReference, OwnerReference, Variable)


class MergeError(ValueError):
    """The object cannot be taken apart.

    problem: for the user
    path:    where, such as ``.spec.ports``; "" for the object as a whole
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self._problem = problem
        self._path = path

    def within(self, step: str) -> MergeError:
        """The same error, as seen from one step further out."""
        return MergeError(self._problem, step + self._path)


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


# --- from declared structs ---


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
    """What an item is taken to say that leaves a key out, None if it says nothing."""
    if (kind, key) in _KEY_DEFAULTS:
        return _KEY_DEFAULTS[kind, key]
    declared = next(field for field in msgspec.structs.fields(kind) if field.encode_name == key)
    return declared.default_factory() if declared.default_factory is not msgspec.NODEFAULT else None


# --- from structural schemas ---


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


# An item of a list or set: the path element that names it, and its value. Plain tuples, since
# merging makes many: with a NamedTuple the merge of a pod took 107 µs in place of 83.
Item = tuple[str, Any]


def key_element(item: Any, node: Node) -> str:
    """The path element of an item of a map list. Raises MergeError."""
    if not isinstance(item, dict):
        raise MergeError("associative list with keys has an element that is not a map")
    keys = {}
    for name, default in node.keys:
        value = item.get(name, default)
        if value is not None:
            keys[name] = value
    if not keys:
        names = ", ".join(repr(name) for name, _ in node.keys).replace("'", '"')
        raise MergeError(
            f"associative list with keys has an element that omits all key fields [{names}] "
            "(and doesn't have default values for any key fields)"
        )
    return item_key(keys)


def _items(value: list[Any], node: Node) -> list[Item]:
    """The items of an applied list or set. Raises MergeError for one without keys."""
    if node.kind == "set":
        return [(item_value(item), item) for item in value]
    items = []
    for index, item in enumerate(value):
        try:
            items.append((key_element(item, node), item))
        except MergeError as error:
            raise MergeError(f"element {index}: {error}") from None
    return items


def _stored_items(value: list[Any], node: Node) -> list[Item]:
    """The items of a list or set that is stored already, where one without keys is named by its
    place."""
    if node.kind == "set":
        return [(item_value(item), item) for item in value]
    items = []
    for index, item in enumerate(value):
        try:
            element = key_element(item, node)
        except MergeError:
            element = f"i:{index}"
        items.append((element, item))
    return items


# --- which fields ---


def fields_in(value: Any, node: Node, stored: bool = False) -> FieldSet:
    """The fields that an applied configuration names: leaves, items, and maps that are empty.

    Raises MergeError for what is not of the node's type; nothing that is `stored` already is
    refused.
    """
    if not stored:
        _check_type(value, node)
    if node.kind == "map" and isinstance(value, dict):
        return _fields_in_map(value, node, stored)
    if node.kind in ("list", "set") and isinstance(value, list):
        return _fields_in_list(value, node, stored)
    return {}


def _check_type(value: Any, node: Node) -> None:
    """Raises MergeError."""
    if node.kind == "leaf":
        return
    name, kind = ("map", dict) if node.kind == "map" else ("list", list)
    if value is not None and not isinstance(value, kind):
        raise MergeError(f"expected {name}, got &{{{formatted(value)}}}")


def _fields_in_map(value: dict[str, Any], node: Node, stored: bool) -> FieldSet:
    result: FieldSet = {}
    for name, inner in value.items():
        child = node.child(name, inner)
        try:
            below = fields_in(inner, child, stored)
        except MergeError as error:
            raise error.within(f".{name}") from None
        # An entry of a map is there by itself, a field of a struct with what is in it.
        named = node.named(name)
        if below:
            result[f"f:{name}"] = below if named else {".": _SELF, **below}
        elif child.kind == "leaf" or inner is None or inner == {} or not named:
            result[f"f:{name}"] = _SELF
    return result


def _fields_in_list(value: list[Any], node: Node, stored: bool) -> FieldSet:
    result: FieldSet = {}
    for element, item in _stored_items(value, node) if stored else _items(value, node):
        if element in result and not stored:
            raise MergeError(f"duplicate entries for key {readable(element)}")
        below: FieldSet = {}
        if node.kind == "list" and node.item is not None:
            try:
                below = fields_in(item, node.item, stored)
            except MergeError as error:
                raise error.within(readable(element)) from None
        result[element] = {".": _SELF, **below} if below else _SELF
    return result


def with_named_parents(fields: FieldSet, node: Node) -> FieldSet:
    """The set, and with every member the fields above it that the type names.

    These go with what is in them, while items of lists and entries of maps are there by themselves.
    """
    result: FieldSet = {}
    for element, below in fields.items():
        if element == "." or not below:
            result[element] = below
            continue
        child = _below(element, node)
        inner = with_named_parents(below, child)
        named = element.startswith("f:") and node.kind == "map" and node.named(element[2:])
        result[element] = {".": _SELF, **inner} if named else inner
    return result


def _below(element: str, node: Node) -> Node:
    if element.startswith("f:") and node.kind == "map":
        return node.child(element[2:], {})
    return node.item or LEAF


def everything(value: Any, node: Node) -> FieldSet:
    """Every place in a value, containers too: what was added when there was nothing before."""
    result: FieldSet = {}
    if node.kind == "map" and isinstance(value, dict):
        for name, inner in value.items():
            child = node.child(name, inner)
            result["f:" + name] = _SELF if child.kind == "leaf" else everything(inner, child)
    elif node.kind in ("list", "set") and isinstance(value, list):
        for element, item in _stored_items(value, node):
            result[element] = _everything_in_item(item, node)
    if result:
        result["."] = _SELF
    return result


def _everything_in_item(item: Any, node: Node) -> FieldSet:
    """Every place in an item of the list or set that `node` is."""
    if node.kind == "set" or node.item is None:
        return _SELF
    return everything(item, node.item)


@dataclass(slots=True)
class Comparison:
    """The fields in which one object differs from another."""

    added: FieldSet
    removed: FieldSet
    modified: FieldSet

    @property
    def same(self) -> bool:
        return not (self.added or self.removed or self.modified)


def compare(old: Any, new: Any, node: Node) -> Comparison:
    """Which fields were added, removed and changed from `old` to `new` (plain dicts)."""
    result = Comparison({}, {}, {})
    if old != new:
        _compare_maps(old, new, node, result)
    return result


def _compare_maps(old: dict[str, Any], new: dict[str, Any], node: Node, result: Comparison) -> None:
    for name, after in new.items():
        before = old.get(name, _ABSENT)
        if before is _ABSENT:
            result.added[f"f:{name}"] = everything(after, node.child(name, after))
        elif before != after:
            child = node.child(name, before if after is None else after)
            _compare(f"f:{name}", before, after, child, result)
    for name, before in old.items():
        if name not in new:
            result.removed[f"f:{name}"] = everything(before, node.child(name, before))


def _compare(element: str, before: Any, after: Any, node: Node, result: Comparison) -> None:
    """Compares two values of the element `element` that are not equal."""
    below = Comparison({}, {}, {})
    if node.kind == "map" and _are_both(dict, before, after):
        _compare_maps(before or {}, after or {}, node, below)
        # Otherwise only the order of some list in it differs, which is no change.
        is_modified = below.same and (before is None or after is None)
    elif node.kind in ("list", "set") and _are_both(list, before, after):
        _compare_lists(before or [], after or [], node, below)
        is_modified = False  # if nothing in it differs, only the order does
    else:
        is_modified = True
    if below.added:
        result.added[element] = below.added
    if below.removed:
        result.removed[element] = below.removed
    if below.modified:
        result.modified[element] = below.modified
    if is_modified:
        result.modified[element] = _SELF


def _are_both(kind: type, before: Any, after: Any) -> bool:
    """Whether both values are of a kind, null counting as an empty one."""
    return isinstance(before, kind | None) and isinstance(after, kind | None)


def _compare_lists(before: list[Any], after: list[Any], node: Node, result: Comparison) -> None:
    old = dict(_stored_items(before, node))
    new = dict(_stored_items(after, node))
    for element, item in new.items():
        if element not in old:
            result.added[element] = _everything_in_item(item, node)
        elif old[element] != item:
            _compare(element, old[element], item, node.item or LEAF, result)
    for element, item in old.items():
        if element not in new:
            result.removed[element] = _everything_in_item(item, node)


# --- merging ---


def merge(live: Any, config: Any, node: Node) -> Any:
    """`live` with everything that `config` says. Neither is changed. Raises MergeError."""
    if node.kind == "map" and isinstance(config, dict):
        if not isinstance(live, dict):
            live = {}
        result = dict(live)
        for name, value in config.items():
            result[name] = merge(live.get(name), value, node.child(name, value))
        return result
    if node.kind in ("list", "set") and isinstance(config, list) and isinstance(live, list):
        return _merge_lists(live, config, node)
    return config


def _merge_lists(live: list[Any], config: list[Any], node: Node) -> list[Any]:
    """Both lists' items: those of `config` in its order, those of `live` alone relative to the
    items that both have.

    The walk is that of upstream's structured-merge-diff (`mergingWalker.visitListItems`), step by
    step: other walks are as good, but give other lists. Raises MergeError.
    """
    applied = _items(config, node)
    applied_elements = dict(applied)
    if len(applied_elements) != len(config):
        fields_in(config, node)  # raises, naming the key that is there twice
    current = _stored_items(live, node)
    current_items = dict(reversed(current))  # of those there twice the first
    shared = [element for element, _ in applied if element in current_items]
    result: list[Any] = []
    merged: set[str] = set()
    next_applied = 0  # places in the three lists
    next_shared = 0
    next_current = 0

    def merge_next() -> None:
        nonlocal next_applied, next_shared
        element, value = applied[next_applied]
        if element in current_items and node.item is not None:
            value = merge(current_items[element], value, node.item)
        result.append(value)
        merged.add(element)
        next_applied += 1
        if next_shared < len(shared) and shared[next_shared] == element:
            next_shared += 1

    while next_current < len(current) or next_applied < len(applied):
        some_applied = next_applied < len(applied)
        if next_current < len(current):
            element, value = current[next_current]
            if some_applied and element == applied[next_applied][0]:
                merge_next()
                next_current += 1
                continue
            if element not in applied_elements:
                result.append(value)
                next_current += 1
                continue
            if some_applied and next_shared < len(shared) and shared[next_shared] != element:
                next_current += 1  # it comes later, where `config` has it
                continue
            if element in merged:
                next_current += 1
        if some_applied:
            merge_next()
    return result


def without(value: Any, fields: FieldSet, node: Node, nulls: bool = False) -> Any:
    """A copy of `value` without the members of `fields` and all below them.

    A map that loses all it has goes, too; with `nulls`, it is null instead.
    """
    rest = _without(value, fields, node)
    return rest if nulls else _without_nulls(rest, fields, node)


def _without(value: Any, fields: FieldSet, node: Node) -> Any:
    if node.kind == "map" and isinstance(value, dict):
        result = {}
        for name, inner in value.items():
            below = fields.get("f:" + name)
            if below is None:
                result[name] = inner
            elif below and "." not in below:
                rest = _without(inner, below, node.child(name, inner))
                lost_all = not rest and bool(inner)
                result[name] = None if lost_all else rest
        return result
    if node.kind in ("list", "set") and isinstance(value, list):
        kept = []
        for element, item in _stored_items(value, node):
            below = fields.get(element)
            if below is None:
                kept.append(item)
            elif below and "." not in below:
                kept.append(_without(item, below, node.item or LEAF))
        return kept
    return value


def _without_nulls(value: Any, fields: FieldSet, node: Node) -> Any:
    """Takes out the nulls that `_without` has put in."""
    if node.kind == "map" and isinstance(value, dict):
        result = {}
        for name, inner in value.items():
            below = fields.get("f:" + name)
            if not below:
                result[name] = inner
            elif inner is not None:
                result[name] = _without_nulls(inner, below, node.child(name, inner))
        return result
    if node.kind == "list" and isinstance(value, list):
        items = []
        for element, item in _stored_items(value, node):
            below = fields.get(element)
            items.append(_without_nulls(item, below, node.item or LEAF) if below else item)
        return items
    return value
