"""Joining an upgraded HTTP connection (WebSocket or SPDY) to another one, byte for byte.

The two are joined once the server behind has answered 101, and not before. Whatever else it answers
goes to the client, and both connections end: a client that is let through for one request must not
send another over a connection that carries our identity (CVE-2018-1002105).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from tiphys.client.tasks import TaskGroup

_BUFFERED = 1 << 20  # bytes on the way to one side before nothing is read from the other
_CHUNK = 1 << 16
_LONGEST_HEAD = 64 << 10  # bytes of an answer's head
_TIMEOUT = 30.0  # seconds for the head of an answer, and between parts of one that does not upgrade
_LONGEST_REFUSAL = 1 << 20  # bytes of an answer that neither upgrades nor says its length
_UNLIMITED = 1 << 62  # bytes
_OURS_ALONE = ("host", "authorization")  # headers between the client and us
_SWITCHING = b"101"
_STATUS = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9][ \r]")


class _ClientSide:
    """The client's half of a tunnel, fed by aiohttp's connection in place of its HTTP parser.

    What comes before `open` waits: it belongs to the protocol that the server behind has yet to
    agree to.
    """

    def __init__(self, writer: asyncio.StreamWriter, transport: Any, tasks: TaskGroup) -> None:
        self._writer = writer
        self._transport = transport
        self._tasks = tasks
        self._paused = False
        self._waiting: list[bytes] | None = []
        self._waits = 0  # bytes

    def open(self) -> None:
        """From now on the client's bytes go through, those that waited first."""
        assert self._waiting is not None
        for data in self._waiting:
            self._writer.write(data)
        self._waiting = None
        with contextlib.suppress(RuntimeError):
            self._transport.resume_reading()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._waiting is not None:
            self._waiting.append(bytes(data))
            self._waits += len(data)
            if self._waits > _LONGEST_HEAD:
                self._transport.pause_reading()
        elif not self._writer.is_closing():
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
    """The head of the request to send on, without the headers that are between the client and us
    alone."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{k}: {v}" for k, v in headers.items() if k.lower() not in _OURS_ALONE]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def is_upgrade(headers: Mapping[str, str]) -> bool:
    """Whether a request asks for another protocol on its connection."""
    wanted = headers.get("Connection", "").lower()
    return "upgrade" in wanted and bool(headers.get("Upgrade"))


async def splice(
    request: Any,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answers: Callable[[int], Awaitable[None]] | None = None,
) -> None:
    """Passes the answer on and, if it is 101, bytes both ways until either side ends.

    `request` is aiohttp's; nothing may have been answered yet. Its connection is closed at the end.
    `answers` gets the status before the client does.
    """
    protocol = request.protocol
    transport = request.transport
    tasks = TaskGroup("tunnel")
    client_side = _ClientSide(writer, transport, tasks)
    protocol.set_parser(client_side)
    try:
        head = await _head(reader)
        status = head.split(b" ", 2)[1:2]
        upgraded = status == [_SWITCHING]
        if answers is not None and status and status[0].isdigit():
            await answers(int(status[0]))
        if upgraded:
            transport.write(head)
            client_side.open()
            await _copy(reader, transport, protocol, None)
        else:
            transport.write(_closing(head))
            await _copy(reader, transport, protocol, _body(head))
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
        if not transport.is_closing():
            transport.close()
        await tasks.stop()


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The head of the answer, with its empty line. Raises ConnectionError for what is none."""
    try:
        async with asyncio.timeout(_TIMEOUT):
            head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ConnectionError("the server behind gave no answer") from error
    if len(head) > _LONGEST_HEAD or _STATUS.match(head) is None:
        raise ConnectionError("the server behind gave no answer")
    return head


async def _copy(
    reader: asyncio.StreamReader, transport: Any, protocol: Any, body: _Body | None
) -> None:
    """Bytes to the client: those of a `body`, or until either side ends where it is None."""
    left = _UNLIMITED if body is None else body.length
    while left > 0:
        async with asyncio.timeout(_TIMEOUT if body is not None else None):
            chunk = await reader.read(min(left, _CHUNK))
        if not chunk or transport.is_closing():
            break
        transport.write(chunk)
        await protocol._drain_helper()
        if body is None:
            continue
        left -= len(chunk)
        if body.is_chunked and chunk.endswith(b"0\r\n\r\n"):
            break


class _Body(NamedTuple):
    """The body of an answer that does not upgrade: its bytes, at most, and whether its last chunk
    ends it."""

    length: int
    is_chunked: bool


def _lines(head: bytes) -> list[tuple[bytes, bytes]]:
    """(name in lower case, the whole line) of each header."""
    lines = head[:-4].split(b"\r\n")[1:]
    return [(line.partition(b":")[0].strip().lower(), line) for line in lines]


def _closing(head: bytes) -> bytes:
    """The head, saying that the connection ends with this answer."""
    kept = [line for name, line in _lines(head) if name not in (b"connection", b"keep-alive")]
    return b"\r\n".join([head.split(b"\r\n")[0], *kept, b"Connection: close", b"", b""])


def _body(head: bytes) -> _Body:
    if head.split(b" ", 2)[1] in (b"204", b"304"):
        return _Body(0, is_chunked=False)
    for name, line in _lines(head):
        value = line.partition(b":")[2].strip()
        if name == b"content-length" and value.isdigit():
            return _Body(int(value), is_chunked=False)
        if name == b"transfer-encoding" and value.lower() == b"chunked":
            return _Body(_LONGEST_REFUSAL, is_chunked=True)
    return _Body(_LONGEST_REFUSAL, is_chunked=False)
