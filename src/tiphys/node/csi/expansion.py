"""Volumes that have grown: the node's part of it is the file system, which the driver is told to
grow. That it has grown stands in the claim's status then."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.client.events import EventRecorder
from tiphys.machinery import quantity
from tiphys.machinery.errors import StatusError
from tiphys.node.csi import messages as m
from tiphys.node.csi import records, requests
from tiphys.node.csi.credentials import Credentials
from tiphys.node.csi.drivers import Drivers
from tiphys.node.csi.mounting import Mounter
from tiphys.node.csi.source import VolumeSource
from tiphys.node.plugins.channel import PluginError
from tiphys.node.volumes.volumefiles import VolumeError

_RESIZING = {"Resizing", "FileSystemResizePending"}


def has_grown(claim: core_v1.PersistentVolumeClaim, volume: core_v1.PersistentVolume) -> bool:
    """Whether a volume is larger than its claim's status says."""
    before, now = claim.status.capacity.get("storage"), volume.spec.capacity.get("storage")
    if before is None or now is None:
        return False
    return quantity.ceil_units(str(before)) < quantity.ceil_units(str(now))


def status_after(
    claim: core_v1.PersistentVolumeClaim, volume: core_v1.PersistentVolume
) -> dict[str, Any]:
    """The change of a claim's status when its volume's file system has grown."""
    left = [to_builtins(one) for one in claim.status.conditions if one.type not in _RESIZING]
    change: dict[str, Any] = {
        "capacity": {"storage": str(volume.spec.capacity["storage"])},
        "conditions": left or None,
    }
    if claim.status.allocated_resource_statuses:
        change["allocatedResourceStatuses"] = {"storage": None}
    return {"status": change}


class Expander:
    """Tells drivers."""

    def __init__(
        self,
        client: Client,
        recorder: EventRecorder,
        drivers: Drivers,
        mounter: Mounter,
        credentials: Credentials,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._drivers = drivers
        self._mounter = mounter
        self._credentials = credentials

    async def expand(
        self,
        pod: core_v1.Pod,
        claim: core_v1.PersistentVolumeClaim,
        volume: core_v1.PersistentVolume,
        source: VolumeSource,
    ) -> None:
        """Of a volume that the pod has mounted. What fails is tried again at the next look."""
        if not has_grown(claim, volume):
            return
        try:
            if not await self._tell(pod, source):
                return
            meta = claim.metadata
            change = status_after(claim, volume)
            await self._client.patch(
                core_v1.PersistentVolumeClaim,
                meta.name,
                change,
                meta.namespace,
                subresource="status",
                media=MERGE,
            )
        except (PluginError, VolumeError, StatusError, Unreachable) as error:
            what = "Expander.NodeExpand failed to expand the volume"
            text = f"{what} : {error}" if isinstance(error, PluginError) else str(error)
            where = f'NodeExpandVolume.NodeExpandVolume failed for volume "{source.name}" : {text}'
            self._recorder.record(pod, "Warning", "VolumeResizeFailed", where)
            return
        text = f'MountVolume.NodeExpandVolume succeeded for volume "{source.name}"'
        for about in (pod, claim):
            self._recorder.record(about, "Normal", "FileSystemResizeSuccessful", text)

    async def _tell(self, pod: core_v1.Pod, source: VolumeSource) -> bool:
        """False if the driver has no part in it. Raises PluginError, VolumeError."""
        driver = self._drivers.get(source.driver)
        published = {one.name: one for one in self._mounter.of_pod(pod.metadata.uid)}
        if m.EXPAND_VOLUME not in driver.can or source.name not in published:
            return False
        size = m.CapacityRange(required_bytes=quantity.ceil_units(source.capacity))
        request = m.NodeExpandVolumeRequest(
            volume_id=source.handle,
            volume_path=records.shown(published[source.name].target),
            capacity_range=size,
            staging_target_path=self._mounter.staging_path(source),
            volume_capability=requests.capability(source, driver.can, None),
            secrets=await self._credentials.secrets(source.expand_secret, "NodeExpandSecretRef"),
        )
        await driver.call("NodeExpandVolume", request, m.NodeExpandVolumeResponse)
        return True
