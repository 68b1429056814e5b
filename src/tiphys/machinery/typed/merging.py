"""Two objects merged, and an object without some fields."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.fieldsets import FieldSet
from tiphys.machinery.typed.fields import fields_in
from tiphys.machinery.typed.items import items_of, stored_items
from tiphys.machinery.typed.nodes import LEAF, Node


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
    applied = items_of(config, node)
    applied_elements = dict(applied)
    if len(applied_elements) != len(config):
        fields_in(config, node)  # raises, naming the key that is there twice
    current = stored_items(live, node)
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
        for element, item in stored_items(value, node):
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
        for element, item in stored_items(value, node):
            below = fields.get(element)
            items.append(_without_nulls(item, below, node.item or LEAF) if below else item)
        return items
    return value
