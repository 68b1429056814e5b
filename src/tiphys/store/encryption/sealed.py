"""Encryption around an engine: values are sealed on their way down and opened on their way up.

What this process writes comes back from the engine as a change soon after. Its plain bytes are kept
until then, so that a write costs one sealing and no opening.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence

from tiphys.client.tasks import TaskGroup
from tiphys.store.corruption import is_resource_key, prefix_of
from tiphys.store.encryption.ciphers import OpenError
from tiphys.store.encryption.configuration import KMS
from tiphys.store.encryption.envelope import (
    FAILING_EVERY,
    HEALTHY_EVERY,
    Envelope,
    PluginError,
    SealError,
)
from tiphys.store.encryption.kmspb import EncryptedObject
from tiphys.store.encryption.metrics import FROM_STORAGE, OK, OTHER, TO_STORAGE
from tiphys.store.encryption.transformers import Chain, Opened, Transformers
from tiphys.store.engine import Change, Engine, Listener, Snapshot, StoreError, Write

log = logging.getLogger(__name__)

_PATIENCE = 30.0  # seconds for a plugin to open a seed that is needed
_SOON = 0.5  # seconds until a plugin that was not there yet is asked again
PREFIX = "/tiphys"  # the prefix of etcd's keys


class SealedEngine:
    """An `Engine` that keeps values encrypted in another one.

    prefix: precedes each key in what a value is bound to, as upstream binds it to the whole
            key in etcd. SQLite has the same, so that values can move between stores unopened.
    """

    def __init__(self, engine: Engine, transformers: Transformers, prefix: str = PREFIX) -> None:
        self.shared = engine.shared
        self._engine = engine
        self._transformers = transformers
        self._prefix = prefix
        self._writing: dict[bytes, Opened] = {}  # by sealed bytes
        self._marks: dict[str, bytes] = {}  # key → mark of what it is sealed with, if it is
        self._tasks = TaskGroup("encryption")
        self._probed: set[KMS] = set()
        self._waiting: deque[Sequence[Change]] = deque()  # until their seeds are known
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def transformers(self) -> Transformers:
        return self._transformers

    def use(self, transformers: Transformers) -> None:
        """From now on writes and reads go by another configuration. What was read stays read."""
        self._transformers = transformers
        if transformers.envelopes:
            self.start_probing()

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
        self.start_probing()
        snapshot = await self._engine.open(self._on_changes)
        await self.learn(snapshot.changes, _PATIENCE)
        for change in snapshot.changes:
            self.unseal(change)
        return snapshot

    def lags(self) -> bool:
        return self._engine.lags()

    async def commit(self, write: Write) -> int:
        revision = await self._commit(write)
        await self._delivered()
        return revision

    async def _commit(self, write: Write) -> int:
        if write.value is None:
            return await self._engine.commit(write)
        chain = self._transformers.of(prefix_of(write.key))
        if chain.envelope is not None:
            await chain.envelope.asked.wait()
        mark = chain.mark
        sealed = self._seal(chain, write.key, write.value)
        if sealed is write.value:
            return await self._engine.commit(write)
        self._writing[sealed] = Opened(write.value, mark)
        try:
            return await self._engine.commit(
                Write(write.key, sealed, write.expected, write.seconds)
            )
        finally:
            del self._writing[sealed]

    def _seal(self, chain: Chain, key: str, value: bytes) -> bytes:
        """Raises StoreError."""
        began = time.perf_counter()
        status = OTHER
        try:
            sealed = chain.seal(value, self._context(key))
            status = OK
        except SealError as error:
            raise StoreError(str(error)) from None
        finally:
            if chain.is_configured:
                self._count(key, TO_STORAGE, chain.prefix, status, began)
        return sealed

    def _open(self, chain: Chain, key: str, stored: bytes) -> Opened:
        """Raises OpenError."""
        if not chain.is_configured:
            return chain.open(stored, self._context(key))
        began = time.perf_counter()
        try:
            opened = chain.open(stored, self._context(key))
        except OpenError:
            self._count(key, FROM_STORAGE, b"unknown", OTHER, began)
            raise
        self._count(key, FROM_STORAGE, opened.prefix or b"identity", OK, began)
        return opened

    def _count(self, key: str, direction: str, prefix: bytes, status: str, began: float) -> None:
        seconds = time.perf_counter() - began
        metrics = self._transformers.metrics
        metrics.transformed(prefix_of(key), direction, prefix, status, seconds)

    async def ping(self) -> None:
        await self._engine.ping()

    async def barrier(self) -> int:
        revision = await self._engine.barrier()
        await self._delivered()
        return revision

    async def compact(self, revision: int) -> None:
        await self._engine.compact(revision)

    async def close(self) -> None:
        await self._tasks.stop()
        await self._engine.close()
        for envelope in self._transformers.envelopes.values():
            await envelope.close()

    # --- plugins ---

    def start_probing(self) -> None:
        """Asks each plugin how it is, from now on; one that is asked already goes on."""
        for kms, envelope in self._transformers.envelopes.items():
            if kms not in self._probed:
                self._probed.add(kms)
                self._tasks.start(self._probe(kms, envelope), f"kms-{kms.name}")

    async def _probe(self, kms: KMS, envelope: Envelope) -> None:
        while self._transformers.envelopes.get(kms) is envelope:
            if await envelope.probe():
                pause = HEALTHY_EVERY
            else:
                pause = FAILING_EVERY if envelope.is_used else _SOON
            await asyncio.sleep(pause)
        self._probed.discard(kms)
        await envelope.close()

    @property
    def faults(self) -> list[str]:
        """What is wrong with plugins."""
        envelopes = self._transformers.envelopes.values()
        return [envelope.fault for envelope in envelopes if envelope.fault]

    async def learn(self, changes: Sequence[Change], patience: float = 0.0) -> None:
        """Has plugins open the seeds of these values that are not known, and waits for them up to
        `patience` seconds. Raises StoreError when one does not."""
        deadline = asyncio.get_running_loop().time() + patience
        for envelope, source in self._unknown(changes):
            while True:
                try:
                    await envelope.learn(source)
                    break
                except PluginError as error:
                    if asyncio.get_running_loop().time() >= deadline:
                        raise StoreError(
                            f"KMS provider {envelope.name} does not open what is stored: {error}"
                        ) from None
                await asyncio.sleep(_SOON)

    def _unknown(self, changes: Sequence[Change]) -> list[tuple[Envelope, EncryptedObject]]:
        unknown = []
        if not self._transformers.envelopes:
            return []
        for change in changes:
            stored = change.value
            if stored is None or stored in self._writing or not is_resource_key(change.key):
                continue
            chain = self._transformers.of(prefix_of(change.key))
            envelope = chain.envelope_of(stored)
            if envelope is not None:
                source = envelope.unknown(stored[len(envelope.prefix) :])
                if source is not None:
                    unknown.append((envelope, source))
        return unknown

    # --- changes ---

    def _on_changes(self, changes: Sequence[Change]) -> None:
        if self._waiting or self._unknown(changes):
            # Of another server, with a seed of its own. Those that come after wait, too.
            self._waiting.append(changes)
            if len(self._waiting) == 1:
                self._tasks.start(self._deliver_waiting(), "kms-learn")
            return
        self._deliver(changes)

    def _deliver(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.unseal(change)
        self._listener(changes)

    async def _deliver_waiting(self) -> None:
        while self._waiting:
            try:
                await self.learn(self._waiting[0], _PATIENCE)
            except StoreError as error:
                log.error("%s", error)
            self._deliver(self._waiting.popleft())
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def _delivered(self) -> None:
        """Returns once the listener has every change that the engine has delivered."""
        if self._waiting:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def unseal(self, change: Change) -> None:
        """Puts the plain value in the place of the sealed one, or records why it cannot."""
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
                opened = self._open(chain, change.key, stored)
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
