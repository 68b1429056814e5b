"""What volumes ask of others on this node: of the drivers of storage (`node.csi` implements it),
and of who keeps what claims say of growing (`volumes.growth`). VolumeError is that of
`volumes.volumefiles`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from tiphys.api import core_v1


class DriverVolumes(Protocol):
    """Volumes of CSI drivers, of all pods of a node."""

    async def mount_claimed(
        self, pod: core_v1.Pod, volume: core_v1.PersistentVolume, read_only: bool
    ) -> str:
        """Where the persistent volume of a pod's claim is: a folder, or a device. Raises
        VolumeError."""
        ...

    async def mount_inline(self, pod: core_v1.Pod, volume: core_v1.Volume) -> str:
        """Where a volume is that the pod's spec has itself. Raises VolumeError."""
        ...

    async def refresh(self, pod: core_v1.Pod) -> None:
        """Publishes again what its driver wants published again, and notifies drivers of volumes
        that have grown."""
        ...

    async def release(self, uid: str) -> None:
        """Takes all volumes of a pod back from it. Raises VolumeError while a driver refuses."""
        ...

    def pod_uids(self) -> set[str]:
        """The uids of pods that have volumes."""
        ...


class Growth(Protocol):
    """Volumes that have grown, of all pods of a node."""

    async def follow(
        self,
        pod: core_v1.Pod,
        claim: core_v1.PersistentVolumeClaim,
        volume: core_v1.PersistentVolume,
        grow: Callable[[str], Awaitable[None]],
    ) -> None:
        """Calls `grow` with the size, a quantity, if the file system of a volume that the pod has
        mounted is to grow, and writes down in the claim what came of it."""
        ...

    def forget(self, uid: str) -> None:
        """A pod has its volumes no more."""
        ...
