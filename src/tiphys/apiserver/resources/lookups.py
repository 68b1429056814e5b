"""What rules may see and take of the rest of the cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from tiphys.apiserver.registry.writes import Write
from tiphys.store.cache import Entry
from tiphys.store.store import Store

T = TypeVar("T")


class Objects(Protocol):
    """The stored objects that an object may refer to. Both methods read the cache and never
    wait."""

    def find(self, kind: type[T], namespace: str, name: str) -> T | None:
        """An object, decoded; None when there is none of that name. `namespace` is "" for
        cluster-wide kinds."""

    def entries(self, kind: type[Any], namespace: str = "") -> Iterable[Entry]:
        """The objects of a kind as they are stored, all or those of one namespace."""


class Allocator(Objects, Protocol):
    """Where strategies record what an object takes of a pool that the cluster shares: addresses,
    ports."""

    @property
    def store(self) -> Store: ...

    async def create(self, write: Write, obj: Any) -> Entry:
        """Stores an object. Raises StatusError."""
