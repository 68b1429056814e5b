"""Joining an upgraded HTTP connection (WebSocket or SPDY) to another one, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from tiphys.client.tasks import TaskGroup

_BUFFERED = 1 << 20  # bytes on the way to one side before nothing is read from the other
_CHUNK = 1 << 16
_OURS_ALONE = ("host", "authorization")  # headers that are between the client and us


class _ClientSide:
    """The client's half of a tunnel, fed by aiohttp's connection in place of its HTTP parser."""

    def __init__(self, writer: asyncio.StreamWriter, transport: Any, tasks: TaskGroup) -> None:
        self._writer = writer
        self._transport = transport
        self._tasks = tasks
        self._paused = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._writer.is_closing():
            return False, b""
        self._writer.write(bytes(data))
        if self._writer.transport.get_write_buffer_size() > _BUFFERED and not self._paused:
            self._paused = True
            self._transport.pause_reading()
            self._tasks.start(self._resume_when_drained(), "drain")
        return False, b""

    async def _resume_when_drained(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        self._paused = False
        with contextlib.suppress(RuntimeError):  # the client is gone
            self._transport.resume_reading()

    def feed_eof(self) -> None:
        self._writer.close()

    def set_exception(self, *_: Any) -> None:
        self.feed_eof()


def request_head(method: str, target: str, host: str, headers: Mapping[str, str]) -> bytes:
    """The head of the request to send on, without the headers that are between the client and us alone."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{k}: {v}" for k, v in headers.items() if k.lower() not in _OURS_ALONE]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def splice(request: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies both ways until either side ends.

    `request` is aiohttp's; nothing may have been answered yet. `reader` and `writer` are the other connection.
    """
    protocol = request.protocol
    transport = request.transport
    tasks = TaskGroup("tunnel")
    protocol.set_parser(_ClientSide(writer, transport, tasks))
    try:
        while chunk := await reader.read(_CHUNK):
            if transport.is_closing():
                break
            transport.write(chunk)
            await protocol._drain_helper()
    except ConnectionError:
        pass
    finally:
        writer.close()
        if not transport.is_closing():
            transport.close()
        await tasks.stop()
