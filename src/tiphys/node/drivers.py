"""What drivers give the pods of a node that runs processes: volumes of CSI drivers, devices of
device plugins and DRA drivers, and the API that shows who has what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tiphys.api import core_v1
from tiphys.node.csi.nodevolumes import NodeVolumes
from tiphys.node.devices.nodedevices import DriverDevices
from tiphys.node.podresources.server import PodResourcesServer
from tiphys.node.registration import Registration

_PAUSE = 1.0  # seconds in which changes of devices are gathered to one report


class GatheredReports:
    """Calls `report` soon after a change, and once a second at the most: no plugin makes the node
    write its status more often."""

    def __init__(self, report: Callable[[], None], pause: float = _PAUSE) -> None:
        self._report = report
        self._pause = pause
        self._timer: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._send)

    def _send(self) -> None:
        self._timer = None
        self._report()


class NodeDrivers:
    def __init__(
        self, volumes: NodeVolumes, devices: DriverDevices, pod_resources: PodResourcesServer
    ) -> None:
        self.volumes = volumes
        self.devices = devices
        self._pod_resources = pod_resources
        devices.take("CSIPlugin", volumes.drivers)

    async def load(self, registration: Registration) -> None:
        """Before the node is registered, so that it shows what its drivers have. Raises OSError."""
        await self.volumes.load()
        registration.volumes_in_use = self.volumes.in_use
        registration.devices = self.devices.counts
        await self.devices.start()
        await self._pod_resources.start()

    async def start(self) -> None:
        """Once the node is registered."""
        await self.volumes.start()

    async def stop(self) -> None:
        await self.volumes.stop()
        await self.devices.stop()
        await self._pod_resources.stop()

    async def keep_house(self, pods: Mapping[str, core_v1.Pod]) -> None:
        """Gives back what pods have that are gone. `pods`: those of the node, by uid."""
        await self.devices.keep_house()
        self.volumes.keep_house(dict(pods))
