"""What the rules of one resource may ask about other objects: all that strategies and admission
see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tiphys.api.catalog import Resource
from tiphys.apiserver.registry.writes import Write
from tiphys.store.cache import Entry, ResourceCache
from tiphys.store.store import Store


class Lookups(Protocol):
    """Reads of stored objects. Everything comes from memory: nothing here waits."""

    @property
    def now(self) -> Callable[[], float]:
        """Seconds since the epoch."""
        ...

    def cache(self, resource: Resource) -> ResourceCache:
        """The stored bytes of a resource."""
        ...

    def lookup(
        self, plural: str, namespace: str, name: str, group: str = "", version: str = "v1"
    ) -> Any | None:
        """A stored object of a built-in resource, decoded, or None."""
        ...

    def entry(self, resource: Resource, namespace: str, name: str) -> Entry:
        """A stored object's bytes.

        Raises 404, and 500 when there is something that cannot be read.
        """
        ...

    def labels_of(self, namespace: str) -> dict[str, str] | None:
        """The labels of a namespace, None when there is none of that name."""
        ...


class Allocations(Lookups, Protocol):
    """For rules that take something cluster-wide: a Service's address, a node port."""

    @property
    def store(self) -> Store:
        """The records of what is taken lie there, beside the objects."""
        ...

    async def create(self, write: Write, obj: Any) -> Entry:
        """Creates an object that shows what is taken. Raises StatusError."""
        ...
