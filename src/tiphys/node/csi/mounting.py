"""Mounts volumes of CSI drivers for pods, and takes them back.

A volume is staged once for the node and published once for each pod. Each step is on disk before
the driver is asked for it, so that it is taken back whatever happens in between: CSI's calls may be
repeated. A driver that refuses for good (`PluginError.is_final`) has done nothing, and is asked to
take nothing back. All calls about one volume are made one after another.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from tiphys.api import core_v1, storage_v1
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError
from tiphys.node.csi import messages as m
from tiphys.node.csi import records, requests
from tiphys.node.csi.credentials import Credentials
from tiphys.node.csi.drivers import Driver, Drivers
from tiphys.node.csi.records import Published, Records, Staged
from tiphys.node.csi.source import (
    EPHEMERAL,
    VolumeSource,
    attachment_name,
    unique_name,
)
from tiphys.node.plugins.channel import PluginError
from tiphys.node.references import References
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.node.volumes.ownership import give_to_group
from tiphys.node.volumes.volumefiles import VolumeError, VolumePending

log = logging.getLogger(__name__)
T = TypeVar("T")

_MOUNT_DEVICE, _SET_UP = "MountVolume.MountDevice", "MountVolume.SetUp"


Device = tuple[str, str]  # a volume as its driver knows it: (driver, handle)


class Wish(NamedTuple):
    """A pod's volume that is not published yet: it is neither unstaged nor, if it `is_attached`,
    detached."""

    uid: str
    device: Device
    is_attached: bool


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
        self._records = Records(folder, name)
        self._published: dict[str, dict[str, Published]] = defaultdict(dict)  # by uid and name
        self._staged: dict[Device, Staged] = {}
        self._certain: set[Device] = set()  # staged by this agent
        self._wishes: set[Wish] = set()
        self._free: set[str] = set()  # drivers whose volumes need not be attached any more
        self._locks: dict[Device, asyncio.Lock] = {}

    def load(self) -> None:
        """Reads what an agent before this one has mounted. Raises OSError."""
        for one in self._records.published():
            self._published[one.uid][one.name] = one
        for staged in self._records.staged():
            self._staged[staged.device] = staged

    # --- what the node uses ---

    def in_use(self) -> list[str]:
        """Names of the attached volumes that the node uses, for its status."""
        used = {
            one.device
            for volumes in self._published.values()
            for one in volumes.values()
            if one.attachment
        }
        used |= {one.device for one in self._staged.values() if one.attachment}
        used |= {wish.device for wish in self._wishes if wish.is_attached}
        return sorted(unique_name(*device) for device in used if device[0] not in self._free)

    async def look_at_drivers(self) -> None:
        """A driver may be described anew as one whose volumes need not be attached: then the node
        keeps none of them attached. Raises StatusError, Unreachable."""
        attached = {
            one.driver
            for volumes in self._published.values()
            for one in volumes.values()
            if one.attachment
        }
        free = {name for name in attached if await self._is_free(name)}
        if free != self._free:
            self._free = free
            self._changed()

    async def _is_free(self, driver: str) -> bool:
        about = await self._references.get(storage_v1.CSIDriver, "", driver)
        return about is not None and about.spec.attach_required is False

    def pod_uids(self) -> set[str]:
        uids = {uid for uid, volumes in self._published.items() if volumes}
        return uids | {wish.uid for wish in self._wishes}

    def of_pod(self, uid: str) -> list[Published]:
        return list(self._published.get(uid, {}).values())

    def target(self, one: Published) -> str:
        """The path of a published volume on the machine."""
        return str(self._folder.root / one.target)

    def staging_path(self, source: VolumeSource) -> str:
        """As the driver calls it; "" if it was not staged."""
        staged = self._staged.get((source.driver, source.handle))
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
            self._wishes.add(Wish(pod.metadata.uid, device, is_attached=False))
            attachment, context = await self._attached(pod, source, about)
            driver = self._driver(source)
            self._check_alone(pod, source)
            if m.STAGE_UNSTAGE_VOLUME in driver.can and source.lifecycle != EPHEMERAL:
                await self._stage(pod, source, driver, attachment, context)
            one = Published(
                uid=pod.metadata.uid,
                name=source.name,
                driver=source.driver,
                handle=source.handle,
                lifecycle=source.lifecycle,
                is_block=source.is_block,
                attachment=attachment,
            )
            await self._publish(pod, source, driver, one, context)
            fulfilled = {wish for wish in self._wishes if wish[:2] == (one.uid, device)}
            self._wishes -= fulfilled
            if not attachment and any(wish.is_attached for wish in fulfilled):
                self._changed()  # its driver said meanwhile that it attaches nothing
        if not is_again:
            await self._give_to_group(pod, source, about, driver, self.target(one))
        return self.target(one)

    def _check_alone(self, pod: core_v1.Pod, source: VolumeSource) -> None:
        """Raises VolumeError if the volume is for one pod, and another one has it."""
        if source.access_modes != ["ReadWriteOncePod"]:
            return
        device = source.driver, source.handle
        for uid, volumes in self._published.items():
            if uid != pod.metadata.uid and any(one.device == device for one in volumes.values()):
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
            self._wishes.add(Wish(pod.metadata.uid, device, is_attached=True))
            self._changed()
            raise VolumePending("the node's status does not say yet that the node uses it")
        if all(unique != volume.name for volume in status.volumes_attached):
            raise VolumePending("Volume not attached according to node status for volume")
        name = attachment_name(source.driver, source.handle, self._name)
        get = self._references.get
        attachment: storage_v1.VolumeAttachment | None = await get(
            storage_v1.VolumeAttachment, "", name, fresh=0
        )
        if attachment is None or not attachment.status.attached:
            problem = f"volume {source.handle} is not attached for volume attachment {name}"
            raise VolumePending(problem, "MountVolume.WaitForAttach")
        return name, dict(attachment.status.attachment_metadata)

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
        is_first = staged.device not in self._staged
        request = m.NodeStageVolumeRequest(
            volume_id=source.handle,
            publish_context=context,
            staging_target_path=records.shown(staged.target),
            volume_capability=requests.capability(source, driver.can, _group(pod)),
            secrets=await self._credentials.secrets(source.stage_secret, "NodeStageSecretRef"),
            volume_context=dict(source.attributes),
        )
        await asyncio.to_thread(self._records.keep_staged, staged)
        self._staged[staged.device] = staged
        try:
            await driver.call("NodeStageVolume", request, m.NodeStageVolumeResponse)
        except PluginError as error:
            if error.is_final and is_first and await _dropped(self._records.drop_staged, staged):
                del self._staged[staged.device]
            step = "MapVolume.SetUpDevice" if source.is_block else _MOUNT_DEVICE
            raise VolumeError(str(error), step, source.name) from None
        self._certain.add(staged.device)

    async def _publish(
        self,
        pod: core_v1.Pod,
        source: VolumeSource,
        driver: Driver,
        one: Published,
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
            target_path=records.shown(one.target),
            volume_capability=requests.capability(source, driver.can, _group(pod)),
            readonly=source.read_only,
            secrets=secrets,
            volume_context=attributes,
        )
        is_first = one.name not in self._published[one.uid]
        await asyncio.to_thread(self._records.keep_published, one)
        self._published[one.uid][one.name] = one
        try:
            await driver.call("NodePublishVolume", request, m.NodePublishVolumeResponse)
        except PluginError as error:
            if error.is_final and is_first and await _dropped(self._records.drop_published, one):
                del self._published[one.uid][one.name]
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
        in_vain = {wish for wish in self._wishes if wish.uid == uid}
        self._wishes -= in_vain
        failure: VolumeError | None = None
        for one in self.of_pod(uid):
            try:
                await self._unpublish(one)
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
        self._published.pop(uid, None)
        if any(wish.is_attached for wish in in_vain):
            self._changed()

    async def _unpublish(self, one: Published) -> None:
        async with self._lock(one.device):
            try:
                driver = self._drivers.get(one.driver)
                request = m.NodeUnpublishVolumeRequest(
                    volume_id=one.handle, target_path=records.shown(one.target)
                )
                await driver.call("NodeUnpublishVolume", request, m.NodeUnpublishVolumeResponse)
                await asyncio.to_thread(self._records.drop_published, one)
            except (VolumeError, PluginError, OSError) as error:
                step = "UnmapVolume" if one.is_block else "UnmountVolume.TearDown"
                raise VolumeError(str(error), step, one.name) from None
            self._published[one.uid].pop(one.name, None)
            await self._unstage(one.device)
        if one.attachment:
            self._changed()

    async def _unstage(self, device: Device) -> None:
        """Of a volume that no pod of the node has or waits for any more. Its lock is held. Raises
        VolumeError."""
        staged = self._staged.get(device)
        if staged is None or self._is_used(device):
            return
        try:
            driver = self._drivers.get(staged.driver)
            self._certain.discard(device)
            request = m.NodeUnstageVolumeRequest(
                volume_id=staged.handle, staging_target_path=records.shown(staged.target)
            )
            await driver.call("NodeUnstageVolume", request, m.NodeUnstageVolumeResponse)
            await asyncio.to_thread(self._records.drop_staged, staged)
        except (VolumeError, PluginError, OSError) as error:
            raise VolumeError(str(error), "UnmountDevice", staged.name) from None
        del self._staged[device]

    def _is_used(self, device: Device) -> bool:
        return any(wish.device == device for wish in self._wishes) or any(
            one.device == device for volumes in self._published.values() for one in volumes.values()
        )

    async def unstage_unused(self) -> None:
        """What no pod has and yet is staged: taking it back failed, or an agent died in between."""
        for device in list(self._staged):
            lock = self._lock(device)
            if lock.locked() or self._is_used(device):
                continue
            async with lock:
                try:
                    await self._unstage(device)
                except VolumeError as error:
                    log.info("%s", error.event)

    def _lock(self, device: Device) -> asyncio.Lock:
        return self._locks.setdefault(device, asyncio.Lock())


async def _dropped(drop: Callable[[T], None], record: T) -> bool:
    """Strikes out the record of what a driver refused to do. False if the driver left something at
    the place, which has to be taken back."""
    try:
        await asyncio.to_thread(drop, record)
    except OSError as error:
        log.warning("A CSI driver refused a volume and left something: %s", error)
        return False
    return True


def _step(source: VolumeSource) -> str:
    return "MapVolume.MapPodDevice" if source.is_block else _SET_UP


def _group(pod: core_v1.Pod) -> int | None:
    security = pod.spec.security_context
    return security.fs_group if security is not None else None
