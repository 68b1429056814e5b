"""In which fields two objects differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiphys.machinery.fieldsets import FieldSet
from tiphys.machinery.typed.fields import SELF, everything, everything_in_item
from tiphys.machinery.typed.items import stored_items
from tiphys.machinery.typed.nodes import LEAF, Node

_ABSENT: Any = object()


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
        result.modified[element] = SELF


def _are_both(kind: type, before: Any, after: Any) -> bool:
    """Whether both values are of a kind, null counting as an empty one."""
    return isinstance(before, kind | None) and isinstance(after, kind | None)


def _compare_lists(before: list[Any], after: list[Any], node: Node, result: Comparison) -> None:
    old = dict(stored_items(before, node))
    new = dict(stored_items(after, node))
    for element, item in new.items():
        if element not in old:
            result.added[element] = everything_in_item(item, node)
        elif old[element] != item:
            _compare(element, old[element], item, node.item or LEAF, result)
    for element, item in old.items():
        if element not in new:
            result.removed[element] = everything_in_item(item, node)
