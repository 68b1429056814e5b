"""The protocol every engine keeps. One contract kit runs over all of them (tests/store/test_engines.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class Write:
    """One wish: put `value` under `key`, or delete the key (value None).

    expected: the revision at which the key must stand now; 0: the key must not exist; None: whatever it is.
    seconds: how long the key may live, 0: for ever. A hint: etcd ends the key by itself (a lease), the other engines
    leave it to whoever looks after such keys (apiserver.expiry).
    """

    key: str
    value: bytes | None
    expected: int | None = None
    seconds: int = 0


@dataclass(slots=True)
class Change:
    """One durable change. `value` None is a deletion; `previous` is the revision it replaced, 0 for a creation."""

    revision: int
    key: str
    value: bytes | None
    previous: int


class Conflict(Exception):
    """The key did not stand at the expected revision; nothing was written. `current` is 0 when it does not exist."""

    def __init__(self, key: str, current: int) -> None:
        super().__init__(f"{key} stands at revision {current}")
        self.key = key
        self.current = current


class Compacted(Exception):
    """The history asked for is gone; `revision` is the oldest that can still be asked for."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"history before revision {revision} is gone")
        self.revision = revision


class StoreError(Exception):
    """The engine cannot write or read now (disk full, cluster out of reach). Nothing was acknowledged."""


class StoreTimeout(StoreError):
    """The engine does not answer. What was asked of it may still happen."""


@dataclass(slots=True)
class Snapshot:
    """What an engine holds at start: `changes` are the live keys and the history still kept, in revision order.

    revision:  of the last write
    compacted: history up to and including this revision is gone (live keys older than it are still listed)
    """

    revision: int
    compacted: int
    changes: list[Change]


Listener = Callable[[Sequence[Change]], None]


class Engine(Protocol):
    """A durable, ordered map. Each write has a revision of its own, one larger than any before it.

    `shared`: others write to it, too, so that a read must ask it how far the world is."""

    shared: bool

    async def open(self, listener: Listener) -> Snapshot:
        """Starts the engine. `listener` is called on the event loop with every later change, in revision order,
        each exactly once, and before the `commit` that made it returns."""
        ...

    async def commit(self, write: Write) -> int:
        """Makes the write durable and returns its revision. Raises Conflict or StoreError.
        Writes that arrive while another is being made durable share the next disk write."""
        ...

    async def ping(self) -> None:
        """Returns once the engine has answered. Raises StoreError."""
        ...

    async def barrier(self) -> int:
        """A revision that is at least as new as every write acknowledged anywhere before the call."""
        ...

    async def compact(self, revision: int) -> None:
        """Forgets history up to and including `revision`; live keys stay."""
        ...

    async def close(self) -> None: ...
