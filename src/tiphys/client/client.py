"""Typed calls to an API server, one method for each verb."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import aiohttp
import msgspec

from tiphys.api.base import Struct, decode, decoder, encode
from tiphys.api.catalog import Resource, resource_of
from tiphys.api.meta_v1 import DeleteOptions, ListMeta, Status
from tiphys.client.config import Config
from tiphys.machinery.errors import StatusError

T = TypeVar("T", bound=Struct)

MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

# What is written from our types has no field that the server does not know: it need not look for any.
_TYPED = {"fieldValidation": "Ignore"}

_IN_FLIGHT = 64  # requests of one client at a time: more would only wait at the server, which refuses what it cannot queue
_ATTEMPTS = 10
_BUSY = (429, 500, 502, 503, 504)

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Unreachable(Exception):
    """The server did not answer."""


@dataclass(slots=True)
class Page(Generic[T]):
    """A list as it stood at `revision`; `token` continues it."""

    items: list[T]
    revision: str
    token: str = ""


@dataclass(slots=True)
class WatchEvent(Generic[T]):
    """`kind` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    kind: str
    obj: T


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
                        later = answer.headers.get("Retry-After", "") if answer.status in _BUSY else ""
                    if not later.isdigit():
                        raise refusal
                    await asyncio.sleep(int(later) * random.uniform(1.0, 1.5))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if refusal is None:
                raise Unreachable(f"{method} {path}: {type(error).__name__}: {error}") from None
        assert refusal is not None
        raise refusal

    # --- reading ---

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        resource = resource_of(kind)
        return decode(await self.request("GET", resource.path(namespace, name)), kind)

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
    ) -> Page[T]:
        """A page of objects; with `resource`, the metadata alone of any resource (kind: PartialObjectMetadata)."""
        query = _query(labelSelector=labels, fieldSelector=fields, limit=str(limit or ""), resourceVersion=revision)
        query |= {"continue": token} if token else {}
        path = (resource or resource_of(kind)).path(namespace)
        data = await self.request("GET", path, query=query, accept=METADATA_LIST if resource else "application/json")
        page, read = _list.decode(data), decoder(kind).decode
        meta = page.metadata
        return Page([read(item) for item in page.items], meta.resource_version, meta.continue_)

    async def watch(
        self,
        kind: type[T],
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        revision: str = "",
        timeout: int = 0,
        resource: Resource | None = None,
    ) -> AsyncIterator[WatchEvent[T]]:
        """Events after `revision` until the server ends the watch. Raises StatusError (410: list again)."""
        query = _query(
            watch="1", allowWatchBookmarks="true", labelSelector=labels, fieldSelector=fields, resourceVersion=revision,
            timeoutSeconds=str(timeout or ""),
        )  # fmt: skip
        read = decoder(kind).decode
        url = self.config.server + (resource or resource_of(kind)).path(namespace)
        headers = self._headers(accept=METADATA if resource else "application/json")
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

    # --- writing ---

    async def create(self, obj: T, namespace: str = "") -> T:
        kind = type(obj)
        where = namespace or getattr(getattr(obj, "metadata", None), "namespace", "")
        return decode(await self.request("POST", resource_of(kind).path(where), encode(obj), _TYPED), kind)

    async def update(self, obj: T, subresource: str = "") -> T:
        kind, meta = type(obj), obj.metadata  # type: ignore[attr-defined]
        path = resource_of(kind).path(meta.namespace, meta.name, subresource)
        return decode(await self.request("PUT", path, encode(obj), _TYPED), kind)

    async def update_status(self, obj: T) -> T:
        return await self.update(obj, "status")

    async def patch(
        self, kind: type[T], name: str, patch: Any, namespace: str = "", subresource: str = "", media: str = STRATEGIC
    ) -> T:
        path = resource_of(kind).path(namespace, name, subresource)
        return decode(await self.request("PATCH", path, encode(patch), _TYPED, content=media), kind)

    async def delete(
        self,
        kind: type[Struct],
        name: str,
        namespace: str = "",
        grace: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        revision: str | None = None,
    ) -> None:
        options = DeleteOptions(grace_period_seconds=grace, propagation_policy=propagation)
        if uid or revision:
            from tiphys.api.meta_v1 import Preconditions

            options.preconditions = Preconditions(uid=uid, resource_version=revision)
        await self.request("DELETE", resource_of(kind).path(namespace, name), encode(options))

    async def post(self, resource: Resource, namespace: str, name: str, subresource: str, obj: Struct) -> bytes:
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
        status="Failure", code=code, reason="Unknown", message=data[:500].decode(errors="replace") or f"HTTP {code}"
    )
