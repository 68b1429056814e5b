"""Calls to an API server, one method for each verb.

Objects are structs of `tiphys.api` or dictionaries as YAML gives them, custom resources among them (`kinds`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import aiohttp
import msgspec

from tiphys.api.base import Struct, decode, decoder, encode
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import DeleteOptions, ListMeta, PartialObjectMetadata, Status
from tiphys.client.config import Config
from tiphys.client.kinds import Kinds, Manifest, Named, name_of, namespace_of
from tiphys.machinery.errors import StatusError

T = TypeVar("T", bound=Struct)
Obj = TypeVar("Obj", bound=Struct | Mapping[str, Any])  # an object in either form

JSON = "application/json"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"

_IN_FLIGHT = 64  # requests of one client at a time: more would only wait at the server, which refuses what it cannot queue
_ATTEMPTS = 10
_BUSY = (429, 500, 502, 503, 504)

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Unreachable(Exception):
    """The server did not answer."""


@dataclass(slots=True)
class Page(Generic[Obj]):
    """A list as it stood at `revision`; `token` continues it."""

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


_list, _event = msgspec.json.Decoder(_List), msgspec.json.Decoder(_Event)


class Client:
    """Calls as one identity. Close it when done, or use it as a context manager."""

    def __init__(self, config: Config, agent: str = "tiphys") -> None:
        self.config = config
        self._agent = agent
        self._session: aiohttp.ClientSession | None = None
        self._token = ("", 0.0)
        self._seats = asyncio.Semaphore(_IN_FLIGHT)
        self._kinds = Kinds(lambda path: self.request("GET", path))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def drop_connections(self) -> None:
        """Ends every connection, those of watches too, and what waits on them. After a long silence they may lead nowhere,
        and nothing would tell for minutes; what is asked next begins new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls = self.config.ssl_context() if self.config.server.startswith("https") else True
            connector = aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=60)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
            headers = {"User-Agent": self._agent}
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, headers=headers, read_bufsize=1 << 20
            )
        return self._session

    def _headers(self, content: str = "", accept: str = "application/json") -> dict[str, str]:
        headers = {"Accept": accept}
        if content:
            headers["Content-Type"] = content
        if self.config.token_file is not None:
            text, read = self._token
            if time.monotonic() - read > 60:
                text = self.config.token_file.read_text().strip()
                self._token = (text, time.monotonic())
            headers["Authorization"] = f"Bearer {text}"
        elif self.config.token:
            headers["Authorization"] = f"Bearer {self.config.token}"
        return headers

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        query: dict[str, str] | None = None,
        content: str = "application/json",
        timeout: float = 60.0,
        accept: str = "application/json",
    ) -> bytes:
        """Raw bytes of an answer. A server that says when to come again is asked again then, as often as fits `timeout`
        (seconds). Raises StatusError as the server says, Unreachable when it says nothing."""
        refusal: StatusError | None = None
        try:
            async with asyncio.timeout(timeout), self._seats:
                for _ in range(_ATTEMPTS):
                    async with self._http().request(
                        method,
                        self.config.server + path,
                        data=body,
                        params=query,
                        headers=self._headers(content if body else "", accept),
                    ) as answer:
                        data = await answer.read()
                        if answer.status < 400:
                            return data
                        refusal = StatusError(_status(data, answer.status))
                        later = (
                            answer.headers.get("Retry-After", "") if answer.status in _BUSY else ""
                        )
                    if not later.isdigit():
                        raise refusal
                    await asyncio.sleep(int(later) * random.uniform(1.0, 1.5))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if refusal is None:
                raise Unreachable(f"{method} {path}: {type(error).__name__}: {error}") from None
        assert refusal is not None
        raise refusal

    # --- reading ---

    @overload
    async def get(self, kind: type[T], name: str, namespace: str = "") -> T: ...
    @overload
    async def get(
        self, kind: Mapping[str, Any], name: str = "", namespace: str = ""
    ) -> Manifest: ...
    async def get(self, kind: Named, name: str = "", namespace: str = "") -> Any:
        """One object. For a whole manifest as `kind`, its own name and namespace are the defaults."""
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
        """A page of objects; with `resource`, of any resource, as far as `kind` has fields for them.
        Without a namespace: of all namespaces."""
        query = _query(
            labelSelector=labels,
            fieldSelector=fields,
            limit=str(limit or ""),
            resourceVersion=revision,
        )
        query |= {"continue": token} if token else {}
        read, path = await self._collection(kind, namespace, resource)
        data = await self.request(
            "GET",
            path,
            query=query,
            accept=METADATA_LIST if kind is PartialObjectMetadata else JSON,
        )
        page = _list.decode(data)
        meta = page.metadata
        return Page([read(item) for item in page.items], meta.resource_version, meta.continue_)

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
        """Events after `revision` until the server ends the watch. Raises StatusError (410: list again)."""
        query = _query(
            watch="1",
            allowWatchBookmarks="true",
            labelSelector=labels,
            fieldSelector=fields,
            resourceVersion=revision,
            timeoutSeconds=str(timeout or ""),
        )
        read, path = await self._collection(kind, namespace, resource)
        url = self.config.server + path
        headers = self._headers(accept=METADATA if kind is PartialObjectMetadata else JSON)
        try:
            async with self._http().get(url, params=query, headers=headers) as answer:
                if answer.status >= 400:
                    raise StatusError(_status(await answer.read(), answer.status))
                rest = b""
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event = _event.decode(line)
                        if event.type == "ERROR":
                            raise StatusError(decode(bytes(event.object), Status))
                        yield WatchEvent(event.type, read(event.object))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"watch {url}: {type(error).__name__}: {error}") from None

    async def _collection(
        self, kind: Named, namespace: str, resource: Resource | None
    ) -> tuple[Any, str]:
        """(decode, path) of a list or watch."""
        if (
            resource is not None
        ):  # the kind is a part of an object, such as PartialObjectMetadata, which no resource has
            return decoder(kind).decode, resource.path(namespace)
        target = await self._kinds.find(kind)
        return target.decode, target.resource.path(namespace)

    # --- writing ---

    async def create(self, obj: Obj, namespace: str = "") -> Obj:
        target = await self._kinds.find(obj)
        path = target.collection_path(namespace or namespace_of(obj))
        return target.decode(await self.request("POST", path, encode(obj), target.write_query))  # type: ignore[no-any-return]

    async def update(self, obj: Obj, subresource: str = "") -> Obj:
        target = await self._kinds.find(obj)
        path = target.object_path(namespace_of(obj), name_of(obj), subresource)
        return target.decode(await self.request("PUT", path, encode(obj), target.write_query))  # type: ignore[no-any-return]

    async def update_status(self, obj: Obj) -> Obj:
        return await self.update(obj, "status")

    async def apply(
        self,
        obj: Obj,
        namespace: str = "",
        manager: str = "tiphys",
        force: bool = False,
        subresource: str = "",
    ) -> Obj:
        """Server-side apply of `obj` as field manager `manager`. Raises StatusError 409 when another manager has a field
        of it and `force` is not given. A dictionary says exactly what is applied; of a struct, its set fields are."""
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
        """`media` defaults to a strategic merge for struct types, and to a merge patch for dictionaries, since custom
        resources have no strategic one."""
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
        """Deletes the object of that name. A whole manifest as `kind` names itself."""
        options = DeleteOptions(grace_period_seconds=grace, propagation_policy=propagation)
        if uid or revision:
            from tiphys.api.meta_v1 import Preconditions

            options.preconditions = Preconditions(uid=uid, resource_version=revision)
        target = await self._kinds.find(kind)
        path = target.object_path(namespace or namespace_of(kind), name or name_of(kind))
        await self.request("DELETE", path, encode(options))

    async def post(
        self, resource: Resource, namespace: str, name: str, subresource: str, obj: Struct
    ) -> bytes:
        """POST to a subresource: binding, eviction, token."""
        return await self.request("POST", resource.path(namespace, name, subresource), encode(obj))


def _query(**items: str) -> dict[str, str]:
    return {name: value for name, value in items.items() if value}


def _status(data: bytes, code: int) -> Status:
    try:
        status = decode(data, Status)
        if status.kind == "Status" and status.code:
            return status
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    return Status(
        status="Failure",
        code=code,
        reason="Unknown",
        message=data[:500].decode(errors="replace") or f"HTTP {code}",
    )
