"""Requests to an API server as one identity: connections, credentials, and when to ask again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
from prometheus_client import CollectorRegistry

from tiphys.api.base import decode
from tiphys.api.meta_v1 import Status
from tiphys.client import readiness
from tiphys.client.config import Config
from tiphys.client.metrics import ComponentMetrics
from tiphys.client.readiness import Readiness
from tiphys.client.servers import Servers, watchful_socket
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError

JSON = "application/json"

IN_FLIGHT = 64  # more would only wait at the server
_ATTEMPTS = 10  # of one request; client-go's with.retry makes as many
_BUSY = (429, 500, 502, 503, 504)  # answers whose Retry-After counts
_SILENCE = 150.0  # seconds without a byte until a watch is given up: bookmarks come every minute
_RETIRED_FOR = 900.0  # seconds: no watch is longer (servers end them after ten minutes)
_TOKEN_LASTS = 60.0  # seconds after which a token file is read again, as by client-go
_CONNECTED_WITHIN = 10.0  # seconds that a connection may take to be made
_OTHER_AFTER = 3.0  # seconds of the same, where another server can be tried
_LEAST_PAUSE = 0.1  # seconds until a request is made of another server
# Errors before anything of a request was sent, so that it may be made of another server.
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class Unreachable(Exception):
    """The server did not answer: whether it has done what was asked is unknown."""


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


class Transport:
    """The bytes of requests and answers. Close it when done, or use it as a context manager.

    agent:   the User-Agent, by which the server's log and metrics tell clients apart
    metrics: of the component that it is the client of
    in_flight: requests that are under way at a time; others wait for them
    """

    def __init__(
        self,
        config: Config,
        agent: str = "tiphys",
        metrics: ComponentMetrics | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self.config = config
        self.metrics = metrics or ComponentMetrics(CollectorRegistry())
        self._servers = Servers(config.server, config.servers)
        self._agent = agent
        self._session: aiohttp.ClientSession | None = None
        self._retired: list[_Retired] = []
        self._responses: set[aiohttp.ClientResponse] = set()  # whose bodies are being read
        self._token: _Token | None = None
        self._seats = asyncio.Semaphore(in_flight)
        self._answered_at = time.monotonic()
        self._tasks = TaskGroup(agent)
        self._readiness: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._tasks.stop()
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

    async def drop_if_silent(self, seconds: float) -> None:
        """Drops the connections if nothing was answered for so long. One request that waits says
        little: the server may be busy, and all that is under way would be sent again."""
        if time.monotonic() - self._answered_at >= seconds:
            self._answered_at = time.monotonic()  # others who wait need not do it again
            await self.drop_connections()

    def _retire_session(self) -> None:
        """Has new requests open new connections: a server refuses requests on a connection whose
        certificate has ended since. What is under way on the old ones may finish."""
        if self._session is not None:
            self._retired.append(_Retired(self._session, time.monotonic()))
            self._session = None

    async def _close_retired(self, grace: float) -> None:
        """Closes the sessions that were retired more than `grace` seconds ago."""
        now = time.monotonic()
        for retired in [candidate for candidate in self._retired if now - candidate.since >= grace]:
            self._retired.remove(retired)
            await retired.session.close()

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response whose body can be read, of the server that is asked now. Raises what aiohttp
        raises; the next request is made of another server then."""
        if self._retired:
            await self._close_retired(_RETIRED_FOR)
        began = time.monotonic()
        server = self._servers.current
        host = urlsplit(server).netloc
        try:
            opening = await self._http().request(method, server + path, **options)
        except (aiohttp.ClientError, OSError):
            self.metrics.not_answered(method, host)
            self._servers.is_away(server)
            raise
        async with opening as response:
            self._answered_at = time.monotonic()
            seconds = self._answered_at - began
            self.metrics.answered(method, host, response.status, seconds)
            self._responses.add(response)
            try:
                yield response
            except (aiohttp.ClientError, OSError):
                self._servers.is_away(server)
                raise
            finally:
                self._responses.discard(response)

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            is_tls = self.config.server.startswith("https")
            tls = self.config.ssl_context(self._retire_session) if is_tls else True
            connector = aiohttp.TCPConnector(
                ssl=tls, limit=0, keepalive_timeout=60, socket_factory=watchful_socket
            )
            connected_within = _OTHER_AFTER if self._servers.are_many else _CONNECTED_WITHIN
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connected_within),
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
        timeout: seconds for everything, once it is under way, see `in_flight`. When the server
                 is busy and says when to come again (Retry-After), it is asked again then, as
                 often as fits, at most ten times
        accept:  media types of the answer
        known:   the last answer: a server that gave it an ETag need not send it again

        Raises StatusError as the server answers, Unreachable when it does not answer.
        """
        refusal: StatusError | None = None
        headers = self._headers(content if body else "", accept)
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        try:
            async with self._seats, asyncio.timeout(timeout):
                for _ in range(_ATTEMPTS):
                    async with self._answer(
                        method, path, data=body, params=query, headers=headers
                    ) as response:
                        data = await response.read()
                    if response.status < 400:
                        if known is None:
                            return data
                        return known.take(response.status, response.headers.get("ETag", ""), data)
                    refusal = StatusError(_status(data, response.status))
                    retry_after = response.headers.get("Retry-After", "")
                    if response.status not in _BUSY or not retry_after.isdigit():
                        break
                    # With jitter: many clients get the same Retry-After.
                    await asyncio.sleep(int(retry_after) * random.uniform(1.0, 1.5))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self._servers.is_away(self._servers.current)
            if refusal is None:
                raise Unreachable(f"{method} {path}: {type(error).__name__}: {error}") from None
        assert refusal is not None
        try:
            raise refusal
        finally:
            del refusal  # which refers to this frame by its traceback: a cycle, for each answer

    @contextlib.asynccontextmanager
    async def _answer(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of the first server, from the one that is asked now on, that can be connected
        to. What was sent is not sent to another: the first may have done it. Raises as `_response`
        does, once none is left."""
        if not self._servers.are_many:  # most clients: without what trying another one takes
            async with self._response(method, path, **options) as response:
                yield response
            return
        if self._readiness is None:
            looks = Readiness(
                self._servers, self._is_ready, self.drop_connections, self._retire_session
            )
            self._readiness = self._tasks.start(looks.run(), "readiness")
        async with contextlib.AsyncExitStack() as stack:
            for tried in itertools.count(1):
                try:
                    opening = self._response(method, path, **options)
                    response = await stack.enter_async_context(opening)
                    break
                except _NOT_SENT:
                    if tried >= self._servers.count:
                        raise
                    await asyncio.sleep(_LEAST_PAUSE)
            yield response

    @property
    def asks_its_own(self) -> bool:
        """Whether the server of the configuration is asked, and not another one in its place."""
        return self._servers.current == self._servers.preferred

    async def _is_ready(self, server: str) -> bool | None:
        """What a server says of itself; None when it does not answer."""
        try:
            async with (
                asyncio.timeout(readiness.WITHIN),
                self._http().get(f"{server}/readyz", headers=self._headers()) as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def lines(
        self, path: str, query: dict[str, str], accept: str
    ) -> AsyncGenerator[list[bytes], None]:
        """The lines of an answer as they come, some at a time: of a watch.

        Raises StatusError as the server answers and, when the connection breaks, Unreachable.
        """
        headers = self._headers(accept=accept)
        try:
            async with self._answer("GET", path, params=query, headers=headers) as response:
                if response.status >= 400:
                    raise StatusError(_status(await response.read(), response.status))
                rest = b""
                async for chunk in _chunks(response):
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield lines
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"watch {path}: {type(error).__name__}: {error}") from None


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
