"""Follows the file of an EncryptionConfiguration: keys are rotated without a restart.

Upstream looks every minute, and so do its metrics say what came of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from tiphys.store.encryption import configuration
from tiphys.store.encryption.configuration import ConfigurationError
from tiphys.store.encryption.sealed import SealedEngine
from tiphys.store.encryption.transformers import Transformers
from tiphys.store.engine import Engine

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between two looks at the file's times: a few microseconds each
_PART = "apiserver_encryption_config_controller"


class ReloadMetrics:
    """Upstream's metrics of reloads. The hash says which configuration is in force."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reloads = Counter(
            f"{_PART}_automatic_reloads_total",
            "Reloads of the encryption configuration, by what came of them.",
            ("status",),
            registry=registry,
        )
        self._last = Gauge(
            f"{_PART}_automatic_reload_last_timestamp_seconds",
            "When the encryption configuration was reloaded last, by what came of it.",
            ("status",),
            registry=registry,
        )
        self._info = Gauge(
            f"{_PART}_last_config_info",
            "The encryption configuration in force, by the hash of its file.",
            ("hash",),
            registry=registry,
        )

    def in_force(self, hash: str) -> None:
        self._info.clear()
        self._info.labels(hash).set(1)

    def reloaded(self, status: str) -> None:
        self._reloads.labels(status).inc()
        self._last.labels(status).set_to_current_time()


def encrypted(
    engine: Engine, file: Path, registry: CollectorRegistry
) -> tuple[SealedEngine, Reloader]:
    """An engine with encryption around it, and who keeps that as the file says. Raises
    ConfigurationError."""
    loaded = configuration.read(file)
    sealed = SealedEngine(engine, Transformers(loaded.configuration))
    return sealed, Reloader(file, sealed, loaded.hash, registry)


class Reloader:
    """Gives the engine a file's configuration when it has changed.

    A file that cannot be used changes nothing: it is reported, and looked at again.
    """

    def __init__(
        self, file: Path, engine: SealedEngine, hash: str, registry: CollectorRegistry
    ) -> None:
        self._file = file
        self._engine = engine
        self._hash = hash
        self._seen: tuple[int, int, int] | None = None
        self._metrics = ReloadMetrics(registry)
        self._metrics.in_force(hash)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            self.look()

    def look(self) -> bool:
        """Loads the file if it is not the one in force; returns whether it did."""
        stamp = self._stamp()
        if stamp is not None and stamp == self._seen:
            return False
        self._seen = stamp
        try:
            loaded = configuration.read(self._file)
            if loaded.hash == self._hash:
                return False
            self._engine.use(Transformers(loaded.configuration, self._engine.transformers))
        except ConfigurationError as error:
            log.error("The encryption configuration stays as it was: %s", error)
            self._metrics.reloaded("failure")
            return False
        self._hash = loaded.hash
        self._metrics.reloaded("success")
        self._metrics.in_force(loaded.hash)
        log.info("Loaded the encryption configuration %s", self._file)
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        """What changes when the file does; None when it cannot be looked at."""
        try:
            found = os.stat(self._file)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
