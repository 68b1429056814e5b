"""Configuration files that are read again when they change, while the server runs.

A file that cannot be used is logged and counted, and the server keeps the one it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from tiphys.client.reloadmetrics import ReloadMetrics, sha256_of
from tiphys.machinery.configfiles import ConfigFileError

log = logging.getLogger(__name__)
_EVERY = 2.0  # seconds between two checks of a file


class NotYet(Exception):
    """A configuration that is right and cannot be used now: it is tried again."""


class ConfigFile:
    """One file. `apply` takes its bytes, and raises ConfigFileError or NotYet."""

    def __init__(
        self,
        file: Path,
        subject: str,
        metrics: ReloadMetrics,
        apply: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._file = file
        self._subject = subject
        self._metrics = metrics
        self._apply = apply
        self._seen = b""

    def read(self) -> bytes:
        """The file as the server starts with it. Raises ConfigFileError."""
        try:
            self._seen = self._file.read_bytes()
        except OSError as error:
            raise ConfigFileError(f"{self._file}: {error.strerror}") from None
        self._metrics.loaded(sha256_of(self._seen))
        return self._seen

    async def run(self) -> None:
        """Watches the file for as long as the server runs."""
        stamp = self._stamp()
        while True:
            await asyncio.sleep(_EVERY)
            now = self._stamp()
            if now is not None and now != stamp and await self._reload():
                stamp = now

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    async def _reload(self) -> bool:
        """Whether the file need not be tried again as it is."""
        try:
            data = self._file.read_bytes()
            if data == self._seen:
                return True
            await self._apply(data)
        except ConfigFileError as error:
            log.error("The %s configuration is not reloaded: %s", self._subject, error)
            self._metrics.reloaded("failure")
            return True
        except (NotYet, OSError) as error:
            log.error("The %s configuration cannot be reloaded yet: %s", self._subject, error)
            self._metrics.reloaded("failure")
            return False
        self._seen = data
        self._metrics.reloaded("success")
        self._metrics.loaded(sha256_of(data))
        log.info("Reloaded the %s configuration", self._subject)
        return True
