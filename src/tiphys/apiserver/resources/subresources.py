"""The paths below an object. What each of them is, its resource's strategy declares by name.

`status` and `scale` need no declaration: what the former may change is decided by
`prepare_for_status`, what the latter shows by `Strategy.scale`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from tiphys.apiserver.resources.actions import Action

T = TypeVar("T")


def whole_object(new: T, old: T) -> T:
    """For paths that may change everything but what the strategy keeps."""
    return new


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """A part of the stored object, which is read and written as the object.

    `merge(new, old)` gives `old` with that part of `new`; it may raise StatusError."""

    merge: Callable[[T, T], T] = whole_object


class Connection(Enum):
    """A path that leads to something outside the store: the node of a pod, or what listens
    there."""

    LOG = "log"
    STREAM = "stream"
    PROXY = "proxy"


Subresources = Mapping[str, Part[Any] | Action[Any] | Connection]
