"""What the agent asks of network policies: that no container runs before those about its pod are in
force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tiphys.api import core_v1


class Isolation(Protocol):
    """Puts network policies in force for the pods of this node."""

    async def isolate(self, pod: core_v1.Pod, addresses: Sequence[str]) -> None:
        """Returns once the policies about a pod at these addresses are in force. Raises
        TimeoutError."""
        ...

    def release(self, pod: core_v1.Pod) -> None:
        """Nothing of the pod runs any more."""
        ...


class NoIsolation:
    """For nodes whose pods have no network."""

    async def isolate(self, pod: core_v1.Pod, addresses: Sequence[str]) -> None: ...

    def release(self, pod: core_v1.Pod) -> None: ...
