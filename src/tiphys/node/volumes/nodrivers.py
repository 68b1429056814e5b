"""A node where no driver of storage can register."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.node.volumes.volumefiles import VolumeError


class NoDrivers:
    """Implements `drivervolumes.DriverVolumes`."""

    async def mount_claimed(
        self, pod: core_v1.Pod, volume: core_v1.PersistentVolume, read_only: bool
    ) -> str:
        raise VolumeError("no driver of storage can register here")

    async def mount_inline(self, pod: core_v1.Pod, volume: core_v1.Volume) -> str:
        raise VolumeError("no driver of storage can register here")

    async def refresh(self, pod: core_v1.Pod) -> None: ...

    async def release(self, uid: str) -> None: ...

    def pod_uids(self) -> set[str]:
        return set()
