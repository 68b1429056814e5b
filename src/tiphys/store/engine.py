"""The protocol every engine keeps. One contract kit runs over all of them (tests/store/kit.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Write:
    """A request to put `value` under `key`, or to delete the key (`value` None).

    expected: the revision at which the key must be now; 0: the key must not exist; None: whatever
              it is at. A key that does not exist cannot be deleted in any case.
    seconds:  how long the key may live, 0 for ever. A hint: etcd deletes the key itself (a lease),
              with the other engines the owner of such keys does (`apiserver.expiry`).
    """

    key: str
    value: bytes | None
    expected: int | None = None
    seconds: int = 0

    def conflicts_with(self, current: int) -> bool:
        """Whether the write must be refused when its key is at the revision `current`, 0: does not
        exist."""
        if self.value is None and not current:
            return True
        return self.expected is not None and self.expected != current


@dataclass(slots=True)
class Change:
    """One durable change. `value` None is a deletion; `previous` is the revision it replaced, 0 for
    a creation; `fault` says why an encrypted value could not be opened."""

    revision: int
    key: str
    value: bytes | None
    previous: int
    fault: str = ""


class Conflict(Exception):
    """The key is not at the expected revision; nothing was written. `current` is 0 when it does not
    exist."""

    def __init__(self, key: str, current: int) -> None:
        super().__init__(f"{key} is at revision {current}")
        self.key = key
        self.current = current


class StoreError(Exception):
    """The engine cannot write or read now (disk full, cluster out of reach). Nothing was
    acknowledged."""


TOO_LARGE = "etcdserver: request is too large"  # as clients of Kubernetes know it


class TooLarge(StoreError):
    """The value has more bytes than the engine takes: etcd 1.5 MiB, if it is not configured
    otherwise."""

    def __init__(self) -> None:
        super().__init__(TOO_LARGE)


class StoreTimeout(StoreError):
    """The engine did not answer in time. The write it was asked for may still happen."""


@dataclass(slots=True)
class Snapshot:
    """What an engine holds when it is opened.

    revision:  of the last write
    compacted: history up to and including this revision is gone (live keys older than it are in
               `changes`)
    changes:   the live keys and the history that is still kept, in revision order
    floors:    by ``/group/plural/``, where the history of one resource starts later, or earlier,
               than at `compacted`
    corrupt:   (key, revision, fault) of values that are not objects and are not in `changes`
    """

    revision: int
    compacted: int
    changes: list[Change]
    floors: dict[str, int] = field(default_factory=dict)
    corrupt: list[tuple[str, int, str]] = field(default_factory=list)


Listener = Callable[[Sequence[Change]], None]


class Engine(Protocol):
    """A durable, ordered map. Each write has a revision of its own, larger than that of any write
    before it.

    shared: other processes write to it, too, so a read has to ask for its revision (`barrier`)
    """

    shared: bool

    async def open(self, listener: Listener) -> Snapshot:
        """Starts the engine. Called once.

        `listener` is called on the event loop with every later change, in revision order, each
        exactly once, and before the `commit` that made it returns. It may be called before `open`
        returns, then also with changes that are in the snapshot. Raises StoreError.
        """
        ...

    async def commit(self, write: Write) -> int:
        """Makes the write durable and returns its revision. Raises Conflict or StoreError.

        Writes that arrive while another is being made durable share the next disk write.
        """
        ...

    async def ping(self) -> None:
        """Returns once the engine has answered. Raises StoreError."""
        ...

    def lags(self) -> bool:
        """Whether writes were acknowledged somewhere that the listener has not seen: what can be
        known of that at once, 0.1 µs."""
        ...

    async def barrier(self) -> int:
        """A revision at least as new as every write acknowledged anywhere before the call, and seen
        by the listener.

        Raises StoreError.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forgets history up to and including `revision`; live keys stay. Raises StoreError."""
        ...

    async def close(self) -> None:
        """Releases what `open` took. Nothing may be asked of the engine any more."""
        ...
