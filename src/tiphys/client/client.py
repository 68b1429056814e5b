"""Calls to an API server, one method for each verb.

Objects are structs of `tiphys.api` or dictionaries as YAML gives them, custom resources among them
(`kinds`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, overload

import msgspec

from tiphys.api.base import Struct, decode, decoder, encode
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import (
    DeleteOptions,
    ListMeta,
    PartialObjectMetadata,
    Preconditions,
    Status,
)
from tiphys.client.config import Config
from tiphys.client.kinds import Kinds, Manifest, Named, name_of, namespace_of
from tiphys.client.metrics import ComponentMetrics
from tiphys.client.transport import IN_FLIGHT, JSON, Known, Transport, Unreachable
from tiphys.machinery.errors import StatusError

__all__ = [
    "APPLY",
    "JSON",
    "JSON_PATCH",
    "MERGE",
    "METADATA",
    "METADATA_LIST",
    "STRATEGIC",
    "Client",
    "Known",
    "Page",
    "Unreachable",
    "WatchEvent",
]

T = TypeVar("T", bound=Struct)
Obj = TypeVar("Obj", bound=Struct | Mapping[str, Any])  # an object in either form

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(slots=True)
class Page(Generic[Obj]):
    """A list, or a part of it, as it was at `revision`. `token` continues it, "" when it is
    complete."""

    items: list[Obj]
    revision: str
    token: str = ""


@dataclass(slots=True)
class WatchEvent(Generic[Obj]):
    """`kind` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    kind: str
    obj: Obj


class _List(msgspec.Struct):
    metadata: ListMeta
    items: list[msgspec.Raw]


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_list = msgspec.json.Decoder(_List)
_event = msgspec.json.Decoder(_Event)

Decode = Callable[[bytes | msgspec.Raw], Any]


class Client(Transport):
    """Calls as one identity. Close it when done, or use it as a context manager.

    agent:   the User-Agent, by which the server's log and metrics tell clients apart
    metrics: of the component that it is the client of

    Every call raises StatusError as the server answers, and Unreachable when it does not answer
    within a minute.
    """

    def __init__(
        self,
        config: Config,
        agent: str = "tiphys",
        metrics: ComponentMetrics | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        super().__init__(config, agent, metrics, in_flight)
        self._kinds = Kinds(lambda path: self.request("GET", path))

    # --- reading ---

    @overload
    async def get(self, kind: type[T], name: str, namespace: str = "") -> T: ...
    @overload
    async def get(
        self, kind: Mapping[str, Any], name: str = "", namespace: str = ""
    ) -> Manifest: ...
    async def get(self, kind: Named, name: str = "", namespace: str = "") -> Any:
        """One object. For a whole manifest as `kind`, its own name and namespace are the
        defaults."""
        target = await self._kinds.find(kind)
        path = target.object_path(namespace or namespace_of(kind), name or name_of(kind))
        return target.decode(await self.request("GET", path))

    @overload
    async def list(
        self,
        kind: type[T],
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        token: str = "",
        revision: str = "",
        resource: Resource | None = None,
    ) -> Page[T]: ...
    @overload
    async def list(
        self,
        kind: Mapping[str, Any],
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        token: str = "",
        revision: str = "",
        resource: None = None,
    ) -> Page[Manifest]: ...
    async def list(
        self,
        kind: Named,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        token: str = "",
        revision: str = "",
        resource: Resource | None = None,
    ) -> Page[Any]:
        """A page of objects.

        namespace:      "" for all namespaces
        labels, fields: selectors, as kubectl takes them
        limit:          objects at the most, 0 for all; `token` continues the page before
        revision:       as old as this will do ("0": whatever the server has in memory); "" for the
                        newest
        resource:       lists any resource as far as `kind` has fields for it
                        (PartialObjectMetadata)
        """
        query = _query(
            labelSelector=labels,
            fieldSelector=fields,
            limit=str(limit or ""),
            resourceVersion=revision,
        )
        if token:
            query["continue"] = token
        accept = METADATA_LIST if kind is PartialObjectMetadata else JSON
        collection = await self._collection(kind, namespace, resource)
        data = await self.request("GET", collection.path, query=query, accept=accept)
        page = _list.decode(data)
        meta = page.metadata
        items = [collection.decode(item) for item in page.items]
        return Page(items, meta.resource_version, meta.continue_)

    @overload
    def watch(
        self,
        kind: type[T],
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        revision: str = "",
        timeout: int = 0,
        resource: Resource | None = None,
    ) -> AsyncIterator[WatchEvent[T]]: ...
    @overload
    def watch(
        self,
        kind: Mapping[str, Any],
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        revision: str = "",
        timeout: int = 0,
        resource: None = None,
    ) -> AsyncIterator[WatchEvent[Manifest]]: ...
    async def watch(
        self,
        kind: Named,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        revision: str = "",
        timeout: int = 0,
        resource: Resource | None = None,
    ) -> AsyncIterator[WatchEvent[Any]]:
        """Events after `revision` until the server ends the watch.

        Without a revision, the objects that there are come first, as ADDED. `timeout` (seconds)
        asks the server to end the watch then. Other arguments are those of `list`. Bookmarks are
        asked for: their object has nothing but its resourceVersion.

        Raises StatusError (`errors.is_expired`: list again) and, when the connection breaks,
        Unreachable.
        """
        query = _query(
            watch="1",
            allowWatchBookmarks="true",
            labelSelector=labels,
            fieldSelector=fields,
            resourceVersion=revision,
            timeoutSeconds=str(timeout or ""),
        )
        collection = await self._collection(kind, namespace, resource)
        accept = METADATA if kind is PartialObjectMetadata else JSON
        # Who stops watching half-way has the connection closed at once.
        async with contextlib.aclosing(self.lines(collection.path, query, accept)) as answer:
            async for lines in answer:
                for line in lines:
                    event = _event.decode(line)
                    if event.type == "ERROR":
                        raise StatusError(decode(bytes(event.object), Status))
                    yield WatchEvent(event.type, collection.decode(event.object))

    async def _collection(
        self, kind: Named, namespace: str, resource: Resource | None
    ) -> _Collection:
        if resource is not None:  # the kind is a part of an object, which no resource has
            return _Collection(decoder(kind).decode, resource.path(namespace))
        target = await self._kinds.find(kind)
        return _Collection(target.decode, target.resource.path(namespace))

    # --- writing ---

    async def create(self, obj: Obj, namespace: str = "") -> Obj:
        """Creates an object, in its own namespace by default, and returns it as the server has it.

        Raises StatusError (`errors.is_already_exists`).
        """
        target = await self._kinds.find(obj)
        path = target.collection_path(namespace or namespace_of(obj))
        return target.decode(await self.request("POST", path, encode(obj), target.write_query))  # type: ignore[no-any-return]

    async def update(self, obj: Obj, subresource: str = "") -> Obj:
        """Replaces an object. Its resourceVersion says on which version the change is based; "" for
        any.

        Raises StatusError (`errors.is_conflict`: read it again).
        """
        target = await self._kinds.find(obj)
        path = target.object_path(namespace_of(obj), name_of(obj), subresource)
        return target.decode(await self.request("PUT", path, encode(obj), target.write_query))  # type: ignore[no-any-return]

    async def update_status(self, obj: Obj) -> Obj:
        """Replaces the status of an object, and nothing else of it."""
        return await self.update(obj, "status")

    async def apply(
        self,
        obj: Obj,
        namespace: str = "",
        manager: str = "tiphys",
        force: bool = False,
        subresource: str = "",
    ) -> Obj:
        """Server-side apply of `obj` as field manager `manager`.

        A dictionary says exactly what is applied; of a struct, its set fields are. Raises
        StatusError (`errors.is_conflict`) when another manager has a field of it and `force` is not
        given.
        """
        target = await self._kinds.find(obj)
        path = target.object_path(namespace or namespace_of(obj), name_of(obj), subresource)
        query = {
            **target.write_query,
            "fieldManager": manager,
            "force": "true" if force else "false",
        }
        return target.decode(await self.request("PATCH", path, encode(obj), query, content=APPLY))  # type: ignore[no-any-return]

    @overload
    async def patch(
        self,
        kind: type[T],
        name: str,
        patch: Any,
        namespace: str = "",
        subresource: str = "",
        media: str = STRATEGIC,
    ) -> T: ...
    @overload
    async def patch(
        self,
        kind: Mapping[str, Any],
        name: str,
        patch: Any,
        namespace: str = "",
        subresource: str = "",
        media: str = MERGE,
    ) -> Manifest: ...
    async def patch(
        self,
        kind: Named,
        name: str,
        patch: Any,
        namespace: str = "",
        subresource: str = "",
        media: str = "",
    ) -> Any:
        """Patches an object and returns it.

        `media` is one of the patch types above. By default a struct type is patched by a strategic
        merge, and what dictionaries name by a merge patch, since custom resources have no strategic
        one.
        """
        target = await self._kinds.find(kind)
        media = media or (MERGE if isinstance(kind, Mapping) else STRATEGIC)
        path = target.object_path(namespace, name, subresource)
        return target.decode(
            await self.request("PATCH", path, encode(patch), target.write_query, content=media)
        )

    async def delete(
        self,
        kind: type[Struct] | Mapping[str, Any],
        name: str = "",
        namespace: str = "",
        grace: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        revision: str | None = None,
    ) -> None:
        """Deletes the object of that name. A whole manifest as `kind` names itself.

        grace:         seconds, None for the kind's default
        propagation:   Foreground, Background or Orphan; None for the kind's default
        uid, revision: delete only that very object, or that version of it (else
                       `errors.is_conflict`)
        """
        options = DeleteOptions(grace_period_seconds=grace, propagation_policy=propagation)
        if uid or revision:
            options.preconditions = Preconditions(uid=uid, resource_version=revision)
        target = await self._kinds.find(kind)
        path = target.object_path(namespace or namespace_of(kind), name or name_of(kind))
        await self.request("DELETE", path, encode(options))

    async def post(
        self, resource: Resource, namespace: str, name: str, subresource: str, obj: Struct
    ) -> bytes:
        """The raw answer to a POST to a subresource: binding, eviction, token."""
        return await self.request("POST", resource.path(namespace, name, subresource), encode(obj))


class _Collection(NamedTuple):
    """What a list or a watch is of, and how its objects are read."""

    decode: Decode
    path: str


def _query(**items: str) -> dict[str, str]:
    return {name: value for name, value in items.items() if value}
