"""Messages between a store and its replicas: whole, in order, and neither too small nor too
large."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.store.builders import until
from tiphys.store import wire
from tiphys.store.engine import Change

FRAME = 1 << 20


def change(revision: int, size: int | None) -> Change:
    value = None if size is None else b"v" * size
    return Change(revision, f"/a/b/{revision}", value, revision - 1)


def decoded(frames: list[bytes]) -> list[list[Change]]:
    messages: list[wire.Changes] = []
    stream = wire.Stream(wire.ToReplica, messages.append, lambda: None)
    stream.data_received(b"".join(frames))
    return [list(wire.changes_of(message)) for message in messages]


@pytest.mark.parametrize(
    ("sizes", "messages"),
    [
        ([], []),
        ([None], [1]),
        ([0, None, 5], [3]),
        ([FRAME, None], [2]),
        ([FRAME + 1, None], [1, 1]),
        ([FRAME // 2, FRAME // 2, 1, 1], [3, 1]),
        ([FRAME + 1, FRAME + 1], [1, 1]),
        ([FRAME, FRAME, FRAME, 1], [2, 2]),
    ],
)
def test_changes_are_sent_in_messages_of_about_a_megabyte(
    sizes: list[int | None], messages: list[int]
) -> None:
    changes = [change(number + 1, size) for number, size in enumerate(sizes)]
    got = decoded(list(wire.change_frames(changes)))
    assert [len(one) for one in got] == messages
    assert [row for one in got for row in one] == changes


MESSAGES = [wire.Revision(1, 5), wire.Conflicted(2, 0), wire.Failed(3, "full", True)]


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 11, 1000])
def test_messages_come_whole_however_their_bytes_come(step: int) -> None:
    data = b"".join(map(wire.frame, MESSAGES))
    got: list[Any] = []
    stream = wire.Stream(wire.ToReplica, got.append, lambda: None)
    for start in range(0, len(data), step):
        stream.data_received(data[start : start + step])
    assert got == MESSAGES


def test_the_beginning_of_a_message_is_kept_until_its_end_comes() -> None:
    data = b"".join(map(wire.frame, MESSAGES))
    got: list[Any] = []
    stream = wire.Stream(wire.ToReplica, got.append, lambda: None)
    stream.data_received(data[:-1])
    assert got == MESSAGES[:2]
    stream.data_received(data[-1:])
    assert got == MESSAGES and not stream._buffer


class End:
    """One end of a stream, connected to a socket that nobody reads."""

    def __init__(self) -> None:
        self.lost = 0
        self.stream = wire.Stream(wire.ToReplica, lambda message: None, self._lost)

    def _lost(self) -> None:
        self.lost += 1

    async def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self.stream, sock=ours)
        theirs.setblocking(False)
        return theirs


async def test_who_sends_waits_until_the_other_end_has_taken_most() -> None:
    end = End()
    other = await end.connect()
    await end.stream.drain()
    assert end.stream.unsent == 0
    end.stream.send(b"x" * (4 << 20))
    assert end.stream.unsent > 1 << 20
    draining = asyncio.ensure_future(end.stream.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    taken = 0
    while taken < 4 << 20:
        taken += len(await asyncio.get_running_loop().sock_recv(other, 1 << 20))
    async with asyncio.timeout(10):
        await draining
    end.stream.abort()
    other.close()


async def test_a_stream_ends_when_either_end_does() -> None:
    first, second = End(), End()
    others = [await first.connect(), await second.connect()]
    assert not first.stream.closed
    first.stream.send(b"x" * (4 << 20))
    draining = asyncio.ensure_future(first.stream.drain())
    first.stream.abort()
    assert first.stream.closed and not second.stream.closed
    others[1].close()
    async with asyncio.timeout(10):
        await draining
    await until(lambda: first.lost and second.lost)
    assert (first.lost, second.lost) == (1, 1) and second.stream.closed
    others[0].close()


def test_what_is_published_is_seen_by_all_and_never_goes_back() -> None:
    ours = wire.Published()
    theirs = wire.Published(ours.file)
    assert theirs.revision == 0
    for revision, seen in ((5, 5), (3, 5), (5, 5), (6, 6)):
        ours.advance(revision)
        assert theirs.revision == seen
    theirs._cells.release()
    ours.close()
    with pytest.raises(ValueError, match="released"):
        ours.advance(7)
