"""A write as a value: what is written, by whom and how, and its outcome.

Preconditions are where clients put them: in the object (`resourceVersion`, `uid`) or in a
deletion's options.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tiphys.api.catalog import Resource, storage_of
from tiphys.apiserver.http.request import SYSTEM, User
from tiphys.store.cache import Entry


@dataclass(frozen=True, slots=True)
class SubresourceView:
    """What a subresource shows of an object: its Scale, for one.

    `kind` is ``group/version/Kind``; `put` changes an object to what is seen of it.
    """

    kind: str
    get: Callable[[Any], Any]
    put: Callable[[Any, Any], None]


def _allowed() -> None:
    """Of a write whose author may create the object."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write of one object. `requested` is the row of the version that the client speaks."""

    requested: Resource
    namespace: str = ""
    name: str = ""
    """Empty for a creation: the object has its name."""
    user: User = SYSTEM
    dry_run: bool = False
    manager: str = ""
    """Who will manage the fields that change; empty: the managers stay as they are."""
    subresource: str = ""
    admitted: bool = False
    """Whether it is part of another request that was admitted: no plugin is asked."""
    view: SubresourceView | None = None
    """What admission sees of the object, when that is not the object."""
    verb: str = "update"
    """Of an update: as which the request was authorized."""
    check_create: Callable[[], None] = _allowed
    """Raises 403 when an update or apply would have to create the object and its author may not."""

    @property
    def resource(self) -> Resource:
        """The row of the version that holds the data."""
        return storage_of(self.requested)

    @property
    def key(self) -> str:
        return self.resource.key(self.namespace, self.name)


class Written(NamedTuple):
    """What an update or apply leaves: the entry, and whether it was created."""

    entry: Entry
    created: bool


class Deleted(NamedTuple):
    """The last entry of an object, and whether it is gone: finalizers or a grace period may keep
    it.
    """

    entry: Entry
    gone: bool
