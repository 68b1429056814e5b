"""HTTP/1.1 as the front of a pod speaks it: one message at a time, from and to streams. Of nothing
but Python's own library, since it runs in pods.

A request is read as a whole, up to a limit; an answer is passed on as it comes, since models speak
long.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

LARGEST = 16 << 20  # bytes of a request: the router holds as many
_HEAD = 64 << 10
_PIECE = 64 << 10
_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"}
_FRAMING = {"content-length", "transfer-encoding"}
_CHUNK_SIZE = re.compile(b"[0-9A-Fa-f]{1,8}")


class Malformed(ValueError):
    """What is no message of HTTP/1.1. `status` is what its sender gets."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Head:
    """The first line's three words, and the header fields with their names as they came. What is
    said of connections concerns requests."""

    first: tuple[str, str, str]
    fields: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str:
        return next((value for key, value in self.fields if key.lower() == name), "")

    @property
    def keeps_alive(self) -> bool:
        """Whether another message may follow."""
        return "close" not in self.get("connection").lower() and not self.is_old

    @property
    def is_old(self) -> bool:
        """Whether its sender knows no chunks."""
        return self.first[2] != "HTTP/1.1"

    def encoded(self, *more: tuple[str, str]) -> bytes:
        """Without what belongs to one connection, or gives the body's length; with `more`."""
        named = {name.strip().lower() for name in self.get("connection").split(",")}
        kept = [
            (name, value)
            for name, value in self.fields
            if name.lower() not in _HOP | _FRAMING | named
        ]
        lines = [" ".join(self.first).rstrip()]
        lines += [f"{name}: {value}" for name, value in (*kept, *more)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """None at the end of the connection. Raises Malformed."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise Malformed("the head ends early") from None
        return None
    except asyncio.LimitOverrunError:
        raise Malformed("the head is too long", 431) from None
    lines = raw.decode("latin-1").split("\r\n")[:-2]
    words = lines[0].split(" ", 2)
    if len(words) < 2 or len(raw) > _HEAD:
        raise Malformed("no first line")
    head = Head((words[0], words[1], words[2] if len(words) > 2 else ""))
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\n" in line or "\r" in line:
            raise Malformed("a header field cannot be read")
        head.fields.append((name, value.strip()))
    return head


def length_of(head: Head) -> int | None:
    """The length of its body by its headers: None is "in chunks". Raises Malformed for what can be
    read in two ways, by which requests are smuggled."""
    lengths = {value for name, value in head.fields if name.lower() == "content-length"}
    coding = head.get("transfer-encoding").lower()
    if coding and (lengths or coding != "chunked"):
        raise Malformed("the length of the body is not clear")
    if coding:
        return None
    if len(lengths) > 1 or not all(one.isascii() and one.isdigit() for one in lengths):
        raise Malformed("the length of the body is not clear")
    return int(next(iter(lengths), "0"))


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """Raises Malformed, and IncompleteReadError where the connection ends."""
    length = length_of(head)
    if length is not None:
        if length > LARGEST:
            raise Malformed("the body is too large", 413)
        return await reader.readexactly(length)
    body = bytearray()
    async for piece in chunks(reader):
        body += piece
        if len(body) > LARGEST:
            raise Malformed("the body is too large", 413)
    return bytes(body)


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The pieces of a chunked body. Raises Malformed."""
    while True:
        text = (await _line(reader)).partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(text):
            raise Malformed("a chunk has no length")
        size = int(text, 16)
        if size == 0:
            while (await _line(reader)).strip():
                pass  # trailers
            return
        while size:
            piece = await reader.readexactly(min(size, _PIECE))
            size -= len(piece)
            yield piece
        if await reader.readexactly(2) != b"\r\n":
            raise Malformed("a chunk has no end")


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError:
        raise Malformed("a line is too long") from None


async def read_to_end(reader: asyncio.StreamReader, head: Head, method: str) -> bytes:
    """The body of an answer that is short. Raises Malformed for one that is not."""
    body = bytearray()
    async for piece in pieces(reader, head, method):
        body += piece
        if len(body) > LARGEST:
            raise Malformed("the answer is too large", 502)
    return bytes(body)


async def pieces(reader: asyncio.StreamReader, head: Head, method: str) -> AsyncIterator[bytes]:
    """The body of an answer, as it comes."""
    if method == "HEAD" or head.first[1] in ("204", "304"):
        return
    length = length_of(head)
    if length is None:
        async for piece in chunks(reader):
            yield piece
        return
    if not head.get("content-length"):  # until the server closes
        while piece := await reader.read(_PIECE):
            yield piece
        return
    while length:
        piece = await reader.read(min(length, _PIECE))
        if not piece:
            raise Malformed("the answer ends early", 502)
        length -= len(piece)
        yield piece


@contextlib.asynccontextmanager
async def asked(
    host: str, port: int, head: Head, body: bytes
) -> AsyncIterator[tuple[Head, asyncio.StreamReader]]:
    """Sends a request, and gives the head of its answer. Raises OSError and Malformed."""
    reader, writer = await asyncio.open_connection(host, port, limit=_HEAD)
    try:
        more = (("Content-Length", str(len(body))), ("Connection", "close"))
        writer.write(head.encoded(*more) + body)
        await writer.drain()
        answer = await read_head(reader)
        while answer is not None and answer.first[1].startswith("1"):
            answer = await read_head(reader)
        if answer is None:
            raise Malformed("the server closed the connection", 502)
        yield answer, reader
    finally:
        writer.close()
