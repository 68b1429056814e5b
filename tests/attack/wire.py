"""Requests as they are written, without a client that tidies them up."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tiphys.client.client import Client


@dataclass(frozen=True)
class Answer:
    """`headers` have lower-case names; of several with one name the last is there."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def _opened(
    client: Client, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(client.config.server)
    reader, writer = await asyncio.open_connection(
        where.hostname, where.port, ssl=client.config.ssl_context(), limit=1 << 24
    )
    sent = {
        "Host": where.netloc,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Content-Type": "application/json",
    }
    if client.config.token:
        sent["Authorization"] = f"Bearer {client.config.token}"
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in {**sent, **headers}.items()),
    ]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return reader, writer


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}


async def ask(
    client: Client,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: Any = None,
    seconds: float = 10,
) -> Answer:
    """The answer to a request whose path and headers are sent exactly so, with the client's
    identity."""
    data = json.dumps(body).encode() if body is not None else b""
    async with asyncio.timeout(seconds):
        reader, writer = await _opened(client, method, path, headers or {}, data)
        try:
            status, names = await _head(reader)
            if "chunked" in names.get("transfer-encoding", ""):
                content = b"".join([chunk async for chunk in _chunks(reader)])
            elif method == "HEAD":
                content = b""
            else:
                content = await reader.readexactly(int(names.get("content-length", "0")))
            return Answer(status, names, content)
        finally:
            writer.close()


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:-2]


@contextlib.asynccontextmanager
async def events(client: Client, path: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The events of a watch, from when it has begun."""
    async with asyncio.timeout(20):
        reader, writer = await _opened(client, "GET", path, {}, b"")
        try:
            status, _ = await _head(reader)
            assert status == 200, status
            yield _lines(reader)
        finally:
            writer.close()


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    async for chunk in _chunks(reader):
        for line in chunk.splitlines():
            yield json.loads(line)
