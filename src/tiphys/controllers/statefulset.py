"""Stateful sets: pods with names, volumes and an order of their own.

What to do next is worked out in `ordinals`, whose the volume claims are in `retention`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.api.apps_v1 import ControllerRevision, StatefulSet
from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.core_v1 import PersistentVolumeClaim
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.controllers import retention
from tiphys.controllers.claiming import claim
from tiphys.controllers.history import HASH_LABEL, REVISION_LABEL, History, template_of
from tiphys.controllers.ordinals import Plan, member, ordinal, ordinals_of, plan, revision_of
from tiphys.controllers.pods import FailureBackoff, from_template, is_active
from tiphys.controllers.shell import Context, Controller, owner_index, sooner
from tiphys.machinery.errors import StatusError, is_already_exists, is_write_overtaken
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.selectors import from_label_selector
from tiphys.machinery.volumes import claim_index

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_LONGEST_FAILURE_WAIT = 10.0  # seconds until a failed pod is replaced, at the most


# --- pods and claims ---


def pod_name(owner: StatefulSet, number: int) -> str:
    return f"{owner.metadata.name}-{number}"


def claim_name(template: PersistentVolumeClaim, pod: str) -> str:
    """The name of the claim of a template for the pod of that name."""
    return f"{template.metadata.name}-{pod}"


def new_pod(
    owner: StatefulSet, template: core_v1.PodTemplateSpec, number: int, revision: str
) -> core_v1.Pod:
    """The pod of one ordinal, with its name, its host name and its volumes."""
    pod = from_template(template, owner)
    name = pod_name(owner, number)
    pod.metadata.generate_name = ""
    pod.metadata.name = name
    pod.metadata.labels |= {POD_NAME: name, POD_INDEX: str(number), REVISION_LABEL: revision}
    pod.spec.hostname = name
    pod.spec.subdomain = owner.spec.service_name
    claimed = {t.metadata.name: claim_name(t, name) for t in owner.spec.volume_claim_templates}
    pod.spec.volumes = [volume for volume in pod.spec.volumes if volume.name not in claimed]
    for volume, claim_of_volume in claimed.items():
        source = core_v1.PersistentVolumeClaimVolumeSource(claim_name=claim_of_volume)
        pod.spec.volumes.append(core_v1.Volume(name=volume, persistent_volume_claim=source))
    return pod


def new_claim(
    owner: StatefulSet, template: PersistentVolumeClaim, pod: core_v1.Pod
) -> PersistentVolumeClaim:
    """The claim of a template for a pod; whose it is, the retention policy says."""
    labels = dict(template.metadata.labels)
    if owner.spec.selector is not None:
        labels |= owner.spec.selector.match_labels
    meta = ObjectMeta(
        name=claim_name(template, pod.metadata.name),
        namespace=owner.metadata.namespace,
        labels=labels,
        annotations=dict(template.metadata.annotations),
        owner_references=retention.owners(owner, pod, [], condemned=False),
    )
    spec = decode(encode(template.spec), core_v1.PersistentVolumeClaimSpec)
    return PersistentVolumeClaim(metadata=meta, spec=spec)


def _waits(owner: StatefulSet, pod: core_v1.Pod) -> bool:
    """Whether a pod that the set wants may be waiting for a claim that was deleted: it would
    never be scheduled."""
    if owner.metadata.deletion_timestamp or pod.metadata.deletion_timestamp:
        return False
    return pod.status.phase == "Pending" and ordinal(pod, owner) in ordinals_of(owner)


# --- the shell ---


class StatefulSetController(Controller):
    name = "statefulset"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._failures = FailureBackoff(context.now, _LONGEST_FAILURE_WAIT)

    def watch(self) -> None:
        self._sets = self.informer(StatefulSet)
        self._pods = self.informer(core_v1.Pod)
        self._claims = self.informer(PersistentVolumeClaim)
        self._pods.index("owner", owner_index)
        revisions = self.informer(ControllerRevision)
        revisions.index("owner", owner_index)
        self._history = History(self.client, revisions, HASH_LABEL)
        self._sets.on_change(self.enqueue)
        self._pods.on_change(self.enqueue_owner("StatefulSet"))
        self._pods.on_change(self._orphan_changed)
        self._pods.index("claim", claim_index)
        self._claims.on_change(self._claim_changed)

    def _claim_changed(self, old: Any, new: Any) -> None:
        """A deleted claim is recreated for the pod that waits for it."""
        if new is None:
            for pod in self._pods.by("claim", f"{old.metadata.namespace}/{old.metadata.name}"):
                self.enqueue_owner("StatefulSet")(None, pod)

    def _orphan_changed(self, old: Any, new: Any) -> None:
        """Some set may adopt a pod that has no owner: the one that its name says it is of."""
        if new is None or new.metadata.owner_references or not new.metadata.labels:
            return
        identity = member(new.metadata.name)
        if identity is not None:
            self.queue.add(f"{new.metadata.namespace}/{identity.owner}")

    async def reconcile(self, key: str) -> float | None:
        owner = self._sets.get(key)
        if owner is None:
            return None
        pods = await self._claim_pods(owner)
        update, collisions = await self._history.current(owner)
        known = {revision.metadata.name: revision for revision in self._history.of(owner)}
        current = known.get(owner.status.current_revision, update)
        now = self.context.now()
        todo = plan(owner, pods, current.metadata.name, update.metadata.name, now)
        todo.status.collision_count = collisions
        await self._retain_claims(owner, pods, todo)
        for pod in pods:
            if _waits(owner, pod):
                await self._create_claims(owner, pod)
        for number, revision in todo.create:
            if not self._waits_for_claims(owner, number):
                template = template_of(known.get(revision, update))
                await self._create(owner, new_pod(owner, template, number, revision))
        for pod in todo.delete:
            wait = 0.0
            if pod_finished(pod):
                wait = self._failures.wait(owner.metadata.uid, pod.metadata.name)
            if wait:
                todo.wake = sooner(todo.wake, wait)
            else:
                await self._delete_pod(owner, pod)
        await self.write_status(owner, todo.status)
        live = {update.metadata.name, todo.status.current_revision, *map(revision_of, pods)}
        await self._history.truncate(owner, live)
        return todo.wake

    async def _claim_pods(self, owner: StatefulSet) -> list[core_v1.Pod]:
        selector = from_label_selector(owner.spec.selector)
        assert selector is not None, "validation requires one"

        def is_adoptable(pod: core_v1.Pod) -> bool:
            return is_active(pod) and ordinal(pod, owner) >= 0

        return await claim(self.client, self._pods, owner, selector, is_adoptable)

    # --- pods ---

    async def _create(self, owner: StatefulSet, pod: core_v1.Pod) -> None:
        """Creates a pod, and the claims of it that are not there, before it."""
        await self._create_claims(owner, pod)
        await self._create_one(owner, pod, f"Pod {pod.metadata.name}")

    async def _create_claims(self, owner: StatefulSet, pod: core_v1.Pod) -> None:
        name = pod.metadata.name
        for template in owner.spec.volume_claim_templates:
            wanted = new_claim(owner, template, pod)
            if self._claims.get(f"{wanted.metadata.namespace}/{wanted.metadata.name}") is None:
                await self._create_one(owner, wanted, f"Claim {wanted.metadata.name} Pod {name}")

    async def _create_one(self, owner: StatefulSet, obj: Any, noun: str) -> None:
        action = f"create {noun} in StatefulSet {owner.metadata.name}"
        try:
            await self.client.create(obj)
        except StatusError as error:
            if is_already_exists(error):
                return
            self.event(owner, "Warning", "FailedCreate", f"{action} failed error: {error}")
            raise
        self.event(owner, "Normal", "SuccessfulCreate", f"{action} successful")

    async def _delete_pod(self, owner: StatefulSet, pod: core_v1.Pod) -> None:
        meta = pod.metadata
        action = f"delete Pod {meta.name} in StatefulSet {owner.metadata.name}"
        if pod_finished(pod):
            self._recreating_event(owner, pod)
        try:
            await self.client.delete(core_v1.Pod, meta.name, meta.namespace, uid=meta.uid)
        except StatusError as error:
            if is_write_overtaken(error):
                return
            self.event(owner, "Warning", "FailedDelete", f"{action} failed error: {error}")
            raise
        self.event(owner, "Normal", "SuccessfulDelete", f"{action} successful")

    def _recreating_event(self, owner: StatefulSet, pod: core_v1.Pod) -> None:
        phase = pod.status.phase
        reason = "RecreatingFailedPod" if phase == "Failed" else "RecreatingTerminatedPod"
        where = f"{owner.metadata.namespace}/{owner.metadata.name}"
        message = f"StatefulSet {where} is recreating {phase.lower()} Pod {pod.metadata.name}"
        self.event(owner, "Warning", reason, message)

    # --- claims ---

    def _claims_of(self, owner: StatefulSet, pod: str) -> list[PersistentVolumeClaim]:
        """The claims that are there of the pod of that name."""
        names = [claim_name(template, pod) for template in owner.spec.volume_claim_templates]
        cached = [self._claims.get(f"{owner.metadata.namespace}/{name}") for name in names]
        return [standing for standing in cached if standing is not None]

    def _waits_for_claims(self, owner: StatefulSet, number: int) -> bool:
        """Whether a claim of the ordinal still goes with an earlier pod of that name: a new one
        would lose it."""
        name = pod_name(owner, number)
        return any(
            retention.goes_with_a_pod(owner, name, standing.metadata.owner_references)
            for standing in self._claims_of(owner, name)
        )

    async def _retain_claims(self, owner: StatefulSet, pods: list[core_v1.Pod], todo: Plan) -> None:
        """Makes the claims of the pods belong to whom the retention policy says."""
        if owner.metadata.deletion_timestamp:
            return
        condemned = {pod.metadata.uid for pod in todo.condemned}
        for pod in pods:
            for standing in self._claims_of(owner, pod.metadata.name):
                await self._retain_claim(owner, pod, standing, pod.metadata.uid in condemned)

    async def _retain_claim(
        self,
        owner: StatefulSet,
        pod: core_v1.Pod,
        standing: PersistentVolumeClaim,
        condemned: bool,
    ) -> None:
        meta = standing.metadata
        refs = meta.owner_references
        if retention.is_foreign(owner, pod, refs):
            message = (
                f"PersistentVolumeClaim {meta.name} has a conflicting OwnerReference that acts as "
                "a manging controller, the retention policy is ignored for this claim"
            )
            self.event(owner, "Warning", "ConflictingController", message)
        wanted = retention.owners(owner, pod, refs, condemned)
        if wanted == refs:
            return
        change = {
            "ownerReferences": to_builtins(wanted) or None,
            "resourceVersion": meta.resource_version,
        }
        body = {"metadata": change}
        await self.client.patch(PersistentVolumeClaim, meta.name, body, meta.namespace, media=MERGE)
