"""What network policies ask of the agent: no container runs before those about its pod are in force."""

from __future__ import annotations

from typing import Protocol

from tiphys.api import core_v1


class Isolation(Protocol):
    async def isolate(self, pod: core_v1.Pod, address: str) -> None:
        """Returns once the policies about a pod at this address are in force. Raises TimeoutError."""
        ...

    def release(self, pod: core_v1.Pod) -> None:
        """Nothing of the pod runs any more."""
        ...


class NoIsolation:
    """Of hollow nodes: their pods have no network."""

    async def isolate(self, pod: core_v1.Pod, address: str) -> None: ...

    def release(self, pod: core_v1.Pod) -> None: ...
