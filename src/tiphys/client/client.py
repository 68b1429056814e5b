"""Calls to an API server, one method for each verb.

Objects are structs of `tiphys.api` or dictionaries as YAML gives them, custom resources among them
(`kinds`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload
from urllib.parse import urlsplit

import aiohttp
import msgspec
from prometheus_client import CollectorRegistry

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
from tiphys.machinery.errors import StatusError

T = TypeVar("T", bound=Struct)
Obj = TypeVar("Obj", bound=Struct | Mapping[str, Any])  # an object in either form

JSON = "application/json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

_IN_FLIGHT = 64  # requests of one client at a time: more would only wait at the server
_ATTEMPTS = 10  # of one request; client-go's with.retry makes as many
_BUSY = (429, 500, 502, 503, 504)  # answers whose Retry-After counts
_SILENCE = 150.0  # seconds without a byte until a watch is given up: bookmarks come every minute
_RETIRED_FOR = 900.0  # seconds: no watch is longer (servers end them after ten minutes)
_TOKEN_LASTS = 60.0  # seconds after which a token file is read again, as by client-go


class Unreachable(Exception):
    """The server did not answer: whether it has done what was asked is unknown."""


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


class _Token(NamedTuple):
    """What a token file contained, and when (monotonic) it was read."""

    text: str
    read: float


class _Retired(NamedTuple):
    """Connections that take no new requests, and since when (monotonic)."""

    session: aiohttp.ClientSession
    since: float


@dataclass(slots=True)
class Known:
    """The last answer to a request that is made again and again: see `Client.request`.

    unchanged: whether the answer is still `data`, so that nothing of it was sent again
    """

    etag: str = ""
    data: bytes = b""
    unchanged: bool = False

    def take(self, status: int, etag: str, data: bytes) -> bytes:
        self.unchanged = status == 304
        if not self.unchanged:
            self.etag = etag
            self.data = data if etag else b""
        return self.data if self.unchanged else data


class Client:
    """Calls as one identity. Close it when done, or use it as a context manager.

    agent:   the User-Agent, by which the server's log and metrics tell clients apart
    metrics: of the component that it is the client of

    Every call raises StatusError as the server answers, and Unreachable when it does not answer
    within a minute.
    """

    def __init__(
        self, config: Config, agent: str = "tiphys", metrics: ComponentMetrics | None = None
    ) -> None:
        self.config = config
        self.metrics = metrics or ComponentMetrics(CollectorRegistry())
        self._host = urlsplit(config.server).netloc
        self._agent = agent
        self._session: aiohttp.ClientSession | None = None
        self._retired: list[_Retired] = []
        self._responses: set[aiohttp.ClientResponse] = set()  # whose bodies are being read
        self._token: _Token | None = None
        self._seats = asyncio.Semaphore(_IN_FLIGHT)
        self._kinds = Kinds(lambda path: self.request("GET", path))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.drop_connections()

    async def drop_connections(self) -> None:
        """Ends every connection, those of watches too, and what waits on them gets Unreachable.

        For who suspects that they lead nowhere (the machine slept): the kernel would notice only
        minutes later. The next call opens new ones.
        """
        # aiohttp forgets who reads from a connection that it closes itself: such a reader would
        # wait for ever.
        for response in self._responses:
            response.content.set_exception(
                aiohttp.ClientConnectionError("the connection was dropped")
            )
        self._retire_session()
        await self._close_retired(0.0)

    def _retire_session(self) -> None:
        """Has new requests open new connections: a server refuses requests on a connection whose
        certificate has ended since. What is under way on the old ones may finish."""
        if self._session is not None:
            self._retired.append(_Retired(self._session, time.monotonic()))
            self._session = None

    async def _close_retired(self, grace: float) -> None:
        """Closes the sessions that were retired more than `grace` seconds ago."""
        now = time.monotonic()
        for retired in [one for one in self._retired if now - one.since >= grace]:
            self._retired.remove(retired)
            await retired.session.close()

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, url: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response whose body can be read. Raises what aiohttp raises."""
        if self._retired:
            await self._close_retired(_RETIRED_FOR)
        began = time.monotonic()
        try:
            opening = await self._http().request(method, url, **options)
        except (aiohttp.ClientError, OSError):
            self.metrics.not_answered(method, self._host)
            raise
        async with opening as response:
            seconds = time.monotonic() - began
            self.metrics.answered(method, self._host, response.status, seconds)
            self._responses.add(response)
            try:
                yield response
            finally:
                self._responses.discard(response)

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            is_tls = self.config.server.startswith("https")
            tls = self.config.ssl_context(self._retire_session) if is_tls else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                headers={"User-Agent": self._agent},
                read_bufsize=1 << 20,
            )
        return self._session

    def _headers(self, content: str = "", accept: str = JSON) -> dict[str, str]:
        headers = {"Accept": accept}
        if content:
            headers["Content-Type"] = content
        token = self.config.token
        if self.config.token_file is not None:
            token = self._read_token(self.config.token_file)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _read_token(self, file: Path) -> str:
        """The token of a file that is replaced before the token in it expires."""
        now = time.monotonic()
        if self._token is None or now - self._token.read > _TOKEN_LASTS:
            self._token = _Token(file.read_text().strip(), now)
        return self._token.text

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        query: dict[str, str] | None = None,
        content: str = JSON,
        timeout: float = 60.0,
        accept: str = JSON,
        known: Known | None = None,
    ) -> bytes:
        """The raw bytes of an answer.

        path:    from the server's root, such as ``/api/v1/namespaces``
        content: media type of the body
        timeout: seconds for everything. When the server is busy and says when to come again
                 (Retry-After), it is asked again then, as often as fits, at most ten times
        accept:  media types of the answer
        known:   the last answer: a server that gave it an ETag need not send it again

        Raises StatusError as the server answers, Unreachable when it does not answer.
        """
        refusal: StatusError | None = None
        headers = self._headers(content if body else "", accept)
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        try:
            async with asyncio.timeout(timeout), self._seats:
                for _ in range(_ATTEMPTS):
                    async with self._response(
                        method,
                        self.config.server + path,
                        data=body,
                        params=query,
                        headers=headers,
                    ) as response:
                        data = await response.read()
                    if response.status < 400:
                        if known is None:
                            return data
                        return known.take(response.status, response.headers.get("ETag", ""), data)
                    refusal = StatusError(_status(data, response.status))
                    retry_after = response.headers.get("Retry-After", "")
                    if response.status not in _BUSY or not retry_after.isdigit():
                        raise refusal
                    # Not all at once: many are told the same time.
                    await asyncio.sleep(int(retry_after) * random.uniform(1.0, 1.5))
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
        url = self.config.server + collection.path
        headers = self._headers(accept=METADATA if kind is PartialObjectMetadata else JSON)
        try:
            async with self._response("GET", url, params=query, headers=headers) as response:
                if response.status >= 400:
                    raise StatusError(_status(await response.read(), response.status))
                rest = b""
                async for chunk in _chunks(response):
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event = _event.decode(line)
                        if event.type == "ERROR":
                            raise StatusError(decode(bytes(event.object), Status))
                        yield WatchEvent(event.type, collection.decode(event.object))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"watch {url}: {type(error).__name__}: {error}") from None

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


def _status(data: bytes, code: int) -> Status:
    """The Status of an answer; one is made up for an answer that is none, as of a proxy between us
    and the server."""
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


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The bytes of a watch as they come. Raises TimeoutError when none come for `_SILENCE`.

    A connection that ended was seen to leave its reader waiting, without an error: the agents of a
    busy machine heard of no pod any more (aiohttp 3.14).
    """
    while True:
        async with asyncio.timeout(_SILENCE):
            chunk = await response.content.readany()
        if not chunk:
            return
        yield chunk
