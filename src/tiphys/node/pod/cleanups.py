"""What is left of a pod after its end is removed when nothing else is waited for.

Other pods wait for those that are ending: their names, addresses and devices are wanted again.
Nothing waits for the sandboxes, logs and folders of pods whose objects are gone, and removing them
costs as much processor time as ending a pod. Upstream leaves them to its collection of garbage.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

_PATIENCE = 5.0  # seconds: pods with long graces do not keep others' remains on the disk
_AT_ONCE = 2


class CleanUps:
    """Cleaning up after a node's pods gives way to pods that are ending."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._ending = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """While a pod is being ended."""
        self._ending += 1
        self._calm.clear()
        try:
            yield
        finally:
            self._ending -= 1
            if not self._ending:
                self._calm.set()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits until no pod is ending, five seconds at most, and for those before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._calm.wait()
        async with self._turns:
            yield
