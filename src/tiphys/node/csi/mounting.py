"""Mounts volumes of CSI drivers for pods, and takes them back.

A volume is staged once for the node and published once for each pod. Each step is on disk before
the driver is asked for it, so that it is taken back whatever happens in between: CSI's calls may be
repeated. A driver that refuses for good (`PluginError.is_final`) has done nothing, and is asked to
take nothing back. All calls about one volume are made one after another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tiphys.api import core_v1, storage_v1
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError
from tiphys.node.csi import messages as m
from tiphys.node.csi import records, requests
from tiphys.node.csi.credentials import Credentials
from tiphys.node.csi.drivers import Driver, Drivers
from tiphys.node.csi.holdings import Device, Holdings
from tiphys.node.csi.records import Published, Records
from tiphys.node.csi.source import (
    EPHEMERAL,
    VolumeSource,
    attachment_name,
)
from tiphys.node.plugins.channel import PluginError
from tiphys.node.references import References
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.node.volumes.ownership import give_to_group
from tiphys.node.volumes.volumefiles import VolumeError, VolumePending, VolumesExhausted

log = logging.getLogger(__name__)

_RESOURCE_EXHAUSTED = 8  # gRPC's number
_MOUNT_DEVICE, _SET_UP = "MountVolume.MountDevice", "MountVolume.SetUp"


class Mounter:
    """
    node: gives the node's object as it was last seen
    changed: called when the node uses other volumes than before
    """

    def __init__(
        self,
        folder: KubeletFolder,
        name: str,
        drivers: Drivers,
        references: References,
        node: Callable[[], core_v1.Node],
        changed: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._name = name
        self._drivers = drivers
        self._references = references
        self._credentials = Credentials(references)
        self._node = node
        self._changed = changed
        self.holdings = Holdings(Records(folder, name))
        self._certain: set[Device] = set()  # staged by this agent
        self._locks: dict[Device, asyncio.Lock] = {}

    async def refresh_drivers(self) -> None:
        """A CSIDriver may change so that its volumes need not be attached: then the node
        keeps none of them attached. Raises StatusError, Unreachable."""
        drivers = self.holdings.attaching_drivers()
        unattached = {name for name in drivers if await self._attaches_nothing(name)}
        if unattached != self.holdings.unattached:
            self.holdings.unattached = unattached
            self._changed()

    async def _attaches_nothing(self, driver: str) -> bool:
        about = await self._references.get(storage_v1.CSIDriver, "", driver)
        return about is not None and about.spec.attach_required is False

    def target(self, volume: Published) -> str:
        """The path of a published volume on the machine."""
        return str(self._folder.root / volume.target)

    def staging_path(self, source: VolumeSource) -> str:
        """As the driver calls it; "" if it was not staged."""
        staged = self.holdings.staged((source.driver, source.handle))
        return records.shown(staged.target) if staged is not None else ""

    # --- to a pod ---

    async def mount(self, pod: core_v1.Pod, source: VolumeSource, is_again: bool = False) -> str:
        """The path on the machine: a folder, or a device. What is mounted again has been given to
        the pod's group before. Raises VolumeError."""
        try:
            return await self._mount(pod, source, is_again)
        except PluginError as error:
            raise VolumeError(str(error), _step(source), source.name) from None
        except VolumeError as error:
            error.volume = error.volume or source.name
            raise
        except (OSError, StatusError, Unreachable) as error:
            raise VolumeError(f"kubernetes.io/csi: {error}", _step(source), source.name) from None

    async def _mount(self, pod: core_v1.Pod, source: VolumeSource, is_again: bool) -> str:
        about = await self._references.get(storage_v1.CSIDriver, "", source.driver)
        if problem := requests.lifecycle_problem(source, about):
            where = "kubernetes.io/csi: mounter.SetupAt failed to check volume lifecycle mode"
            raise VolumeError(f"{where}: {problem}")
        device = source.driver, source.handle
        async with self._lock(device):
            self.holdings.wish(pod.metadata.uid, device, is_attached=False)
            attachment, context = await self._attached(pod, source, about)
            driver = self._driver(source)
            self._check_alone(pod, source)
            if m.STAGE_UNSTAGE_VOLUME in driver.can and source.lifecycle != EPHEMERAL:
                await self._stage(pod, source, driver, attachment, context)
            published = Published(
                uid=pod.metadata.uid,
                name=source.name,
                driver=source.driver,
                handle=source.handle,
                lifecycle=source.lifecycle,
                is_block=source.is_block,
                attachment=attachment,
            )
            await self._publish(pod, source, driver, published, context)
            fulfilled = self.holdings.fulfilled(published.uid, device)
            if not attachment and any(wish.is_attached for wish in fulfilled):
                self._changed()  # its driver turned out to attach nothing
        if not is_again:
            await self._give_to_group(pod, source, about, driver, self.target(published))
        return self.target(published)

    def _check_alone(self, pod: core_v1.Pod, source: VolumeSource) -> None:
        """Raises VolumeError if the volume is for one pod, and another one has it."""
        device = source.driver, source.handle
        is_for_one = source.access_modes == ["ReadWriteOncePod"]
        if is_for_one and self.holdings.has_another(pod.metadata.uid, device):
            mode = "volume uses the ReadWriteOncePod access mode"
            step = "MapVolume.SetUpDevice" if source.is_block else _SET_UP
            raise VolumeError(f"{mode} and is already in use by another pod", step)

    def _driver(self, source: VolumeSource) -> Driver:
        try:
            return self._drivers.get(source.driver)
        except VolumeError as error:
            is_staged = source.lifecycle != EPHEMERAL and not source.is_block
            step = _MOUNT_DEVICE if is_staged else _step(source)
            where = "mounter.SetUpAt failed to get CSI client"
            if is_staged:
                where = "attacher.MountDevice failed to create newCsiDriverClient"
            raise VolumeError(f"kubernetes.io/csi: {where}: {error}", step) from None

    async def _attached(
        self, pod: core_v1.Pod, source: VolumeSource, about: storage_v1.CSIDriver | None
    ) -> tuple[str, dict[str, str]]:
        """(name of the VolumeAttachment, what the attacher says of it), empty where nothing needs
        to be attached. Raises VolumePending until the volume is, and the node's status says that
        the node uses it: from then on it is not detached."""
        needs_none = about is not None and about.spec.attach_required is False
        if source.lifecycle == EPHEMERAL or needs_none:
            return "", {}
        unique = source.unique_name
        status = self._node().status
        if unique not in status.volumes_in_use:
            device = source.driver, source.handle
            self.holdings.wish(pod.metadata.uid, device, is_attached=True)
            self._changed()
            raise VolumePending("the node's status does not say yet that the node uses it")
        name = attachment_name(source.driver, source.handle, self._name)
        get = self._references.get
        if all(unique != volume.name for volume in status.volumes_attached):
            await self._check_room(about, await get(storage_v1.VolumeAttachment, "", name))
            raise VolumePending("Volume not attached according to node status for volume")
        attachment: storage_v1.VolumeAttachment | None = await get(
            storage_v1.VolumeAttachment, "", name, fresh=0
        )
        if attachment is None or not attachment.status.attached:
            problem = f"volume {source.handle} is not attached for volume attachment {name}"
            raise VolumePending(problem, "MountVolume.WaitForAttach")
        return name, dict(attachment.status.attachment_metadata)

    async def _check_room(
        self,
        about: storage_v1.CSIDriver | None,
        attachment: storage_v1.VolumeAttachment | None,
    ) -> None:
        """Raises VolumesExhausted if a driver whose limit may change says that the node has too
        many of its volumes. Its limit is requested again."""
        error = attachment.status.attach_error if attachment is not None else None
        if about is None or error is None or error.error_code != _RESOURCE_EXHAUSTED:
            return
        if about.spec.node_allocatable_update_period_seconds:
            self._drivers.ask_soon(about.metadata.name)
            raise VolumesExhausted(error.message)

    async def _stage(
        self,
        pod: core_v1.Pod,
        source: VolumeSource,
        driver: Driver,
        attachment: str,
        context: dict[str, str],
    ) -> None:
        staged = records.staged_of(source, attachment)
        if staged.device in self._certain:
            return
        request = m.NodeStageVolumeRequest(
            volume_id=source.handle,
            publish_context=context,
            staging_target_path=records.shown(staged.target),
            volume_capability=requests.capability(source, driver.can, _group(pod)),
            secrets=await self._credentials.secrets(source.stage_secret, "NodeStageSecretRef"),
            volume_context=dict(source.attributes),
        )
        is_new = await self.holdings.keep_staged(staged)
        try:
            await driver.call("NodeStageVolume", request, m.NodeStageVolumeResponse)
        except PluginError as error:
            if error.is_final and is_new:
                await self.holdings.forget_refused(staged)
            step = "MapVolume.SetUpDevice" if source.is_block else _MOUNT_DEVICE
            raise VolumeError(str(error), step, source.name) from None
        self._certain.add(staged.device)

    async def _publish(
        self,
        pod: core_v1.Pod,
        source: VolumeSource,
        driver: Driver,
        published: Published,
        context: dict[str, str],
    ) -> None:
        about = await self._references.get(storage_v1.CSIDriver, "", source.driver)
        secrets = await self._credentials.secrets(source.publish_secret, "NodePublishSecretRef")
        attributes = dict(source.attributes)
        if about is not None and about.spec.pod_info_on_mount:
            attributes |= requests.pod_info(pod, source)
        if about is not None and about.spec.token_requests:
            tokens = await self._credentials.tokens(pod, about)
            if about.spec.service_account_token_in_secrets:
                secrets |= tokens
            else:
                attributes |= tokens
        request = m.NodePublishVolumeRequest(
            volume_id=source.handle,
            publish_context=context,
            staging_target_path=self.staging_path(source),
            target_path=records.shown(published.target),
            volume_capability=requests.capability(source, driver.can, _group(pod)),
            readonly=source.read_only,
            secrets=secrets,
            volume_context=attributes,
        )
        is_new = await self.holdings.keep_published(published)
        try:
            await driver.call("NodePublishVolume", request, m.NodePublishVolumeResponse)
        except PluginError as error:
            if error.is_final and is_new:
                await self.holdings.forget_refused(published)
            raise

    async def _give_to_group(
        self,
        pod: core_v1.Pod,
        source: VolumeSource,
        about: storage_v1.CSIDriver | None,
        driver: Driver,
        path: str,
    ) -> None:
        group = _group(pod)
        if group is None or not requests.gives_to_group(source, about, driver.can):
            return
        assert pod.spec.security_context is not None
        policy = pod.spec.security_context.fs_group_change_policy
        try:
            await asyncio.to_thread(give_to_group, path, group, policy)
        except OSError as error:
            raise VolumeError(f"applyFSGroup failed for vol {source.handle}: {error}") from None

    async def republish(self, pod: core_v1.Pod, source: VolumeSource) -> None:
        """Publishes a volume again if its driver asks for that (`requiresRepublish`): its tokens
        may be new. Raises VolumeError."""
        about = await self._references.get(storage_v1.CSIDriver, "", source.driver)
        if about is not None and about.spec.requires_republish:
            await self.mount(pod, source, is_again=True)

    # --- from a pod ---

    async def release(self, uid: str) -> None:
        """Takes back all volumes of a pod. Raises VolumeError after it has tried each."""
        in_vain = self.holdings.abandoned(uid)
        failure: VolumeError | None = None
        for published in self.holdings.of_pod(uid).values():
            try:
                await self._unpublish(published)
            except VolumeError as error:
                failure = failure or error
        for device in {wish.device for wish in in_vain}:
            try:
                async with self._lock(device):
                    await self._unstage(device)
            except VolumeError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        if any(wish.is_attached for wish in in_vain):
            self._changed()

    async def _unpublish(self, published: Published) -> None:
        async with self._lock(published.device):
            try:
                driver = self._drivers.get(published.driver)
                request = m.NodeUnpublishVolumeRequest(
                    volume_id=published.handle, target_path=records.shown(published.target)
                )
                await driver.call("NodeUnpublishVolume", request, m.NodeUnpublishVolumeResponse)
                await self.holdings.drop_published(published)
            except (VolumeError, PluginError, OSError) as error:
                step = "UnmapVolume" if published.is_block else "UnmountVolume.TearDown"
                raise VolumeError(str(error), step, published.name) from None
            await self._unstage(published.device)
        if published.attachment:
            self._changed()

    async def _unstage(self, device: Device) -> None:
        """Of a volume that no pod of the node has or waits for any more. Its lock is held. Raises
        VolumeError."""
        staged = self.holdings.staged(device)
        if staged is None or self.holdings.is_used(device):
            return
        try:
            driver = self._drivers.get(staged.driver)
            self._certain.discard(device)
            request = m.NodeUnstageVolumeRequest(
                volume_id=staged.handle, staging_target_path=records.shown(staged.target)
            )
            await driver.call("NodeUnstageVolume", request, m.NodeUnstageVolumeResponse)
            await self.holdings.drop_staged(staged)
        except (VolumeError, PluginError, OSError) as error:
            raise VolumeError(str(error), "UnmountDevice", staged.name) from None

    async def unstage_unused(self) -> None:
        """What no pod has and yet is staged: taking it back failed, or an agent died in between."""
        for device in self.holdings.all_staged():
            lock = self._lock(device)
            if lock.locked() or self.holdings.is_used(device):
                continue
            async with lock:
                try:
                    await self._unstage(device)
                except VolumeError as error:
                    log.info("%s", error.event)

    def _lock(self, device: Device) -> asyncio.Lock:
        return self._locks.setdefault(device, asyncio.Lock())


def _step(source: VolumeSource) -> str:
    return "MapVolume.MapPodDevice" if source.is_block else _SET_UP


def _group(pod: core_v1.Pod) -> int | None:
    security = pod.spec.security_context
    return security.fs_group if security is not None else None
