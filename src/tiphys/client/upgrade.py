"""Joining an upgraded HTTP connection (WebSocket or SPDY) to another one, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

_HIGH = 1 << 20


class _Half:
    """The client's half of a tunnel, fed by aiohttp's connection in place of its HTTP parser."""

    def __init__(self, writer: asyncio.StreamWriter, transport: Any) -> None:
        self._writer = writer
        self._transport = transport
        self._resume: asyncio.Task[None] | None = None

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if not self._writer.is_closing():
            self._writer.write(bytes(data))
            if self._writer.transport.get_write_buffer_size() > _HIGH and self._resume is None:
                self._transport.pause_reading()
                self._resume = asyncio.get_running_loop().create_task(
                    self._drain(), name="tunnel-drain"
                )
        return False, b""

    async def _drain(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        self._resume = None
        with contextlib.suppress(RuntimeError):
            self._transport.resume_reading()

    def feed_eof(self) -> None:
        self._writer.close()

    def set_exception(self, *_: Any) -> None:
        self.feed_eof()


def request_head(method: str, target: str, host: str, headers: Any) -> bytes:
    """The request to send on, less what is between the client and us alone."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{k}: {v}" for k, v in headers.items() if k.lower() not in ("host", "authorization")]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def splice(request: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Both ways until either side ends. `request` is aiohttp's; nothing may have been answered yet."""
    protocol, transport = request.protocol, request.transport
    protocol.set_parser(_Half(writer, transport))
    try:
        while chunk := await reader.read(65536):
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
