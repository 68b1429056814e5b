"""The items of lists and sets, and what names each."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.fieldsets import item_key, item_value
from tiphys.machinery.typed.nodes import Node


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


def items_of(value: list[Any], node: Node) -> list[Item]:
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


def stored_items(value: list[Any], node: Node) -> list[Item]:
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
