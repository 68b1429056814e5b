"""Persistent volumes: claims are bound to theirs, or handed over to a provisioner; nothing goes
while it is in use."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import decode, encode
from tiphys.api.core_v1 import PersistentVolume as Volume
from tiphys.api.core_v1 import PersistentVolumeClaim as Claim
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.storage_v1 import StorageClass
from tiphys.client.client import MERGE
from tiphys.controllers.pods import is_active, owner_reference
from tiphys.controllers.shell import Controller
from tiphys.machinery import volumes
from tiphys.machinery.errors import StatusError, is_already_exists, is_not_found, is_write_overtaken

BOUND_BY = "pv.kubernetes.io/bound-by-controller"
COMPLETE = "pv.kubernetes.io/bind-completed"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"  # which old provisioners look at
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
NO_PROVISIONER = "kubernetes.io/no-provisioner"


class VolumeController(Controller):
    """Keys are ``claim/NAMESPACE/NAME``, ``pod/NAMESPACE/NAME`` and ``volume/NAME``."""

    name = "persistentvolume-binder"
    event_source = "persistentvolume-controller"

    def watch(self) -> None:
        self._claims = self.informer(Claim)
        self._volumes = self.informer(Volume)
        self._classes = self.informer(StorageClass)
        self._pods = self.informer(core_v1.Pod)
        self._nodes = self.informer(core_v1.Node)
        self._pods.index("claim", volumes.claim_index)
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._classes.on_change(self._class_changed)
        self._pods.on_change(self._pod_changed)

    def _claim_changed(self, old: Any, new: Any) -> None:
        claim = new or old
        self.queue.add(_claim_key(claim))
        if claim.spec.volume_name:
            self.queue.add(f"volume/{claim.spec.volume_name}")

    def _volume_changed(self, old: Any, new: Any) -> None:
        volume = new or old
        self.queue.add(f"volume/{volume.metadata.name}")
        ref = volume.spec.claim_ref
        if ref is not None:
            self.queue.add(f"claim/{ref.namespace}/{ref.name}")
        elif new is not None:
            self._enqueue_pending()

    def _class_changed(self, old: Any, new: Any) -> None:
        self._enqueue_pending()

    def _enqueue_pending(self) -> None:
        for claim in self._claims:
            if not volumes.is_bound(claim):
                self.queue.add(_claim_key(claim))

    def _pod_changed(self, old: Any, new: Any) -> None:
        pod = new or old
        meta = pod.metadata
        for name in volumes.claims_of(pod):
            self.queue.add(f"claim/{meta.namespace}/{name}")
        if new is None or meta.deletion_timestamp:
            return
        if any(volume.ephemeral is not None for volume in pod.spec.volumes):
            self.queue.add(f"pod/{meta.namespace}/{meta.name}")

    async def reconcile(self, key: str) -> float | None:
        kind, _, name = key.partition("/")
        if kind == "claim":
            claim = self._claims.get(name)
            if claim is not None:
                await self._reconcile_claim(claim)
        elif kind == "pod":
            pod = self._pods.get(name)
            if pod is not None:
                await self._create_ephemeral(pod)
        else:
            volume = self._volumes.get(name)
            if volume is not None:
                await self._reconcile_volume(volume)
        return None

    # --- claims ---

    async def _reconcile_claim(self, claim: Claim) -> None:
        if claim.metadata.deletion_timestamp:
            await self._release_claim(claim)
            return
        if claim.spec.volume_name and claim.metadata.annotations.get(COMPLETE):
            await self._keep_bound(claim)
            return
        storage_class = self._classes.get(claim.spec.storage_class_name or "")
        chosen_node = claim.metadata.annotations.get(volumes.SELECTED_NODE)
        waits = _waits_for_consumer(storage_class) and not chosen_node
        node = self._nodes.get(chosen_node) if chosen_node else None
        volume = volumes.best(self._volumes, claim, node)
        if volume is not None:
            # A volume that names the claim, or that the claim names, needs no node to be chosen.
            is_meant = volumes.reserved_for(volume, claim) or bool(claim.spec.volume_name)
            if not waits or is_meant:
                await self._bind(claim, volume)
                return
        if claim.spec.volume_name:
            await self._write_phase(claim, "Pending")
            return
        if waits:
            message = "waiting for first consumer to be created before binding"
            self.event(claim, "Normal", "WaitForFirstConsumer", message)
        elif storage_class is None:
            self._no_class_event(claim)
        elif storage_class.provisioner != NO_PROVISIONER:
            await self._hand_over(claim, storage_class)
        await self._write_phase(claim, "Pending")

    def _no_class_event(self, claim: Claim) -> None:
        name = claim.spec.storage_class_name
        if name:
            message = f'storageclass.storage.k8s.io "{name}" not found'
            self.event(claim, "Warning", "ProvisioningFailed", message)
        else:
            message = "no persistent volumes available for this claim and no storage class is set"
            self.event(claim, "Normal", "FailedBinding", message)

    async def _hand_over(self, claim: Claim, storage_class: StorageClass) -> None:
        """Leaves a claim to a provisioner outside, which looks for its name in the annotations."""
        provisioner = storage_class.provisioner
        if claim.metadata.annotations.get(STORAGE_PROVISIONER) != provisioner:
            annotations = {STORAGE_PROVISIONER: provisioner, BETA_PROVISIONER: provisioner}
            await self._patch_metadata(claim, {"annotations": annotations})
        message = (
            f"Waiting for a volume to be created either by the external provisioner '{provisioner}'"
            " or manually by the system administrator. If volume creation is delayed, please"
            " verify that the provisioner is running and correctly registered."
        )
        self.event(claim, "Normal", "ExternalProvisioning", message)

    async def _bind(self, claim: Claim, volume: Volume) -> None:
        """The volume first, then the claim: after a failure in between the volume is found
        reserved."""
        ref = volume.spec.claim_ref
        if ref is not None and ref.uid not in ("", claim.metadata.uid):
            return
        if ref is None or not ref.uid:
            reserved = copy.deepcopy(volume)
            if ref is None:
                reserved.metadata.annotations[BOUND_BY] = "yes"
            reserved.spec.claim_ref = claim_reference(claim)
            volume = await self.client.update(reserved)
        await self._write_volume_phase(volume, "Bound")
        name = volume.metadata.name
        if claim.spec.volume_name != name or COMPLETE not in claim.metadata.annotations:
            bound = copy.deepcopy(claim)
            if not bound.spec.volume_name:
                bound.metadata.annotations[BOUND_BY] = "yes"
            bound.spec.volume_name = name
            bound.metadata.annotations[COMPLETE] = "yes"
            claim = await self.client.update(bound)
        await self._write_phase(claim, "Bound", volume)

    async def _keep_bound(self, claim: Claim) -> None:
        volume = self._volumes.get(claim.spec.volume_name)
        if volume is None:
            if claim.status.phase != "Lost":
                message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
                self.event(claim, "Warning", "ClaimLost", message)
                await self._write_phase(claim, "Lost")
        elif volumes.reserved_for(volume, claim):
            await self._write_phase(claim, "Bound", volume)

    async def _write_phase(self, claim: Claim, phase: str, volume: Volume | None = None) -> None:
        """Writes the phase of a claim, and what it has of the volume it is bound to."""
        status = copy.deepcopy(claim.status)
        status.phase = phase
        if volume is not None:
            status.access_modes = list(volume.spec.access_modes)
            if claim.status.phase != phase:
                # As upstream: afterwards it may be less than the volume's, whose file system has
                # not grown yet. The resizer reports it.
                status.capacity = dict(volume.spec.capacity)
        await self.write_status(claim, status)

    async def _release_claim(self, claim: Claim) -> None:
        """A claim that is deleted stays while a pod uses it."""
        if CLAIM_PROTECTION not in claim.metadata.finalizers:
            return
        meta = claim.metadata
        pods = self._pods.by("claim", f"{meta.namespace}/{meta.name}")
        if not any(_keeps(pod, meta.name) for pod in pods):
            kept = [name for name in meta.finalizers if name != CLAIM_PROTECTION]
            change = {"finalizers": kept or None, "resourceVersion": meta.resource_version}
            await self._patch_metadata(claim, change)

    async def _create_ephemeral(self, pod: core_v1.Pod) -> None:
        """Creates the claims that a pod's ephemeral volumes ask for. They belong to the pod."""
        if not is_active(pod):
            return
        namespace = pod.metadata.namespace
        for volume in pod.spec.volumes:
            if volume.ephemeral is None or volume.ephemeral.volume_claim_template is None:
                continue
            template = volume.ephemeral.volume_claim_template
            name = f"{pod.metadata.name}-{volume.name}"
            if self._claims.get(f"{namespace}/{name}") is not None:
                continue
            meta = ObjectMeta(
                name=name,
                namespace=namespace,
                labels=dict(template.metadata.labels),
                annotations=dict(template.metadata.annotations),
                owner_references=[owner_reference(pod)],
            )
            spec = decode(encode(template.spec), core_v1.PersistentVolumeClaimSpec)
            try:
                await self.client.create(Claim(metadata=meta, spec=spec))
            except StatusError as error:
                if not is_already_exists(error):
                    raise

    # --- volumes ---

    async def _reconcile_volume(self, volume: Volume) -> None:
        """One that is deleted is released, too: its provisioner waits for that."""
        await self._follow_claim(volume)
        meta = volume.metadata
        is_protected = VOLUME_PROTECTION in meta.finalizers
        if meta.deletion_timestamp and is_protected and self._claim_of(volume) is None:
            kept = [name for name in meta.finalizers if name != VOLUME_PROTECTION]
            await self._patch_metadata(volume, {"finalizers": kept or None})

    async def _follow_claim(self, volume: Volume) -> None:
        ref = volume.spec.claim_ref
        claim = self._claim_of(volume)
        if ref is None:
            await self._write_volume_phase(volume, "Available")
        elif not ref.uid:  # reserved by hand for a claim, which may be there
            await self._write_volume_phase(volume, "Available")
            self.queue.add(f"claim/{ref.namespace}/{ref.name}")
        # The provisioner of a volume deletes it once it is released, if its policy is Delete.
        elif claim is None:
            # Data is not given up because an informer is late.
            live = await self.live(Claim, ref.name, ref.namespace)
            if live is None or live.metadata.uid != ref.uid:
                await self._write_volume_phase(volume, "Released")
        elif claim.spec.volume_name == volume.metadata.name:
            # It was written when they were bound, unless another client wrote at that moment.
            await self._write_volume_phase(volume, "Bound")
        elif claim.spec.volume_name:
            await self._write_volume_phase(volume, "Released")

    def _claim_of(self, volume: Volume) -> Claim | None:
        """The claim that a volume names, if it is still that one."""
        ref = volume.spec.claim_ref
        if ref is None:
            return None
        claim: Claim | None = self._claims.get(f"{ref.namespace}/{ref.name}")
        if claim is not None and ref.uid and claim.metadata.uid != ref.uid:
            return None
        return claim

    async def _write_volume_phase(self, volume: Volume, phase: str) -> None:
        status = copy.copy(volume.status)
        status.phase = phase
        try:
            await self.write_status(volume, status)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise

    async def _patch_metadata(self, obj: Any, change: dict[str, Any]) -> None:
        meta = obj.metadata
        body = {"metadata": change}
        try:
            await self.client.patch(type(obj), meta.name, body, meta.namespace, media=MERGE)
        except StatusError as error:
            if not is_not_found(error):
                raise


def claim_reference(claim: Claim) -> core_v1.ObjectReference:
    """How a volume names the claim it is for."""
    meta = claim.metadata
    return core_v1.ObjectReference(
        api_version="v1",
        kind="PersistentVolumeClaim",
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
    )


def _claim_key(claim: Claim) -> str:
    return f"claim/{claim.metadata.namespace}/{claim.metadata.name}"


def _waits_for_consumer(storage_class: StorageClass | None) -> bool:
    """Whether claims of a class are bound only when a pod that uses them has been placed."""
    if storage_class is None:
        return False
    return storage_class.volume_binding_mode == "WaitForFirstConsumer"


def _keeps(pod: core_v1.Pod, name: str) -> bool:
    """Whether a pod that mounts a claim of that name keeps it: as soon as it has a node, and until
    it is deleted. One that its node is done with no longer keeps the claims of its ephemeral
    volumes, which go with it."""
    if not pod.spec.node_name:
        return False
    meta = pod.metadata
    is_shut_down = meta.deletion_timestamp is not None and meta.deletion_grace_period_seconds == 0
    named = {
        volume.persistent_volume_claim.claim_name
        for volume in pod.spec.volumes
        if volume.persistent_volume_claim is not None
    }
    return name in named or not is_shut_down
