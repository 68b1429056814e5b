"""Connections of the attacker: pipelines of whole requests, and strays that begin one and stay."""

from __future__ import annotations

import asyncio
import collections
import re
import ssl
from dataclasses import dataclass

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.I)
_HANDSHAKE = 600.0  # seconds: whether a handshake is late, the server's own limit says
_STRAYS = 24  # connections with half a request that are open at a time
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Answer:
    """`last`: whether the server ends the connection after it."""

    code: int
    body: bytes
    last: bool


class NoHTTP(Exception):
    """What the server sent is no answer."""


async def connect(port: int, tls: ssl.SSLContext) -> Connection:
    return await asyncio.open_connection(
        "127.0.0.1",
        port,
        ssl=tls,
        server_hostname="localhost",
        limit=1 << 26,
        ssl_handshake_timeout=_HANDSHAKE,
    )


async def read_answer(reader: asyncio.StreamReader, bodiless: bool = False) -> Answer:
    """One answer; `bodiless`: to HEAD."""
    head = await reader.readuntil(b"\r\n\r\n")
    found = _STATUS.match(head)
    if found is None:
        raise NoHTTP(f"no answer of HTTP: {head[:100]!r}")
    code = int(found[1])
    last = head.startswith(b"HTTP/1.0") or b"\r\nConnection: close" in head
    body = b"" if bodiless or code in (204, 304) else await _body(reader, head)
    return Answer(code, body, last)


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    length = _LENGTH.search(head)
    if length is not None:
        return await reader.readexactly(int(length[1]))
    if b"chunked" not in head.lower():
        return b""
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body


class Strays:
    """Connections with what is no whole request. They stay open until newer ones need their
    place, so the server has them beside everything else."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        self._port = port
        self._tls = tls
        self._open: collections.deque[Connection] = collections.deque()

    async def send(self, data: bytes) -> None:
        if len(self._open) >= _STRAYS:
            self._open.popleft()[1].transport.abort()
        reader, writer = await connect(self._port, self._tls)
        writer.write(data)
        self._open.append((reader, writer))

    def close(self) -> None:
        while self._open:
            self._open.popleft()[1].transport.abort()
