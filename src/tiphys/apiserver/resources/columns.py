"""What the tables of resources are made of, as `kubectl get` prints them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tiphys.api.meta_v1 import LabelSelector
from tiphys.machinery import durations, timestamps
from tiphys.machinery.selectors import from_label_selector, from_labels

WIDE = 1
"""The priority of columns that are shown with ``-o wide`` alone."""
_MOST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `cell` gives what it shows of an object: text, a number or a boolean."""

    name: str
    cell: Callable[[Any], Any]
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or f"{self.name} of the object.",
            "priority": self.priority,
        }


def since(timestamp: str | None) -> str:
    """How long ago that was, as kubectl writes it: ``5d``, ``3h2m``."""
    if not timestamp:
        return "<unknown>"
    return durations.human(time.time() - timestamps.parse(timestamp))


NAME = Column(
    "Name",
    lambda obj: obj.metadata.name,
    format="name",
    description="Name must be unique within a namespace.",
)
AGE = Column(
    "Age",
    lambda obj: since(obj.metadata.creation_timestamp),
    description="Time since the object was made.",
)
CREATED = Column("Created At", lambda obj: obj.metadata.creation_timestamp, format="date")
CREATED_DATE = Column("Created At", lambda obj: obj.metadata.creation_timestamp, type="date")


def joined(items: Iterable[Any], empty: str = "<none>") -> str:
    """The items with commas between them, `empty` when there are none."""
    return ",".join(str(item) for item in items) or empty


def shortened(items: Sequence[str], empty: str) -> str:
    """The first three items, and how many more there are."""
    more = len(items) - _MOST_SHOWN
    text = ",".join(items[:_MOST_SHOWN]) or empty
    return f"{text} + {more} more..." if more > 0 else text


def selector_text(selector: LabelSelector | dict[str, str] | None) -> str:
    if selector is None:
        return "<none>"
    if isinstance(selector, dict):
        return str(from_labels(selector)) or "<none>"
    return str(from_label_selector(selector)) or "<none>"
