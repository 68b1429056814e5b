"""Persistent volumes: claims get theirs, bound or made; what is released is kept or goes; nothing goes while in use."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import decode, encode
from tiphys.api.core_v1 import PersistentVolume as Volume
from tiphys.api.core_v1 import PersistentVolumeClaim as Claim
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.storage_v1 import StorageClass
from tiphys.controllers.pods import is_active, owner_reference
from tiphys.controllers.shell import Controller
from tiphys.machinery import volumes
from tiphys.machinery.errors import StatusError

BOUND_BY, COMPLETE = "pv.kubernetes.io/bound-by-controller", "pv.kubernetes.io/bind-completed"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
CLAIM_PROTECTION = "kubernetes.io/pvc-protection"


class VolumeController(Controller):
    """Keys are ``claim/NAMESPACE/NAME`` and ``volume/NAME``."""

    name = "persistentvolume-binder"
    event_source = "persistentvolume-controller"

    def watch(self) -> None:
        self._claims, self._volumes = self.informer(Claim), self.informer(Volume)
        self._classes, self._pods = self.informer(StorageClass), self.informer(core_v1.Pod)
        self._nodes = self.informer(core_v1.Node)
        self._pods.index(
            "claim",
            lambda pod: [f"{pod.metadata.namespace}/{name}" for name in volumes.claims_of(pod)],
        )
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._classes.on_change(lambda old, new: self._all_pending())
        self._pods.on_change(self._pod_changed)

    def _claim_changed(self, old: Any, new: Any) -> None:
        claim = new or old
        self.queue.add(f"claim/{claim.metadata.namespace}/{claim.metadata.name}")
        if claim.spec.volume_name:
            self.queue.add(f"volume/{claim.spec.volume_name}")

    def _volume_changed(self, old: Any, new: Any) -> None:
        volume = new or old
        self.queue.add(f"volume/{volume.metadata.name}")
        ref = volume.spec.claim_ref
        if ref is not None:
            self.queue.add(f"claim/{ref.namespace}/{ref.name}")
        elif new is not None:
            self._all_pending()

    def _all_pending(self) -> None:
        for claim in self._claims:
            if not volumes.is_bound(claim):
                self.queue.add(f"claim/{claim.metadata.namespace}/{claim.metadata.name}")

    def _pod_changed(self, old: Any, new: Any) -> None:
        pod = new or old
        for name in volumes.claims_of(pod):
            self.queue.add(f"claim/{pod.metadata.namespace}/{name}")
        if new is not None and not new.metadata.deletion_timestamp:
            for volume in new.spec.volumes:
                if volume.ephemeral is not None:
                    self.queue.add(f"pod/{new.metadata.namespace}/{new.metadata.name}")

    async def reconcile(self, key: str) -> float | None:
        kind, _, name = key.partition("/")
        if kind == "claim" and (claim := self._claims.get(name)) is not None:
            await self._claim(claim)
        elif kind == "pod" and (pod := self._pods.get(name)) is not None:
            await self._ephemeral(pod)
        elif kind == "volume" and (volume := self._volumes.get(name)) is not None:
            await self._volume(volume)
        return None

    # --- claims ---

    async def _claim(self, claim: Claim) -> None:
        if claim.metadata.deletion_timestamp:
            await self._let_claim_go(claim)
            return
        if claim.spec.volume_name and claim.metadata.annotations.get(COMPLETE):
            await self._keep_bound(claim)
            return
        kind = self._classes.get(claim.spec.storage_class_name or "")
        late = kind is not None and kind.volume_binding_mode == "WaitForFirstConsumer"
        chosen = claim.metadata.annotations.get(volumes.SELECTED_NODE)
        volume = volumes.best(self._volumes, claim, self._nodes.get(chosen) if chosen else None)
        if volume is not None and (
            not late or chosen or volumes.reserved_for(volume, claim) or claim.spec.volume_name
        ):
            await self._bind(claim, volume)
            return
        if claim.spec.volume_name:
            await self._phase(claim, "Pending")
            return
        if late and not chosen:
            self._say(
                claim,
                "Normal",
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding",
            )
        elif kind is None:
            if claim.spec.storage_class_name:
                text = f'storageclass.storage.k8s.io "{claim.spec.storage_class_name}" not found'
                self._say(claim, "Warning", "ProvisioningFailed", text)
            else:
                text = "no persistent volumes available for this claim and no storage class is set"
                self._say(claim, "Normal", "FailedBinding", text)
        elif kind.provisioner != "kubernetes.io/no-provisioner":
            await self._hand_over(claim, kind)
        await self._phase(claim, "Pending")

    def _say(self, claim: Claim, kind: str, reason: str, text: str) -> None:
        self.context.recorder.record(claim, kind, reason, text)

    async def _hand_over(self, claim: Claim, kind: StorageClass) -> None:
        """Leaves a claim to a provisioner outside."""
        if claim.metadata.annotations.get(STORAGE_PROVISIONER) != kind.provisioner:
            names = dict.fromkeys(
                (STORAGE_PROVISIONER, "volume.beta.kubernetes.io/storage-provisioner"),
                kind.provisioner,
            )
            await self._patch(Claim, claim, {"metadata": {"annotations": names}})
        text = f"Waiting for a volume to be created either by the external provisioner '{kind.provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        self._say(claim, "Normal", "ExternalProvisioning", text)

    async def _bind(self, claim: Claim, volume: Volume) -> None:
        """The volume first, then the claim: whoever fails in between finds the volume reserved."""
        ref = volume.spec.claim_ref
        if ref is not None and ref.uid not in ("", claim.metadata.uid):
            return
        if ref is None or not ref.uid:
            changed = copy.deepcopy(volume)
            if ref is None:
                changed.metadata.annotations[BOUND_BY] = "yes"
            changed.spec.claim_ref = claim_reference(claim)
            volume = await self.client.update(changed)
        if volume.status.phase != "Bound":
            await self._volume_phase(volume, "Bound")
        if (
            claim.spec.volume_name != volume.metadata.name
            or COMPLETE not in claim.metadata.annotations
        ):
            changed_claim = copy.deepcopy(claim)
            if not changed_claim.spec.volume_name:
                changed_claim.metadata.annotations[BOUND_BY] = "yes"
            changed_claim.spec.volume_name = volume.metadata.name
            changed_claim.metadata.annotations[COMPLETE] = "yes"
            claim = await self.client.update(changed_claim)
        await self._phase(claim, "Bound", volume)

    async def _keep_bound(self, claim: Claim) -> None:
        volume = self._volumes.get(claim.spec.volume_name)
        if volume is None or not volumes.reserved_for(volume, claim):
            if volume is None and claim.status.phase != "Lost":
                text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
                self._say(claim, "Warning", "ClaimLost", text)
                await self._phase(claim, "Lost")
            return
        await self._phase(claim, "Bound", volume)

    async def _phase(self, claim: Claim, phase: str, volume: Volume | None = None) -> None:
        status = copy.deepcopy(claim.status)
        status.phase = phase
        if volume is not None and phase == "Bound":
            status.access_modes, status.capacity = (
                list(volume.spec.access_modes),
                dict(volume.spec.capacity),
            )
        if status != claim.status:
            changed = copy.copy(claim)
            changed.status = status
            await self.client.update_status(changed)

    async def _let_claim_go(self, claim: Claim) -> None:
        """A claim stays while a pod with a node uses it, also when that pod has finished: what has no node yet will not get
        one for a claim that goes."""
        key = f"{claim.metadata.namespace}/{claim.metadata.name}"
        used = any(_keeps(pod, claim.metadata.name) for pod in self._pods.by("claim", key))
        if not used and CLAIM_PROTECTION in claim.metadata.finalizers:
            kept = [f for f in claim.metadata.finalizers if f != CLAIM_PROTECTION]
            await self._patch(
                Claim,
                claim,
                {
                    "metadata": {
                        "finalizers": kept or None,
                        "resourceVersion": claim.metadata.resource_version,
                    }
                },
            )

    async def _ephemeral(self, pod: core_v1.Pod) -> None:
        """The claims that a pod's ephemeral volumes ask for belong to the pod."""
        if not is_active(pod):
            return
        for volume in pod.spec.volumes:
            template = (
                volume.ephemeral.volume_claim_template if volume.ephemeral is not None else None
            )
            name = f"{pod.metadata.name}-{volume.name}"
            if template is None or self._claims.get(f"{pod.metadata.namespace}/{name}") is not None:
                continue
            meta = ObjectMeta(
                name=name,
                namespace=pod.metadata.namespace,
                labels=dict(template.metadata.labels),
                annotations=dict(template.metadata.annotations),
                owner_references=[owner_reference(pod)],
            )
            try:
                spec = decode(encode(template.spec), core_v1.PersistentVolumeClaimSpec)
                await self.client.create(Claim(metadata=meta, spec=spec))
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise

    # --- volumes ---

    async def _volume(self, volume: Volume) -> None:
        ref = volume.spec.claim_ref
        claim = self._claims.get(f"{ref.namespace}/{ref.name}") if ref is not None else None
        if claim is not None and ref is not None and ref.uid and claim.metadata.uid != ref.uid:
            claim = None
        if volume.metadata.deletion_timestamp:
            if claim is None and VOLUME_PROTECTION in volume.metadata.finalizers:
                kept = [f for f in volume.metadata.finalizers if f != VOLUME_PROTECTION]
                await self._patch(Volume, volume, {"metadata": {"finalizers": kept or None}})
            return
        if ref is None:
            await self._volume_phase(volume, "Available")
        elif not ref.uid:
            await self._volume_phase(volume, "Available")
            self.queue.add(f"claim/{ref.namespace}/{ref.name}")
        elif (claim is None and not await self._still_there(ref)) or (
            claim is not None and claim.spec.volume_name not in ("", volume.metadata.name)
        ):
            # Whoever provisioned it deletes it, if its policy says so.
            await self._volume_phase(volume, "Released")

    async def _still_there(self, ref: core_v1.ObjectReference) -> bool:
        """Asks the server itself before data is given up."""
        try:
            return (await self.client.get(Claim, ref.name, ref.namespace)).metadata.uid == ref.uid
        except StatusError as error:
            if error.code != 404:
                raise
            return False

    async def _volume_phase(self, volume: Volume, phase: str) -> None:
        if volume.status.phase == phase:
            return
        changed = copy.deepcopy(volume)
        changed.status.phase = phase
        try:
            await self.client.update_status(changed)
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    async def _patch(self, kind: Any, obj: Any, change: dict[str, Any]) -> None:
        from tiphys.client.client import MERGE

        try:
            await self.client.patch(
                kind, obj.metadata.name, change, obj.metadata.namespace, media=MERGE
            )
        except StatusError as error:
            if error.code != 404:
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


def _keeps(pod: core_v1.Pod, name: str) -> bool:
    """Whether a pod that mounts a claim of that name keeps it. One that its node is done with no longer keeps those of its
    ephemeral volumes, which go with it."""
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
