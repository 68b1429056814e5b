"""Which fields an object names: sets of paths."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.fieldsets import FieldSet, readable
from tiphys.machinery.gowords import formatted
from tiphys.machinery.typed.items import MergeError, items_of, stored_items
from tiphys.machinery.typed.nodes import LEAF, Node

SELF: FieldSet = {}


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
            result[f"f:{name}"] = below if named else {".": SELF, **below}
        elif child.kind == "leaf" or inner is None or inner == {} or not named:
            result[f"f:{name}"] = SELF
    return result


def _fields_in_list(value: list[Any], node: Node, stored: bool) -> FieldSet:
    result: FieldSet = {}
    for element, item in stored_items(value, node) if stored else items_of(value, node):
        if element in result and not stored:
            raise MergeError(f"duplicate entries for key {readable(element)}")
        below: FieldSet = {}
        if node.kind == "list" and node.item is not None:
            try:
                below = fields_in(item, node.item, stored)
            except MergeError as error:
                raise error.within(readable(element)) from None
        result[element] = {".": SELF, **below} if below else SELF
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
        result[element] = {".": SELF, **inner} if named else inner
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
            result["f:" + name] = SELF if child.kind == "leaf" else everything(inner, child)
    elif node.kind in ("list", "set") and isinstance(value, list):
        for element, item in stored_items(value, node):
            result[element] = everything_in_item(item, node)
    if result:
        result["."] = SELF
    return result


def everything_in_item(item: Any, node: Node) -> FieldSet:
    """Every place in an item of the list or set that `node` is."""
    if node.kind == "set" or node.item is None:
        return SELF
    return everything(item, node.item)
