"""Encryption around an engine: values are sealed on their way down and opened on their way up.

What this process writes comes back from the engine as a change soon after. Its plain bytes are kept
until then, so that a write costs one sealing and no opening.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.store.corruption import is_resource_key, prefix_of
from tiphys.store.encryption.ciphers import OpenError
from tiphys.store.encryption.transformers import Opened, Transformers
from tiphys.store.engine import Change, Engine, Listener, Snapshot, Write

PREFIX = "/tiphys"  # what etcd's keys begin with


class SealedEngine:
    """An `Engine` that keeps values encrypted in another one.

    prefix: stands before each key in what a value is bound to, as upstream binds it to the whole
            key in etcd. SQLite has the same, so that values can move between stores unopened.
    """

    def __init__(self, engine: Engine, transformers: Transformers, prefix: str = PREFIX) -> None:
        self.shared = engine.shared
        self._engine = engine
        self._transformers = transformers
        self._prefix = prefix
        self._writing: dict[bytes, Opened] = {}  # by sealed bytes
        self._marks: dict[str, bytes] = {}  # key → mark of what it is sealed with, if it is

    def use(self, transformers: Transformers) -> None:
        """From now on writes and reads go by another configuration. What was read stays read."""
        self._transformers = transformers

    def is_stale(self, key: str) -> bool:
        """Whether a key is sealed with another key than it would be now, or not sealed and would
        be."""
        return self._marks.get(key, b"") != self._transformers.of(prefix_of(key)).mark

    def seals(self, key: str) -> bool:
        """Whether the value of a key would be sealed now: for a process that sees plain values
        alone, and cannot tell what is stale."""
        return bool(self._transformers.of(prefix_of(key)).mark)

    async def open(self, listener: Listener) -> Snapshot:
        self._listener = listener
        snapshot = await self._engine.open(self._on_changes)
        for change in snapshot.changes:
            self.unseal(change)
        return snapshot

    def lags(self) -> bool:
        return self._engine.lags()

    async def commit(self, write: Write) -> int:
        if write.value is None:
            return await self._engine.commit(write)
        chain = self._transformers.of(prefix_of(write.key))
        sealed = chain.seal(write.value, self._context(write.key))
        if sealed is write.value:
            return await self._engine.commit(write)
        self._writing[sealed] = Opened(write.value, chain.mark)
        try:
            return await self._engine.commit(
                Write(write.key, sealed, write.expected, write.seconds)
            )
        finally:
            del self._writing[sealed]

    async def ping(self) -> None:
        await self._engine.ping()

    async def barrier(self) -> int:
        return await self._engine.barrier()

    async def compact(self, revision: int) -> None:
        await self._engine.compact(revision)

    async def close(self) -> None:
        await self._engine.close()

    def _on_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.unseal(change)
        self._listener(changes)

    def unseal(self, change: Change) -> None:
        """Puts the plain value in the place of the sealed one, or says why it cannot."""
        stored = change.value
        if stored is None:
            self._marks.pop(change.key, None)
            return
        opened = self._writing.get(stored)
        if opened is None:
            if not is_resource_key(change.key):
                return
            try:
                chain = self._transformers.of(prefix_of(change.key))
                opened = chain.open(stored, self._context(change.key))
            except OpenError as error:
                change.fault = str(error)
                return
        change.value = opened.value
        if opened.mark:
            self._marks[change.key] = opened.mark
        elif self._marks:
            self._marks.pop(change.key, None)

    def _context(self, key: str) -> bytes:
        return (self._prefix + key).encode(errors="surrogateescape")
