"""WebSocket on the client's side, SPDY on the runtime's: what joins them for exec, attach and
port-forward.

A runtime's streaming server speaks SPDY and an older WebSocket protocol. A client that speaks one
of those is joined to it byte for byte; the newer WebSocket protocol, which can close stdin, is
translated to SPDY.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import WSMessage, WSMsgType, web

from tiphys.client.tasks import TaskGroup
from tiphys.client.upgrade import request_head, splice
from tiphys.machinery.spdy import SPDYClient
from tiphys.node.runtime import RuntimeFault, Streams

V5 = "v5.channel.k8s.io"
_V4 = "v4.channel.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
_PORT_FORWARD = "portforward.k8s.io"

# Channels of the WebSocket protocol, and the SPDY streams that they are.
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
_STREAM_TYPES = ("stdin", "stdout", "stderr", "error", "resize")
_TO_CLIENT = (STDOUT, STDERR, ERROR)
_CLOSE = 255  # a frame of this channel closes the channel that its second byte names

_SUCCESS = b'{"metadata":{},"status":"Success"}'
_LONGEST_MESSAGE = 16 << 20  # bytes
_BLOCK = 65536


def offers(request: web.BaseRequest, protocol: str) -> bool:
    """Whether a client wants to upgrade to a WebSocket and speaks a protocol."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return False
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    return protocol in [name.strip() for name in offered]


def channels_of(streams: Streams) -> list[int]:
    """The channels between a client and a command with these streams."""
    channels = [ERROR]
    if streams.stdin:
        channels.append(STDIN)
    if streams.stdout:
        channels.append(STDOUT)
    if streams.stderr and not streams.tty:
        channels.append(STDERR)
    if streams.tty:
        channels.append(RESIZE)
    return channels


async def join(request: web.BaseRequest, url: str) -> web.StreamResponse:
    """Hands the connection over to the runtime's streaming server, byte for byte."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request_head(request.method, _target(url), parts.netloc, request.headers))
    await splice(request, reader, writer)
    return web.StreamResponse()


async def tunnel(request: web.BaseRequest, url: str, tasks: TaskGroup) -> web.StreamResponse:
    """Carries SPDY within a WebSocket, as kubectl port-forward has it."""
    socket = web.WebSocketResponse(protocols=(TUNNEL,), max_msg_size=_LONGEST_MESSAGE)
    await socket.prepare(request)
    reader, writer = await _upgrade_to_spdy(url, _PORT_FORWARD)
    answering = tasks.start(_carry_back(reader, socket), "port-forward")
    try:
        async for message in socket:
            if payload := _payload(message):
                writer.write(payload)
                await writer.drain()
    except ConnectionError:
        pass
    finally:
        answering.cancel()
        writer.close()
    return socket


async def _carry_back(reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_BLOCK):
            await socket.send_bytes(data)
        await socket.close()


async def translate(
    request: web.BaseRequest, url: str, channels: Sequence[int], tasks: TaskGroup
) -> web.StreamResponse:
    """WebSocket v5 on one side, SPDY on the other: a channel is a stream."""
    socket = web.WebSocketResponse(protocols=(V5,), heartbeat=None, max_msg_size=_LONGEST_MESSAGE)
    await socket.prepare(request)
    try:
        reader, writer = await _upgrade_to_spdy(url, _V4)
    except (RuntimeFault, OSError) as error:
        await _send_failure(socket, str(error))
        return socket
    translation = _Translation(socket, reader, writer, channels)
    answering = tasks.start(translation.answer(), "exec-output")
    try:
        async for message in socket:
            await translation.send(_payload(message))
    except ConnectionError:
        pass
    finally:
        answering.cancel()
        writer.close()
    return socket


class _Translation:
    """One client's command: `channels` of its WebSocket, each a stream of the SPDY connection."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        channels: Sequence[int],
    ) -> None:
        self._socket = socket
        self._reader = reader
        self._writer = writer
        self._spdy = SPDYClient()
        self._streams: dict[int, int] = {}  # channel -> stream
        for channel in channels:
            stream, frame = self._spdy.open({"streamType": _STREAM_TYPES[channel]})
            self._streams[channel] = stream
            writer.write(frame)

    async def send(self, payload: bytes) -> None:
        """What the client sent: the channel's number and its bytes. Raises ConnectionError."""
        if len(payload) < 2:
            return
        channel = payload[0]
        if channel == _CLOSE and payload[1] in self._streams:
            stream = self._streams[payload[1]]
            self._writer.write(self._spdy.data(stream, b"", end=True))
        elif channel in self._streams:
            self._writer.write(self._spdy.data(self._streams[channel], payload[1:]))
            await self._writer.drain()

    async def answer(self) -> None:
        """Sends the client what the command writes, and how it ended, until all of that has
        ended."""
        channels = {stream: channel for channel, stream in self._streams.items()}
        open_channels = set(_TO_CLIENT) & self._streams.keys()
        has_result = False
        with contextlib.suppress(ConnectionError):
            while open_channels and (data := await self._reader.read(_BLOCK)):
                for event in self._spdy.feed(data):
                    channel = channels.get(event.stream, -1)
                    if event.kind == "data" and channel in _TO_CLIENT:
                        has_result = has_result or channel == ERROR
                        await self._socket.send_bytes(bytes([channel]) + event.data)
                    elif event.kind in ("end", "reset"):
                        open_channels.discard(channel)
                    elif event.kind == "ping":
                        self._writer.write(self._spdy.pong(event.data))
            if not has_result:
                await self._socket.send_bytes(bytes([ERROR]) + _SUCCESS)
            await self._socket.close()


async def _upgrade_to_spdy(
    url: str, protocol: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises RuntimeFault, OSError."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "SPDY/3.1",
        "X-Stream-Protocol-Version": protocol,
        "Content-Length": "0",
    }
    writer.write(request_head("POST", _target(url), parts.netloc, headers))
    head = await reader.readuntil(b"\r\n\r\n")
    status_line = head.split(b"\r\n")[0]
    if b" 101 " not in status_line:
        writer.close()
        raise RuntimeFault("Upgrade", status_line.decode(errors="replace"))
    return reader, writer


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


async def _send_failure(socket: web.WebSocketResponse, message: str) -> None:
    status = {
        "metadata": {},
        "status": "Failure",
        "reason": "InternalError",
        "message": message,
        "code": 500,
    }
    await socket.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
    await socket.close()


def _payload(message: WSMessage) -> bytes:
    """The bytes of a frame. As upstream, also those of text frames: the Python client writes stdin
    in such."""
    if message.type == WSMsgType.TEXT:
        return str(message.data).encode()
    return bytes(message.data) if message.type == WSMsgType.BINARY else b""
