"""All volumes of CSI drivers of a node, as its pods' volumes and its agent see them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from tiphys.api import core_v1, storage_v1
from tiphys.client.client import Client, Unreachable
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError
from tiphys.node.csi import messages as m
from tiphys.node.csi import records
from tiphys.node.csi.credentials import Credentials
from tiphys.node.csi.drivers import Drivers
from tiphys.node.csi.expansion import Expander
from tiphys.node.csi.mounting import Mounter
from tiphys.node.csi.nodeinfo import NodeInfo
from tiphys.node.csi.records import Published
from tiphys.node.csi.source import of_inline, of_persistent
from tiphys.node.csi.stats import usage_of
from tiphys.node.drivervolumes import Growth
from tiphys.node.plugins.channel import PluginError
from tiphys.node.references import References
from tiphys.node.states import VolumeUsage
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.node.volumes.volumefiles import VolumeError

log = logging.getLogger(__name__)

_RETRY = 5.0  # seconds until the CSINode is tried again
_MEASURE = 60.0  # seconds between measurements of volumes' usage, as upstream


class _Mounted(NamedTuple):
    """A published volume and what it is in the pod's spec. `claim` is None for an inline one."""

    published: Published
    volume: core_v1.Volume
    claim: core_v1.PersistentVolumeClaim | None


class NodeVolumes:
    """Implements `drivervolumes.DriverVolumes`.

    name: of the node
    folder: what pods see as /var/lib/kubelet
    node: gives the node's object as it was last seen
    changed: called when the node uses other volumes than its status says
    """

    def __init__(
        self,
        client: Client,
        name: str,
        folder: KubeletFolder,
        references: References,
        growth: Growth,
        node: Callable[[], core_v1.Node],
        changed: Callable[[], None],
    ) -> None:
        self._references = references
        self._info = NodeInfo(client, name)
        self.drivers = Drivers(folder, self._info)
        self.drivers.ready.clear()
        self._mounter = Mounter(folder, name, self.drivers, references, node, changed)
        self._growth = growth
        self._expander = Expander(growth, self.drivers, self._mounter, Credentials(references))
        self._tasks = TaskGroup("csi")
        self._cleaning: asyncio.Task[None] | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._measured_at = float("-inf")
        self.usage: dict[str, list[VolumeUsage]] = {}  # by pod uid

    async def load(self) -> None:
        """Reads what an agent before this one has mounted. Raises OSError."""
        await asyncio.to_thread(self._mounter.holdings.load)

    async def start(self) -> None:
        """Once the node is registered."""
        self.drivers.ready.set()
        self._tasks.start(self._show(), "csinode")

    async def stop(self) -> None:
        await self._tasks.stop()

    async def _show(self) -> None:
        """Makes the node's CSINode, which is there before any driver is."""
        while True:
            try:
                await self._info.initialize()
                return
            except (StatusError, Unreachable) as error:
                log.info("The CSINode is not created yet: %s", error)
                await asyncio.sleep(_RETRY)

    def in_use(self) -> list[str]:
        """For the node's status (`volumesInUse`)."""
        return self._mounter.holdings.in_use()

    # --- DriverVolumes ---

    async def mount_claimed(
        self, pod: core_v1.Pod, volume: core_v1.PersistentVolume, read_only: bool
    ) -> str:
        return await self._mounter.mount(pod, of_persistent(volume, read_only))

    async def mount_inline(self, pod: core_v1.Pod, volume: core_v1.Volume) -> str:
        return await self._mounter.mount(pod, of_inline(pod, volume))

    async def refresh(self, pod: core_v1.Pod) -> None:
        for mounted in await self._mounted_for(pod):
            try:
                await self._refresh(pod, mounted)
            except VolumeError as error:
                log.info("A volume of pod %s is not refreshed: %s", pod.metadata.name, error)

    async def _refresh(self, pod: core_v1.Pod, mounted: _Mounted) -> None:
        if mounted.claim is None:
            await self._mounter.republish(pod, of_inline(pod, mounted.volume))
            return
        persistent = await self._references.get(
            core_v1.PersistentVolume, "", mounted.published.name
        )
        if persistent is None or persistent.spec.csi is None:
            return
        in_spec = mounted.volume.persistent_volume_claim
        source = of_persistent(persistent, in_spec is not None and in_spec.read_only)
        await self._mounter.republish(pod, source)
        await self._expander.expand(pod, mounted.claim, persistent, source)

    async def _mounted_for(self, pod: core_v1.Pod) -> list[_Mounted]:
        """The volumes of a pod that are published, with what they are in its spec. Raises
        StatusError, Unreachable."""
        published = self._mounter.holdings.of_pod(pod.metadata.uid)
        mounted: list[_Mounted] = []
        for volume in pod.spec.volumes if published else ():
            claim = None
            name = volume.name
            if volume.csi is None:
                claim = await self._claim(pod, volume)
                name = claim.spec.volume_name if claim is not None else ""
            if name in published:
                mounted.append(_Mounted(published[name], volume, claim))
        return mounted

    async def _claim(
        self, pod: core_v1.Pod, volume: core_v1.Volume
    ) -> core_v1.PersistentVolumeClaim | None:
        if volume.persistent_volume_claim is not None:
            name = volume.persistent_volume_claim.claim_name
        elif volume.ephemeral is not None:
            name = f"{pod.metadata.name}-{volume.name}"
        else:
            return None
        claim: core_v1.PersistentVolumeClaim | None = await self._references.get(
            core_v1.PersistentVolumeClaim, pod.metadata.namespace, name
        )
        return claim

    async def release(self, uid: str) -> None:
        await self._mounter.release(uid)
        self._growth.forget(uid)

    def pod_uids(self) -> set[str]:
        return self._mounter.holdings.pod_uids()

    # --- from time to time ---

    def keep_house(self, pods: dict[str, core_v1.Pod]) -> None:
        """Takes back what pods had that are gone, and asks how full the others' volumes are. `pods`
        are all that the node has, by uid. Drivers that say so are asked again what they say of the
        node (`nodeAllocatableUpdatePeriodSeconds`). It goes on by itself: a driver may take
        minutes."""
        if self._cleaning is None or self._cleaning.done():
            self._cleaning = self._tasks.start(self._clean(set(pods)), "clean")
        if self._measuring is None or self._measuring.done():
            self._measuring = self._tasks.start(self._measure(pods), "measure")
        if self._renewing is None or self._renewing.done():
            self._renewing = self._tasks.start(self.drivers.renew(self._period_of), "renew")

    async def _period_of(self, driver: str) -> int:
        """Seconds, at least ten. Raises StatusError, Unreachable."""
        about = await self._references.get(storage_v1.CSIDriver, "", driver)
        period = about.spec.node_allocatable_update_period_seconds if about is not None else None
        return period or 0

    async def _clean(self, known: set[str]) -> None:
        for uid in self.pod_uids() - known:
            try:
                await self.release(uid)
            except VolumeError as error:
                log.info("Volumes of pod %s, which is gone: %s", uid, error.event)
        await self._mounter.unstage_unused()
        try:
            await self._mounter.refresh_drivers()
        except (StatusError, Unreachable) as error:
            log.info("What drivers attach is not known: %s", error)

    async def _measure(self, pods: dict[str, core_v1.Pod]) -> None:
        """As upstream, once a minute."""
        now = time.monotonic()
        if now - self._measured_at < _MEASURE:
            return
        self._measured_at = now
        measured = {}
        for uid in self.pod_uids() & pods.keys():
            try:
                measured[uid] = await self._usage_of(pods[uid])
            except (StatusError, Unreachable) as error:
                log.info("How full volumes are is not known: %s", error)
        self.usage = measured

    async def _usage_of(self, pod: core_v1.Pod) -> list[VolumeUsage]:
        usages = []
        for mounted in await self._mounted_for(pod):
            try:
                usage = await self._usage(mounted.published)
            except (VolumeError, PluginError) as error:
                log.info("Usage of volume %s is not known: %s", mounted.published.name, error)
                continue
            meta = mounted.claim.metadata if mounted.claim is not None else None
            claim = (meta.namespace, meta.name) if meta is not None else None
            if usage:
                usages.append(usage_of(mounted.volume.name, claim, time.time(), usage))
        return usages

    async def _usage(self, published: Published) -> list[m.VolumeUsage]:
        driver = self.drivers.get(published.driver)
        if m.GET_VOLUME_STATS not in driver.can:
            return []
        request = m.NodeGetVolumeStatsRequest(
            volume_id=published.handle, volume_path=records.shown(published.target)
        )
        answer = await driver.call("NodeGetVolumeStats", request, m.NodeGetVolumeStatsResponse)
        return answer.usage
