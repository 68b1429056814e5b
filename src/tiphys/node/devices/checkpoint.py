"""Files in which a node remembers, over its agent's restart, who has which devices.

They lie outside of what drivers can write to.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

log = logging.getLogger(__name__)
T = TypeVar("T")


class Checkpoint(Generic[T]):
    """One value of the type `kind`, as JSON."""

    def __init__(self, file: Path, kind: type[T]) -> None:
        self._file = file
        self._kind = kind
        self._writing = asyncio.Lock()

    def read(self) -> T | None:
        """None if there is none that can be read."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=self._kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read, so it is started afresh: %s", self._file, error)
            return None

    async def write(self, value: T) -> None:
        """Durably, as `value` is now. Raises OSError."""
        encoded = msgspec.json.encode(value)
        async with self._writing:
            await asyncio.to_thread(self._write, encoded)

    def _write(self, encoded: bytes) -> None:
        temporary = self._file.with_suffix(".new")
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with temporary.open("wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._file)
