"""The stored objects of one server: look-ups, and what it takes to write them.

The verbs (`creating`, `updating`, `deleting`) are functions on this.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH, Resource, resource_of
from tiphys.apiserver.eventloop.turns import Turns
from tiphys.apiserver.eventloop.workers import Workers
from tiphys.apiserver.registry.admission import Admission
from tiphys.apiserver.registry.codeditems import CodedItems
from tiphys.apiserver.registry.conversion import Caller, Converter
from tiphys.apiserver.registry.served import ServedResources
from tiphys.apiserver.registry.writes import Write
from tiphys.apiserver.resources.base import Strategy
from tiphys.machinery import errors, timestamps
from tiphys.machinery.selectors import EVERYTHING, Selector
from tiphys.store.cache import Entry, Filter, ResourceCache, with_revision
from tiphys.store.engine import StoreError, StoreTimeout, TooLarge
from tiphys.store.store import Store

T = TypeVar("T")
_NAMESPACES = BY_PATH["", "v1", "namespaces"]


class Objects(ABC):
    """Every stored object: what the verbs work on, and what rules may look up.

    `strategies` gives the rules of a resource; `now` gives seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        admission: Admission,
        strategies: Callable[[Resource], Strategy[Any]],
        caller: Caller,
        served: ServedResources | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.admission = admission
        self.strategy_of = strategies
        self.served = served or ServedResources()
        self.converter = Converter(caller)
        self.now = now
        self.workers = Workers()
        self.turns = Turns()
        self.coded_items = CodedItems()

    @abstractmethod
    async def create(self, write: Write, obj: Any) -> Entry:
        """Creates another object, as a rule may have to: a Service's address."""

    def stamp(self, after: float = 0) -> str:
        """The time, `after` seconds from now, as objects carry it."""
        return timestamps.rfc3339(self.now() + after)

    # --- look-ups ---

    def cache(self, resource: Resource) -> ResourceCache:
        return self.store.cache(resource.prefix)

    def lookup(
        self, plural: str, namespace: str, name: str, group: str = "", version: str = "v1"
    ) -> Any | None:
        """A stored object of a built-in resource, decoded, or None."""
        resource = BY_PATH[group, version, plural]
        entry = self.cache(resource).get(resource.key(namespace, name))
        return decode(entry.data, resource.type) if entry else None

    def find(self, kind: type[T], namespace: str, name: str) -> T | None:
        """A stored object, decoded; None when there is none of that name."""
        resource = resource_of(kind)
        entry = self.cache(resource).get(resource.key(namespace, name))
        return decode(entry.data, kind) if entry is not None else None

    def entries(self, kind: type[Any], namespace: str = "") -> Iterable[Entry]:
        """The objects of a kind as they are stored, all or those of one namespace."""
        resource = resource_of(kind)
        prefix = f"{resource.prefix}{namespace}/" if namespace else resource.prefix
        return self.cache(resource).select(Filter(prefix, EVERYTHING))

    def select_plain(
        self, resource: Resource, namespace: str, name: str, labels: Selector | None
    ) -> list[Any]:
        """Objects as plain data: one by name, or those with the labels."""
        cache = self.cache(resource)
        if name:
            entry = cache.get(resource.key(namespace, name))
            entries = [] if entry is None else [entry]
        else:
            prefix = resource.prefix + (f"{namespace}/" if namespace else "")
            entries = cache.select(Filter(prefix, labels or EVERYTHING))
        return [
            msgspec.json.decode(self.converter.shown(resource, entry) or entry.data)
            for entry in entries
        ]

    def labels_of(self, namespace: str) -> dict[str, str] | None:
        """The labels of a namespace, None when there is none of that name."""
        entry = self.cache(_NAMESPACES).get(_NAMESPACES.key("", namespace))
        return entry.labels if entry is not None else None

    def entry(self, resource: Resource, namespace: str, name: str) -> Entry:
        """A stored object's bytes.

        Raises 404, and 500 for a value that cannot be read.
        """
        cache = self.cache(resource)
        key = resource.key(namespace, name)
        entry = cache.get(key)
        if entry is not None:
            return entry
        if key in cache.corrupt:
            raise errors.internal(str(cache.corrupt[key]))
        raise errors.not_found(resource.group_resource, name)

    def check_readable(self, resource: Resource, prefix: str) -> None:
        """Raises 500 with the keys under a prefix that hold no objects."""
        corrupt = self.cache(resource).corrupt_below(prefix)
        if corrupt:
            problems = [(broken.key, str(broken)) for broken in corrupt]
            raise errors.store_read(resource.group_resource, problems)


def unwritten(key: str, value: bytes, previous: Entry | None = None) -> Entry:
    """The entry that a dry run answers with: of the bytes that would have been stored.

    Upstream passes them through the same codec, so that defaults of the stored version are seen
    here, too.
    """
    if previous is None:
        return Entry(key, 0, value, ())
    return Entry(key, previous.revision, with_revision(value, previous.revision), ())


def split_key(resource: Resource, key: str) -> tuple[str, str]:
    """(namespace, name) of a storage key."""
    namespace, _, name = key[len(resource.prefix) :].rpartition("/")
    return namespace, name


async def put(
    objects: Objects,
    resource: Resource,
    strategy: Strategy[Any],
    obj: Any,
    key: str,
    value: bytes,
    expected: int,
) -> Entry:
    """Writes an object, whose bytes are `value`. Raises as `Store.put` does.

    One that is too large goes without its managed fields, which may be much of it, as upstream has
    it.
    """
    cache = objects.cache(resource)
    seconds = strategy.lifetime
    try:
        return await objects.store.put(cache, key, value, expected, seconds)
    except TooLarge:
        if not obj.metadata.managed_fields:
            raise
    obj.metadata.managed_fields = []
    value = await objects.converter.write(resource, obj)
    return await objects.store.put(cache, key, value, expected, seconds)


def outage(error: BaseException) -> BaseException:
    """What a client is answered when the store fails, or does not answer. Other errors pass."""
    if isinstance(error, StoreTimeout):
        return errors.timeout(
            "Timeout: request did not complete within requested timeout - context deadline exceeded"
        )
    if isinstance(error, TooLarge):
        return errors.unspecified(str(error))
    return errors.internal(str(error)) if isinstance(error, StoreError) else error
