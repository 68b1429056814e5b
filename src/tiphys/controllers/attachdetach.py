"""Attach and detach: a volume of a CSI driver is attached to a node while pods there use it.

What is wanted is a VolumeAttachment, which the driver's attacher fulfils; what is attached stands
in the node's status, where the node's agent waits for it. A volume is detached only when the node
says that it uses it no longer.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1, storage_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.controllers.attachplan import (
    Attachment,
    Surroundings,
    Wish,
    is_exclusive,
    plan,
    unique_name,
)
from tiphys.controllers.shell import Controller, sooner
from tiphys.machinery import volumes
from tiphys.machinery.errors import StatusError, is_already_exists
from tiphys.machinery.finished import pod_finished

_AFTER_REFUSAL = 5.0  # seconds until an exclusive volume is tried again


class AttachDetachController(Controller):
    """Keys are nodes."""

    name = "attachdetach"
    workers = 2

    def watch(self) -> None:
        self._nodes = self.informer(core_v1.Node)
        self._pods = self.informer(core_v1.Pod)
        self._claims = self.informer(core_v1.PersistentVolumeClaim)
        self._volumes = self.informer(core_v1.PersistentVolume)
        self._drivers = self.informer(storage_v1.CSIDriver)
        self._attachments = self.informer(Attachment)
        self._pods.index("node", lambda pod: [pod.spec.node_name])
        self._pods.index("claim", volumes.claim_index)
        self._attachments.index("node", lambda a: [a.spec.node_name])
        self._attachments.index("volume", lambda a: [a.spec.source.persistent_volume_name or ""])
        self._around = Surroundings(self._is_elsewhere, self._unique_name_of)
        self._pods.on_change(self._pod_changed)
        self._attachments.on_change(self._attachment_changed)
        self._nodes.on_change(self._node_changed)
        self._claims.on_change(self._claim_changed)
        self._drivers.on_change(self._driver_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        pod = new or old
        if pod.spec.node_name and volumes.claims_of(pod):
            self.queue.add(pod.spec.node_name)

    def _claim_changed(self, old: Any, new: Any) -> None:
        if new is None or (old is not None and volumes.is_bound(old) == volumes.is_bound(new)):
            return
        for pod in self._pods.by("claim", f"{new.metadata.namespace}/{new.metadata.name}"):
            self._pod_changed(None, pod)

    def _driver_changed(self, old: Any, new: Any) -> None:
        """Its volumes may need attaching, or need it no more."""
        name = (new or old).metadata.name
        for volume in self._volumes:
            if volume.spec.csi is not None and volume.spec.csi.driver == name:
                self._volume_changed(volume)

    def _volume_changed(self, volume: core_v1.PersistentVolume) -> None:
        for attachment in self._attachments.by("volume", volume.metadata.name):
            self.queue.add(attachment.spec.node_name)
        claim = volume.spec.claim_ref
        if claim is not None:
            for pod in self._pods.by("claim", f"{claim.namespace}/{claim.name}"):
                self._pod_changed(None, pod)

    def _attachment_changed(self, old: Any, new: Any) -> None:
        self.queue.add((new or old).spec.node_name)
        problem = new.status.attach_error if new is not None else None
        if problem is not None and (old is None or old.status.attach_error != problem):
            self._failed_event(new, problem.message)

    def _node_changed(self, old: Any, new: Any) -> None:
        name = (new or old).metadata.name
        if self._attachments.by("node", name):
            self.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        wishes = self._wishes(key)
        standing = self._attachments.by("node", key)
        todo = plan(node, list(wishes), standing, self._around, self.context.now())
        for wish in todo.create:
            await self._attach(wish)
        for attachment in todo.delete:
            await self.delete(attachment)
        for wish in todo.refused:
            self._refused_event(wishes[wish], wish)
            todo.wake = sooner(todo.wake, _AFTER_REFUSAL)
        for wish in todo.late:
            self._late_event(wishes[wish], wish)
        if node is not None:
            await self._write_attached(node, todo.attached)
        return todo.wake

    # --- what is known ---

    def _wishes(self, node: str) -> dict[Wish, core_v1.Pod]:
        """The volumes that the pods of a node want attached, each with a pod that does."""
        wishes: dict[Wish, core_v1.Pod] = {}
        for pod in self._pods.by("node", node):
            if pod_finished(pod):
                continue
            for claim in volumes.claims_of(pod):
                wish = self._wish(node, f"{pod.metadata.namespace}/{claim}")
                if wish is not None:
                    wishes.setdefault(wish, pod)
        return wishes

    def _wish(self, node: str, claim_key: str) -> Wish | None:
        """What a claim asks for on a node; None when its volume is none of a driver that
        attaches."""
        claim = self._claims.get(claim_key)
        if claim is None:
            return None
        volume = self._volumes.get(claim.spec.volume_name)
        if volume is None or volume.spec.csi is None:
            return None
        csi = volume.spec.csi
        driver = self._drivers.get(csi.driver)
        if driver is not None and driver.spec.attach_required is False:
            return None
        return Wish(csi.driver, csi.volume_handle, volume.metadata.name, node)

    def _unique_name_of(self, attachment: Attachment) -> str:
        volume = self._volumes.get(attachment.spec.source.persistent_volume_name or "")
        csi = volume.spec.csi if volume is not None else None
        handle = csi.volume_handle if csi is not None else ""
        return unique_name(attachment.spec.attacher, handle)

    def _is_elsewhere(self, wish: Wish) -> bool:
        volume = self._volumes.get(wish.volume)
        if volume is None or not is_exclusive(volume):
            return False
        attachments = self._attachments.by("volume", wish.volume)
        return any(attachment.spec.node_name != wish.node for attachment in attachments)

    # --- what is done ---

    async def _attach(self, wish: Wish) -> None:
        spec = storage_v1.VolumeAttachmentSpec(attacher=wish.driver, node_name=wish.node)
        spec.source.persistent_volume_name = wish.volume
        try:
            await self.client.create(Attachment(metadata=ObjectMeta(name=wish.name), spec=spec))
        except StatusError as error:
            if not is_already_exists(error):
                raise

    def _failed_event(self, attachment: Attachment, problem: str) -> None:
        """The pods that wait for an attachment show why its attacher could not make it."""
        name = attachment.spec.source.persistent_volume_name
        text = f'AttachVolume.Attach failed for volume "{name}" : {problem}'
        for pod in self._pods.by("node", attachment.spec.node_name):
            for claim_name in volumes.claims_of(pod):
                claim = self._claims.get(f"{pod.metadata.namespace}/{claim_name}")
                if claim is not None and claim.spec.volume_name == name:
                    self.event(pod, "Warning", "FailedAttachVolume", text)

    def _late_event(self, pod: core_v1.Pod, wish: Wish) -> None:
        text = (
            f'AttachVolume.Attach failed for volume "{wish.volume}" : timed out waiting for '
            f"external-attacher of {wish.driver} CSI driver to attach volume {wish.handle}"
        )
        self.event(pod, "Warning", "FailedAttachVolume", text)

    def _refused_event(self, pod: core_v1.Pod, wish: Wish) -> None:
        message = (
            f'Multi-Attach error for volume "{wish.volume}" Volume is already exclusively attached '
            "to one node and can't be attached to another"
        )
        self.event(pod, "Warning", "FailedAttachVolume", message)

    async def _write_attached(
        self, node: core_v1.Node, attached: list[core_v1.AttachedVolume]
    ) -> None:
        """Keeps the node's status, and records for the pods what is new in it."""
        if node.status.volumes_attached == attached:
            return
        rows = [{"name": volume.name, "devicePath": volume.device_path} for volume in attached]
        change = {"status": {"volumesAttached": rows or None}}
        name = node.metadata.name
        await self.client.patch(core_v1.Node, name, change, subresource="status", media=MERGE)
        added = {volume.name for volume in attached}
        added -= {volume.name for volume in node.status.volumes_attached}
        for wish, pod in self._wishes(name).items():
            if wish.unique_name in added:
                message = f'AttachVolume.Attach succeeded for volume "{wish.volume}"'
                self.event(pod, "Normal", "SuccessfulAttachVolume", message)
