"""How a watch's events go to its client: as chunks of an answer that does not end, or, for clients
in browsers, each as a message of a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Protocol

from aiohttp import web

from tiphys.apiserver.http.openwatches import OpenWatch, OpenWatches
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.proxying.forwarding import TOKEN_PROTOCOL
from tiphys.client.websockets import framed, upgrade, wants_socket

_LONGEST_MESSAGE = 4096  # bytes of a client's message, which is discarded
_LENGTH = 4  # bytes before an event in protobuf, which a message does without


class Wire(Protocol):
    """`transport` is there once it is open; `takes_chunks`: what is put may be written to it as a
    chunk."""

    takes_chunks: bool
    transport: Any

    async def open(self) -> web.StreamResponse:
        """Starts the answer. Raises StatusError, ConnectionError."""
        ...

    def put(self, events: list[bytes]) -> None:
        """Sends events at once, whether the client reads or not."""
        ...

    async def write(self, events: list[bytes]) -> None:
        """Sends events as fast as the client reads. Raises ConnectionError."""
        ...

    async def end(self) -> None:
        """Ends the answer. Raises ConnectionError."""
        ...


class Chunks:
    """A chunked answer."""

    takes_chunks = True
    transport: Any = None

    def __init__(self, call: Call, media_type: str) -> None:
        self._call = call
        self._response = web.StreamResponse(
            headers={"Content-Type": media_type, "Cache-Control": "no-cache, private"}
        )

    async def open(self) -> web.StreamResponse:
        response = self._response
        self._call.describe(response.headers)
        response.enable_chunked_encoding()
        writer: Any = await response.prepare(self._call.http)
        # the client must not wait for the first event to learn that it watches
        writer.send_headers()
        self.transport = self._call.http.transport
        return response

    def put(self, events: list[bytes]) -> None:
        body = b"".join(events)
        self.transport.write(b"%x\r\n%b\r\n" % (len(body), body))

    async def write(self, events: list[bytes]) -> None:
        await self._response.write(b"".join(events))

    async def end(self) -> None:
        await self._response.write_eof()


class Messages:
    """A WebSocket. The client's messages are discarded; the watch ends when it disconnects."""

    takes_chunks = False
    transport: Any = None

    def __init__(self, call: Call, binary: bool, watch: OpenWatch, watches: OpenWatches) -> None:
        self._call = call
        self._binary = binary
        self._watch = watch
        self._watches = watches
        header = call.http.headers.get("Sec-WebSocket-Protocol", "")
        asked = [name.strip() for name in header.split(",")]
        named = [name for name in asked if name and not name.startswith(TOKEN_PROTOCOL)]
        self._socket = web.WebSocketResponse(
            protocols=named, compress=False, max_msg_size=_LONGEST_MESSAGE
        )

    async def open(self) -> web.StreamResponse:
        self._call.describe(self._socket.headers)
        await upgrade(self._socket, self._call.http)
        self.transport = self._call.http.transport
        self._watches.tasks.start(self._listen(), "watch-socket")
        return self._socket

    async def _listen(self) -> None:
        async for _ in self._socket:
            pass
        self._watches.end(self._watch)

    def put(self, events: list[bytes]) -> None:
        cut = _LENGTH if self._binary else 0
        self.transport.write(b"".join(framed(event[cut:], self._binary) for event in events))

    async def write(self, events: list[bytes]) -> None:
        self.put(events)
        await asyncio.shield(self._call.http.protocol._drain_helper())

    async def end(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is closed already
            await self._socket.close()


def wire_of(
    call: Call, media_type: str, binary: bool, watch: OpenWatch, watches: OpenWatches
) -> Wire:
    """The one that the client of a watch wants. `binary`: events are in protobuf."""
    if wants_socket(call.http):
        return Messages(call, binary, watch, watches)
    return Chunks(call, media_type)
