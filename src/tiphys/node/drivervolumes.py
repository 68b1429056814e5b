"""What volumes ask of the drivers of storage on this node. `node.csi` implements it; VolumeError is
that of `volumes.volumefiles`."""

from __future__ import annotations

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
        """Publishes again what its driver wants published again, and tells drivers of volumes that
        have grown."""
        ...

    async def release(self, uid: str) -> None:
        """Takes all volumes of a pod back from it. Raises VolumeError while a driver refuses."""
        ...

    def pod_uids(self) -> set[str]:
        """The uids of pods that have volumes."""
        ...
