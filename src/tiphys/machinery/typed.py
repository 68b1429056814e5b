"""How plain objects are taken apart, compared and merged field by field, as server-side apply sees them.

A `Node` says what one place of a type is: a leaf that is replaced as a whole, a map or struct of further nodes, a set,
or a list whose items have keys. Nodes come from the declared structs or from a custom resource's schema.
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
from tiphys.machinery.fieldsets import FieldSet, item_key, item_value
from tiphys.machinery.gowords import formatted
from tiphys.machinery.schema import Field, fields_of
from tiphys.machinery.structural import ANYTHING, Schema

_ABSENT: Any = object()
_SELF: FieldSet = {}
# What upstream's schema gives as the default of a key that its type may leave out; others have their zero value.
_KEY_DEFAULTS = {
    (ContainerPort, "protocol"): "TCP",
    (ServicePort, "protocol"): "TCP",
    (LocalObjectReference, "name"): "",
}
# Items of lists with keys that are replaced as a whole all the same.
_WHOLE_ITEMS = (LocalObjectReference, ObjectReference, OwnerReference, Variable)


class MergeError(ValueError):
    """The object cannot be taken apart; the text is for the user. path: where, ``.spec.ports``."""

    def __init__(self, why: str, path: str = "") -> None:
        super().__init__(f"{path}: {why}" if path else why)
        self._why, self._path = why, path

    def within(self, step: str) -> MergeError:
        """The same, as seen from one step further out."""
        return MergeError(self._why, step + self._path)


@dataclass(slots=True, eq=False)
class Node:
    """kind: "leaf", "map" (also structs), "set" or "list" (items with keys)."""

    kind: str
    fields: dict[str, Node] | Callable[[], dict[str, Node]] = None  # type: ignore[assignment]
    other: Node | None = (
        None  # of keys that `fields` does not name; without it what they are is read off their value
    )
    item: Node | None = None
    keys: tuple[tuple[str, Any], ...] = ()  # (name, default)
    untyped: bool = (
        False  # a map if it is one, and else a leaf: upstream's type of a schema that names no type
    )

    def child(self, name: str, value: Any) -> Node:
        if callable(self.fields):
            self.fields = self.fields()
        found = (self.fields.get(name) if self.fields else None) or self.other or DEDUCED
        return LEAF if found.untyped and not isinstance(value, dict) else found

    def named(self, name: str) -> bool:
        """Whether the type itself has a field of that name."""
        if callable(self.fields):
            self.fields = self.fields()
        return bool(self.fields) and name in self.fields


LEAF = Node("leaf")
DEDUCED = Node("map", {}, untyped=True)


# --- from declared structs ----------------------------------------------------------------------------------------


@functools.cache
def node_of(kind: type[Struct]) -> Node:
    """The node of a declared type."""
    return Node(
        "map", lambda: {name: _field_node(field) for name, field in fields_of(kind).items()}
    )


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
        return Node(
            "list", item=item, keys=tuple((key, _key_default(kind, key)) for key in facts.keys)
        )
    if field.kind == "list" and facts.list == "set":
        return Node("set", item=LEAF)
    return LEAF


def _key_default(kind: type[Struct], key: str) -> Any:
    """What an item is taken to say that leaves a key out, None if it says nothing."""
    if (kind, key) in _KEY_DEFAULTS:
        return _KEY_DEFAULTS[kind, key]
    declared = next(field for field in msgspec.structs.fields(kind) if field.encode_name == key)
    return declared.default_factory() if declared.default_factory is not msgspec.NODEFAULT else None


# --- from structural schemas --------------------------------------------------------------------------------------


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
    rows = []
    for key in schema.list_keys:
        inner = schema.items.properties.get(key)
        rows.append((key, inner.default if inner is not None and inner.has_default else None))
    return tuple(rows)


DEDUCED_ROOT = Node("map", {"apiVersion": LEAF, "kind": LEAF, "metadata": node_of(ObjectMeta)})


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
            f"associative list with keys has an element that omits all key fields [{names}] (and doesn't have default values for any key fields)"
        )
    return item_key(keys)


def _items(value: list[Any], node: Node) -> list[tuple[str, Any]]:
    if node.kind == "set":
        return [(item_value(item), item) for item in value]
    found = []
    for index, item in enumerate(value):
        try:
            found.append((key_element(item, node), item))
        except MergeError as error:
            raise MergeError(f"element {index}: {error}") from None
    return found


# --- which fields -------------------------------------------------------------------------------------------------


def fields_in(value: Any, node: Node, stored: bool = False) -> FieldSet:
    """The fields an applied configuration speaks of: leaves, items, and maps that are empty. Raises MergeError, but not of
    what is `stored` already."""
    result: FieldSet = {}
    wanted = {"map": dict, "list": list, "set": list}.get(node.kind)
    if wanted is not None and not stored and not isinstance(value, wanted | None):
        raise MergeError(
            f"expected {'map' if wanted is dict else 'list'}, got &{{{formatted(value)}}}"
        )
    if node.kind == "map" and isinstance(value, dict):
        for name, inner in value.items():
            child = node.child(name, inner)
            try:
                below = fields_in(inner, child, stored)
            except MergeError as error:
                raise error.within(f".{name}") from None
            if below:
                result["f:" + name] = below if node.named(name) else {".": _SELF, **below}
            elif child.kind == "leaf" or inner is None or inner == {} or not node.named(name):
                result["f:" + name] = _SELF
    elif node.kind in ("list", "set") and isinstance(value, list):
        for element, item in (
            _items_of_stored(value, node) if stored and node.kind == "list" else _items(value, node)
        ):
            if element in result and not stored:
                raise MergeError(f"duplicate entries for key {_readable(element)}")
            try:
                below = (
                    fields_in(item, node.item, stored)
                    if node.kind == "list" and node.item is not None
                    else {}
                )
            except MergeError as error:
                raise error.within(_readable(element)) from None
            result[element] = {".": _SELF, **below} if below else _SELF
    return result


def with_named_parents(fields: FieldSet, node: Node) -> FieldSet:
    """The set, and with every member the fields above it that the type names: these go with what is in them, while items
    of lists and entries of maps are there by themselves."""
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


def _readable(element: str) -> str:
    from tiphys.machinery.fieldsets import _shown

    return _shown(element)


def everything(value: Any, node: Node) -> FieldSet:
    """Every place in a value, containers too: what was added when there was nothing before."""
    result: FieldSet = {}
    if node.kind == "map" and isinstance(value, dict):
        for name, inner in value.items():
            child = node.child(name, inner)
            result["f:" + name] = _SELF if child.kind == "leaf" else everything(inner, child)
    elif node.kind == "list" and isinstance(value, list):
        for element, item in _items_of_stored(value, node):
            result[element] = everything(item, node.item)  # type: ignore[arg-type]
    elif node.kind == "set" and isinstance(value, list):
        for item in value:
            result[item_value(item)] = _SELF
    if result:
        result["."] = _SELF
    return result


def _items_of_stored(value: list[Any], node: Node) -> list[tuple[str, Any]]:
    """Items of what is stored already, where an item without keys is told by its place."""
    found = []
    for index, item in enumerate(value):
        try:
            found.append((key_element(item, node), item))
        except MergeError:
            found.append((f"i:{index}", item))
    return found


@dataclass(slots=True)
class Comparison:
    """What tells one object from another."""

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


def _compare_maps(old: dict[str, Any], new: dict[str, Any], node: Node, found: Comparison) -> None:
    for name, after in new.items():
        before = old.get(name, _ABSENT)
        if before is _ABSENT:
            child = node.child(name, after)
            found.added["f:" + name] = _SELF if child.kind == "leaf" else everything(after, child)
        elif before != after:
            _compare(
                "f:" + name,
                before,
                after,
                node.child(name, after if after is not None else before),
                found,
            )
    for name, before in old.items():
        if name not in new:
            child = node.child(name, before)
            found.removed["f:" + name] = (
                _SELF if child.kind == "leaf" else everything(before, child)
            )


def _compare(element: str, before: Any, after: Any, node: Node, found: Comparison) -> None:
    if node.kind == "leaf":
        found.modified[element] = _SELF
        return
    below = Comparison({}, {}, {})
    if node.kind == "map" and isinstance(before, dict | None) and isinstance(after, dict | None):
        _compare_maps(before or {}, after or {}, node, below)
    elif (
        node.kind in ("list", "set")
        and isinstance(before, list | None)
        and isinstance(after, list | None)
    ):
        _compare_lists(before or [], after or [], node, below)
        if not (below.added or below.removed or below.modified):
            return  # only the order differs
    else:
        found.modified[element] = _SELF
        return
    for name in ("added", "removed", "modified"):
        inner = getattr(below, name)
        if inner:
            getattr(found, name)[element] = inner
    if below.same and (before is None or after is None):
        found.modified[element] = _SELF  # otherwise only the order of some list in it differs


def _compare_lists(before: list[Any], after: list[Any], node: Node, found: Comparison) -> None:
    if node.kind == "set":
        old = {item_value(item): item for item in before}
        new = {item_value(item): item for item in after}
    else:
        old, new = dict(_items_of_stored(before, node)), dict(_items_of_stored(after, node))
    for element, item in new.items():
        if element not in old:
            found.added[element] = everything(item, node.item) if node.kind == "list" else _SELF  # type: ignore[arg-type]
        elif old[element] != item:
            _compare(element, old[element], item, node.item or LEAF, found)
    for element, item in old.items():
        if element not in new:
            found.removed[element] = everything(item, node.item) if node.kind == "list" else _SELF  # type: ignore[arg-type]


# --- merging ------------------------------------------------------------------------------------------------------


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
    """Both lists' items: those of `config` in its order, those of `live` alone where they stand, as seen from the items
    that both have. The walk is upstream's, step by step: other walks are as good, but give other lists."""
    wanted = _items(config, node)
    said = dict(wanted)
    if len(said) != len(config):
        fields_in(config, node)  # says which key is double
    current = _items_of_stored(live, node) if node.kind == "list" else _items(live, node)
    known = dict(reversed(current))  # of double ones the first
    shared = [element for element, _ in wanted if element in known]
    result: list[Any] = []
    taken: set[str] = set()
    at = turn = left = 0  # places in wanted, in shared, in current

    def take() -> None:
        nonlocal at, turn
        element, item = wanted[at]
        result.append(
            merge(known[element], item, node.item) if element in known and node.item else item
        )
        taken.add(element)
        at += 1
        if turn < len(shared) and shared[turn] == element:
            turn += 1

    while left < len(current) or at < len(wanted):
        if left < len(current):
            element, item = current[left]
            if at < len(wanted) and element == wanted[at][0]:
                take()
                left += 1
                continue
            if element not in said:
                result.append(item)
                left += 1
                continue
            if at < len(wanted) and turn < len(shared) and shared[turn] != element:
                left += 1  # it comes later, where `config` has it
                continue
            if element in taken:
                left += 1
        if at < len(wanted):
            take()
    return result


def without(value: Any, fields: FieldSet, node: Node, nulls: bool = False) -> Any:
    """`value` without the members of `fields` and all below them. A map that loses all it has goes, too; with `nulls`, it is
    null instead. It is not changed."""
    left = _without(value, fields, node)
    return left if nulls else _bare(left, fields, node)


def _without(value: Any, fields: FieldSet, node: Node) -> Any:
    if node.kind == "map" and isinstance(value, dict):
        result = {}
        for name, inner in value.items():
            below = fields.get("f:" + name)
            if below is None:
                result[name] = inner
            elif below and "." not in below:
                left = _without(inner, below, node.child(name, inner))
                result[name] = left if left or not inner else None
        return result
    if node.kind in ("list", "set") and isinstance(value, list):
        kept = []
        for element, item in (
            _items_of_stored(value, node) if node.kind == "list" else _items(value, node)
        ):
            below = fields.get(element)
            if below is None:
                kept.append(item)
            elif below and "." not in below:
                kept.append(_without(item, below, node.item or LEAF))
        return kept
    return value


def _bare(value: Any, fields: FieldSet, node: Node) -> Any:
    """Takes out the nulls that `_without` has put in."""
    if node.kind == "map" and isinstance(value, dict):
        found = {}
        for name, inner in value.items():
            below = fields.get("f:" + name)
            if not below:
                found[name] = inner
            elif inner is not None:
                found[name] = _bare(inner, below, node.child(name, inner))
        return found
    if node.kind == "list" and isinstance(value, list):
        rows = _items_of_stored(value, node)
        return [
            _bare(item, fields[e], node.item or LEAF) if fields.get(e) else item for e, item in rows
        ]
    return value
