"""Follows the file of an EncryptionConfiguration: keys are rotated without a restart.

Upstream checks every minute, and its metrics have the outcome of each check.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from prometheus_client import CollectorRegistry

from tiphys.client.reloadmetrics import ReloadMetrics
from tiphys.store.encryption import configuration
from tiphys.store.encryption.configuration import ConfigurationError
from tiphys.store.encryption.envelope import Envelope, PluginError
from tiphys.store.encryption.metrics import EncryptionMetrics
from tiphys.store.encryption.sealed import SealedEngine
from tiphys.store.encryption.transformers import Transformers
from tiphys.store.engine import Engine

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between two checks of the file's times: a few microseconds each
# Seconds that plugins of a new configuration have to be well, and between two questions: upstream's
# `validateNewTransformersHealth`. Beyond that, twice the longest of their own timeouts.
_WELL_WITHIN, _ASKED_EVERY = 10.0, 0.1


def encrypted(
    engine: Engine, file: Path, registry: CollectorRegistry, server: str = ""
) -> tuple[SealedEngine, Reloader]:
    """An engine with encryption around it, and what keeps that in line with the file; in metrics it
    is the `server`'s. Raises ConfigurationError."""
    loaded = configuration.read(file)
    metrics = EncryptionMetrics(registry, server)
    sealed = SealedEngine(engine, Transformers(loaded.configuration, metrics=metrics))
    return sealed, Reloader(
        file, sealed, loaded.hash, ReloadMetrics(registry, "encryption", server)
    )


class Reloader:
    """Gives the engine a file's configuration when it has changed.

    A file that cannot be used changes nothing, nor does one with a plugin that is not well: it is
    reported, and read again.
    """

    def __init__(self, file: Path, engine: SealedEngine, hash: str, metrics: ReloadMetrics) -> None:
        self._file = file
        self._engine = engine
        self._hash = hash
        self._seen: tuple[int, int, int] | None = None
        self._metrics = metrics
        self._metrics.loaded(hash)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.poll()

    async def poll(self) -> bool:
        """Loads the file if it is not the one in force; returns whether it did."""
        stamp = self._stamp()
        if stamp is not None and stamp == self._seen:
            return False
        self._seen = stamp
        try:
            loaded = configuration.read(self._file)
            if loaded.hash == self._hash:
                return False
            transformers = Transformers(loaded.configuration, self._engine.transformers)
            await self._check(transformers)
        except (ConfigurationError, PluginError) as error:
            log.error("The encryption configuration stays as it was: %s", error)
            self._metrics.reloaded("failure")
            return False
        self._engine.use(transformers)
        self._hash = loaded.hash
        self._metrics.reloaded("success")
        self._metrics.loaded(loaded.hash)
        log.info("Loaded the encryption configuration %s", self._file)
        return True

    async def _check(self, transformers: Transformers) -> None:
        """Returns once every plugin reports that it is healthy. Raises PluginError when one does
        not in time: then the file is read again, whether or not it changes."""
        known = self._engine.transformers.envelopes
        plugins = transformers.envelopes
        longest = max((kms.seconds for kms in plugins), default=0.0)
        try:
            async with asyncio.timeout(max(_WELL_WITHIN, 2 * longest)):
                for envelope in plugins.values():
                    await _well(envelope)
        except TimeoutError:
            self._seen = None
            faults = "; ".join(plugin.fault for plugin in plugins.values() if plugin.fault)
            for kms, envelope in plugins.items():
                if kms not in known:
                    await envelope.close()
            raise PluginError(f"health check for new transformers failed: {faults}") from None

    def _stamp(self) -> tuple[int, int, int] | None:
        """What changes when the file does; None when it cannot be read."""
        try:
            status = os.stat(self._file)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size


async def _well(envelope: Envelope) -> None:
    """Asks a plugin until it is well."""
    is_well = await envelope.probe()
    while not is_well:
        await asyncio.sleep(_ASKED_EVERY)
        is_well = await envelope.probe()
