"""The engine for tests and throw-away servers: it orders writes as the others do, and nothing
outlives the process."""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.store.engine import Change, Conflict, Listener, Snapshot, Write


def _no_listener(changes: Sequence[Change]) -> None:
    pass


class MemoryEngine:
    """An `Engine` in a dictionary. Values are not kept: the watch cache has them."""

    shared = False

    def __init__(self) -> None:
        self._revision = 0
        self._current: dict[str, int] = {}  # key → revision
        self._listener: Listener = _no_listener

    async def open(self, listener: Listener) -> Snapshot:
        self._listener = listener
        return Snapshot(self._revision, 0, [])

    async def commit(self, write: Write) -> int:
        current = self._current.get(write.key, 0)
        if write.conflicts_with(current):
            raise Conflict(write.key, current)
        self._revision += 1
        if write.value is None:
            del self._current[write.key]
        else:
            self._current[write.key] = self._revision
        self._listener([Change(self._revision, write.key, write.value, current)])
        return self._revision

    async def ping(self) -> None:
        return None

    def lags(self) -> bool:
        return False

    async def barrier(self) -> int:
        return self._revision

    async def compact(self, revision: int) -> None:
        return None

    async def close(self) -> None:
        return None
