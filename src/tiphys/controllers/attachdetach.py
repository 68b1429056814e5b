"""Attach and detach: a volume of a CSI driver is attached to a node while pods there use it.

The wish is a VolumeAttachment, which the driver's attacher fulfils; what is attached stands in the node's status, where
the node's agent waits for it. A volume is let go only when the node says that it uses it no longer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import core_v1, storage_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.controllers.podgc import OUT_OF_SERVICE
from tiphys.controllers.pods import condition
from tiphys.controllers.shell import Controller
from tiphys.machinery import volumes
from tiphys.machinery.errors import StatusError

PATIENCE = 360.0  # seconds that a node may keep using a volume that no pod there wants, until it is not waited for
Attachment = storage_v1.VolumeAttachment


# --- the core: pure ---


@dataclass(frozen=True)
class Wish:
    """One volume on one node."""

    driver: str
    handle: str
    volume: str  # name of the PersistentVolume
    node: str

    @property
    def name(self) -> str:
        digest = hashlib.sha256((self.handle + self.driver + self.node).encode()).hexdigest()
        return f"csi-{digest}"

    @property
    def unique(self) -> str:
        """The volume as nodes call it in their status."""
        return f"kubernetes.io/csi/{self.driver}^{self.handle}"


@dataclass
class Plan:
    """What to do for one node; `refused` are wishes that another node's hold on the volume forbids."""

    create: list[Wish] = field(default_factory=list)
    delete: list[Attachment] = field(default_factory=list)
    refused: list[Wish] = field(default_factory=list)
    attached: list[core_v1.AttachedVolume] = field(default_factory=list)
    wake: float | None = None


def plan(
    node: core_v1.Node | None,
    wishes: list[Wish],
    here: list[Attachment],
    exclusive: Callable[[Wish], bool],
    unwanted_since: dict[str, float],
    unique_of: Callable[[Attachment], str],
    now: float,
) -> Plan:
    """One look at a node: `wishes` of its pods, the attachments that are `here`. `exclusive` says whether a volume may not
    be on this node because it is on another. `unwanted_since` remembers since when nobody wants an attachment."""
    made, wanted, standing = (
        Plan(),
        {wish.name: wish for wish in wishes},
        {a.metadata.name: a for a in here},
    )
    for name, wish in wanted.items():
        unwanted_since.pop(name, None)
        if name not in standing:
            (made.refused if exclusive(wish) else made.create).append(wish)
    used = set(node.status.volumes_in_use) if node is not None else set()
    for name, attachment in standing.items():
        leaving = (
            name not in wanted
            and not attachment.metadata.deletion_timestamp
            and _OURS.fullmatch(name)
        )
        if leaving:
            left = unwanted_since.setdefault(name, now) + PATIENCE - now
            if node is None or unique_of(attachment) not in used or left <= 0 or _given_up(node):
                made.delete.append(attachment)
                unwanted_since.pop(name, None)
                continue
            made.wake = left if made.wake is None else min(made.wake, left)
        if attachment.status.attached and not attachment.metadata.deletion_timestamp:
            made.attached.append(core_v1.AttachedVolume(name=unique_of(attachment), device_path=""))
    made.attached.sort(key=lambda volume: volume.name)
    return made


_OURS = re.compile(
    r"csi-[0-9a-f]{64}"
)  # the names that we give; others are made, and deleted, by others


def _given_up(node: core_v1.Node) -> bool:
    ready = condition(node, "Ready")
    silent = ready is None or ready.status != "True"
    return silent and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)


def is_exclusive(volume: core_v1.PersistentVolume) -> bool:
    """Whether a volume may be on one node only."""
    return set(volume.spec.access_modes) <= {"ReadWriteOnce", "ReadWriteOncePod"}


# --- the shell ---


class AttachDetachController(Controller):
    """Keys are nodes."""

    name = "attachdetach"
    workers = 2

    def watch(self) -> None:
        self._nodes, self._pods = self.informer(core_v1.Node), self.informer(core_v1.Pod)
        self._claims = self.informer(core_v1.PersistentVolumeClaim)
        self._volumes = self.informer(core_v1.PersistentVolume)
        self._drivers, self._attachments = (
            self.informer(storage_v1.CSIDriver),
            self.informer(Attachment),
        )
        self._pods.index("node", lambda pod: [pod.spec.node_name])
        self._pods.index(
            "claim",
            lambda pod: [f"{pod.metadata.namespace}/{name}" for name in volumes.claims_of(pod)],
        )
        self._attachments.index("node", lambda a: [a.spec.node_name])
        self._attachments.index("volume", lambda a: [a.spec.source.persistent_volume_name or ""])
        self._unwanted: dict[str, float] = {}
        self._pods.on_change(self._pod_changed)
        self._attachments.on_change(lambda old, new: self.queue.add((new or old).spec.node_name))
        self._nodes.on_change(self._node_changed)
        self._claims.on_change(self._claim_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        pod = new or old
        if pod.spec.node_name and volumes.claims_of(pod):
            self.queue.add(pod.spec.node_name)

    def _claim_changed(self, old: Any, new: Any) -> None:
        if new is None or (old is not None and volumes.is_bound(old) == volumes.is_bound(new)):
            return
        for pod in self._pods.by("claim", f"{new.metadata.namespace}/{new.metadata.name}"):
            self._pod_changed(None, pod)

    def _node_changed(self, old: Any, new: Any) -> None:
        name = (new or old).metadata.name
        if self._attachments.by("node", name):
            self.queue.add(name)

    def _wishes(self, node: str) -> dict[Wish, core_v1.Pod]:
        found: dict[Wish, core_v1.Pod] = {}
        for pod in self._pods.by("node", node):
            if pod.status.phase in ("Succeeded", "Failed"):
                continue
            for name in volumes.claims_of(pod):
                claim = self._claims.get(f"{pod.metadata.namespace}/{name}")
                volume = self._volumes.get(claim.spec.volume_name) if claim is not None else None
                csi = volume.spec.csi if volume is not None else None
                if volume is not None and csi is not None and self._attaches(csi.driver):
                    found.setdefault(
                        Wish(csi.driver, csi.volume_handle, volume.metadata.name, node), pod
                    )
        return found

    def _attaches(self, driver: str) -> bool:
        found = self._drivers.get(driver)
        return found is None or found.spec.attach_required is not False

    def _unique_of(self, attachment: Attachment) -> str:
        volume = self._volumes.get(attachment.spec.source.persistent_volume_name or "")
        csi = volume.spec.csi if volume is not None else None
        return f"kubernetes.io/csi/{attachment.spec.attacher}^{csi.volume_handle if csi is not None else ''}"

    def _is_elsewhere(self, wish: Wish) -> bool:
        volume = self._volumes.get(wish.volume)
        others = (
            a for a in self._attachments.by("volume", wish.volume) if a.spec.node_name != wish.node
        )
        return volume is not None and is_exclusive(volume) and any(others)

    async def reconcile(self, key: str) -> float | None:
        node, wishes = self._nodes.get(key), self._wishes(key)
        here = self._attachments.by("node", key)
        if not wishes and not here:
            await self._tell(node, [])
            return None
        made = plan(
            node,
            list(wishes),
            here,
            self._is_elsewhere,
            self._unwanted,
            self._unique_of,
            self.context.now(),
        )
        for wish in made.create:
            await self._attach(wish)
        for attachment in made.delete:
            await self._detach(attachment)
        for wish in made.refused:
            pod, text = (
                wishes[wish],
                "Volume is already exclusively attached to one node and can't be attached to another",
            )
            why = f'Multi-Attach error for volume "{wish.volume}" {text}'
            self.context.recorder.record(pod, "Warning", "FailedAttachVolume", why)
            made.wake = min(made.wake or 5.0, 5.0)
        await self._tell(node, made.attached)
        return made.wake

    async def _attach(self, wish: Wish) -> None:
        spec = storage_v1.VolumeAttachmentSpec(attacher=wish.driver, node_name=wish.node)
        spec.source.persistent_volume_name = wish.volume
        try:
            await self.client.create(Attachment(metadata=ObjectMeta(name=wish.name), spec=spec))
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _detach(self, attachment: Attachment) -> None:
        try:
            await self.client.delete(
                Attachment, attachment.metadata.name, uid=attachment.metadata.uid
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    async def _tell(
        self, node: core_v1.Node | None, attached: list[core_v1.AttachedVolume]
    ) -> None:
        """Keeps the node's status, and says of what is new that it is there."""
        if node is None or node.status.volumes_attached == attached:
            return
        before = {volume.name for volume in node.status.volumes_attached}
        rows = [{"name": volume.name, "devicePath": volume.device_path} for volume in attached]
        change = {"status": {"volumesAttached": rows or None}}
        await self.client.patch(
            core_v1.Node, node.metadata.name, change, subresource="status", media=MERGE
        )
        for wish, pod in self._wishes(node.metadata.name).items():
            if wish.unique in {volume.name for volume in attached} - before:
                text = f'AttachVolume.Attach succeeded for volume "{wish.volume}"'
                self.context.recorder.record(pod, "Normal", "SuccessfulAttachVolume", text)
