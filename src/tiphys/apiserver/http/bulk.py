"""Large answers: made once for all who ask for the same at a time, written in pieces, users in
turn.

Nothing is joined to one: 30 MB as one cost three times their memory, and most of the time goes into
getting that memory. What a client leaves unread waits here for a while as references to the cache's
own bytes, and then the connection ends.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

from aiohttp import web

from tiphys.apiserver.eventloop.turns import Turns
from tiphys.apiserver.http.request import Call
from tiphys.client.tasks import TaskGroup

PIECE = 128 << 10  # bytes written at once, about
LARGE = 4 * PIECE  # bytes from which an answer is written in pieces
COMPRESSED = (
    128 << 10
)  # bytes of a list from which it is compressed for clients that take that, as upstream's
PATIENCE = 30.0  # seconds that a client may leave everything unread
_AT_ONCE = (
    64  # large answers that one user is written at a time: the others are not even put together
)
# seconds that an answer is kept for equal requests; a Table's ages are no older than this
_KEPT = 1.0
_QUEUED = 2  # answers that wait to be compressed; further ones go out as they are


class Body:
    """The bytes of an answer: a head, parts with `between` between them, and a tail. The first
    `skipped` bytes of each part are left out as it is written: no part is copied for that."""

    __slots__ = ("_between", "_ends", "_head", "_parts", "_skipped", "_tail", "length")

    def __init__(
        self,
        head: bytes,
        parts: list[bytes],
        between: bytes = b",",
        tail: bytes = b"",
        skipped: int = 0,
    ) -> None:
        self._head = head
        self._parts = parts
        self._between = between
        self._tail = tail
        self._skipped = skipped
        self._ends: list[int] = []  # for each piece, which part is the first that it does not have
        total = size = 0
        for number, part in enumerate(parts, 1):
            size += len(part)
            if size >= PIECE:
                self._ends.append(number)
                total += size
                size = 0
        if size or not self._ends:
            self._ends.append(len(parts))
        gaps = len(between) * max(len(parts) - 1, 0) - skipped * len(parts)
        self.length = len(head) + total + size + gaps + len(tail)

    def pieces(self) -> Iterator[bytes]:
        before = self._head
        start = 0
        for end in self._ends:
            last = self._tail if end == len(self._parts) else b""
            parts: list[bytes] | list[memoryview] = self._parts[start:end]
            if self._skipped:
                parts = [memoryview(part)[self._skipped :] for part in parts]
            yield b"".join((before, self._between.join(parts), last))
            before = self._between
            start = end

    def joined(self) -> bytes:
        return b"".join(self.pieces())


def compressed(body: Body) -> Body:
    """The same in gzip, at upstream's level.

    For a thread: the interpreter is free while zlib works.
    """
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [packed for piece in body.pieces() if (packed := packer.compress(piece))]
    return Body(b"", [*parts, packer.flush()], b"")


class Patience:
    """Ends a connection whose client has taken nothing for `PATIENCE` seconds."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._seen = 0
        self.written = 0  # pieces, counted by the writer
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._check_progress)

    def _check_progress(self) -> None:
        if self.written == self._seen:
            if self._transport is not None:
                self._transport.abort()
            return
        self._seen = self.written
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._check_progress)

    def end(self) -> None:
        self._timer.cancel()


class _InPieces(web.Response):
    """An answer whose body is there as a whole, and is written piece by piece."""

    turns: Turns
    flow: str

    async def write_eof(self, data: bytes = b"") -> None:
        body = self.body
        if not isinstance(body, bytes) or self._must_be_empty_body or self._req is None:
            return await super().write_eof(data)
        patience = Patience(self._req.transport)
        try:
            for start in range(0, len(body), PIECE):
                await self.turns.take(self.flow)
                await self.write(body[start : start + PIECE])
                patience.written += 1
        finally:
            patience.end()
        await web.StreamResponse.write_eof(self)


class Bulk:
    """Makes and writes the large answers of one server."""

    def __init__(self, turns: Turns, tasks: TaskGroup) -> None:
        self._turns = turns
        self._tasks = tasks
        self._making: dict[Any, asyncio.Future[Body]] = {}
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._packing = asyncio.Semaphore(1)
        self._queued = 0

    def place(self, user: str) -> asyncio.Semaphore:
        """One of a user's places. A request holds it until its answer is written."""
        slots = self._places.get(user)
        if slots is None:
            slots = self._places[user] = asyncio.Semaphore(_AT_ONCE)
        return slots

    async def shared(self, key: Any, make: Callable[[], Awaitable[Body]]) -> Body:
        """What `make` gives, or gave to another who asked for the same just now.

        The first one's going hurts no other.
        """
        body = self._making.get(key)
        if body is None:
            loop = asyncio.get_running_loop()
            body = self._making[key] = loop.create_future()
            body.add_done_callback(lambda _: loop.call_later(_KEPT, self._making.pop, key, None))
            self._tasks.start(_fulfil(body, make), "body")
        return await asyncio.shield(body)

    async def compressed(self, key: Any, body: Body) -> Body | None:
        """The body in gzip; None when too much waits to be compressed."""
        key = (key, "gzip")
        if key not in self._making and self._queued > _QUEUED:
            return None

        async def pack() -> Body:
            self._queued += 1
            try:
                async with self._packing:
                    return await asyncio.to_thread(compressed, body)
            finally:
                self._queued -= 1

        return await self.shared(key, pack)

    def write_in_pieces(self, call: Call, response: web.StreamResponse) -> None:
        """Has an answer that is made and not written yet go in pieces, if it is large: 3 MB at once
        held the loop for 40 ms."""
        if type(response) is web.Response and not response.prepared:
            if isinstance(response.body, bytes) and len(response.body) > LARGE:
                response.__class__ = _InPieces
                assert isinstance(response, _InPieces)
                response.turns = self._turns
                response.flow = call.user.name

    async def write(
        self, call: Call, response: web.StreamResponse, body: Body
    ) -> web.StreamResponse:
        """Writes the answer piece by piece, as the client takes it and others let it."""
        call.describe(response.headers)
        response.content_length = body.length
        await response.prepare(call.http)
        if call.http.method != "HEAD":
            patience = Patience(call.http.transport)
            try:
                await self._write(call, response, body, patience)
            finally:
                patience.end()
        await response.write_eof()
        return response

    async def _write(
        self, call: Call, response: web.StreamResponse, body: Body, patience: Patience
    ) -> None:
        pieces = body.pieces()
        while True:
            await self._turns.take(call.user.name)
            piece = next(pieces, None)
            if piece is None:
                return
            await response.write(piece)
            patience.written += 1


async def _fulfil(body: asyncio.Future[Body], make: Callable[[], Awaitable[Body]]) -> None:
    body.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # whether or not a request still waits
    try:
        body.set_result(await make())
    except asyncio.CancelledError:
        body.cancel()
        raise
    except Exception as error:
        body.set_exception(error)
