"""Has drivers expand volumes that have grown (`volumes.growth`)."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.machinery import quantity
from tiphys.node.csi import messages as m
from tiphys.node.csi import records, requests
from tiphys.node.csi.credentials import Credentials
from tiphys.node.csi.drivers import Drivers
from tiphys.node.csi.mounting import Mounter
from tiphys.node.csi.source import VolumeSource
from tiphys.node.drivervolumes import Growth
from tiphys.node.plugins.channel import PluginError
from tiphys.node.volumes.growth import GrowthError
from tiphys.node.volumes.volumefiles import VolumeError

_INFEASIBLE = {"InvalidArgument", "OutOfRange", "NotFound"}  # as upstream
_IN_USE = "FailedPrecondition"  # the driver does not grow what a pod uses


class Expander:
    """Of the drivers on a node."""

    def __init__(
        self,
        growth: Growth,
        drivers: Drivers,
        mounter: Mounter,
        credentials: Credentials,
    ) -> None:
        self._growth = growth
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
        """Of a volume that the pod has mounted, if its driver has a part in it. Raises
        VolumeError."""
        if m.EXPAND_VOLUME in self._drivers.get(source.driver).can:
            await self._growth.follow(
                pod, claim, volume, lambda size: self._tell(pod, source, size)
            )

    async def _tell(self, pod: core_v1.Pod, source: VolumeSource, size: str) -> None:
        """Raises VolumeError."""
        driver = self._drivers.get(source.driver)
        published = self._mounter.holdings.of_pod(pod.metadata.uid)
        if source.name not in published:
            raise VolumeError("the pod has the volume no more")
        request = m.NodeExpandVolumeRequest(
            volume_id=source.handle,
            volume_path=records.shown(published[source.name].target),
            capacity_range=m.CapacityRange(required_bytes=quantity.ceil_units(size)),
            staging_target_path=self._mounter.staging_path(source),
            volume_capability=requests.capability(source, driver.can, None),
            secrets=await self._credentials.secrets(source.expand_secret, "NodeExpandSecretRef"),
        )
        try:
            await driver.call("NodeExpandVolume", request, m.NodeExpandVolumeResponse)
        except PluginError as error:
            raise _refusal(error) from None


def _refusal(error: PluginError) -> GrowthError:
    """In upstream's words, which have a colon or none."""
    is_infeasible = error.status in _INFEASIBLE
    failure = "Expander.NodeExpand failed to expand the volume"
    return GrowthError(
        f"{failure} {error}" if is_infeasible else f"{failure} : {error}",
        is_final=error.is_final,
        is_infeasible=is_infeasible,
        is_in_use=error.status == _IN_USE,
    )
