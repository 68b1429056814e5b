"""Stateful sets: pods with names, volumes and an order of their own."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import core_v1
from tiphys.api.apps_v1 import ControllerRevision, StatefulSet, StatefulSetStatus
from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.controllers import retention
from tiphys.controllers.claiming import claim
from tiphys.controllers.deployment import resolve
from tiphys.controllers.history import HASH_LABEL, REVISION_LABEL, History, template_of
from tiphys.controllers.pods import (
    FailureBackoff,
    available_after,
    from_template,
    is_active,
    is_ready,
)
from tiphys.controllers.shell import Context, Controller, owner_index
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import from_label_selector
from tiphys.machinery.volumes import claims_of

POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-(\d+)$")


# --- the core: pure ---


def ordinal(pod: core_v1.Pod, owner: StatefulSet) -> int:
    """The number in a pod's name, -1 when it has none of this set's."""
    match = _NAME.match(pod.metadata.name)
    return int(match[2]) if match and match[1] == owner.metadata.name else -1


@dataclass
class Plan:
    """What to do now: ordinals to make (with the revision of each), pods to delete; and the status to write."""

    status: StatefulSetStatus
    create: list[tuple[int, str]] = field(default_factory=list)
    delete: list[core_v1.Pod] = field(default_factory=list)
    condemned: list[core_v1.Pod] = field(default_factory=list)
    wake: float | None = None


def start_of(owner: StatefulSet) -> int:
    return owner.spec.ordinals.start if owner.spec.ordinals is not None else 0


def plan(
    owner: StatefulSet, pods: list[core_v1.Pod], current: str, update: str, now: float
) -> Plan:
    """One step of a stateful set. `current` and `update` are the names of the two revisions in play."""
    start, wanted = start_of(owner), owner.spec.replicas or 0
    slots: dict[int, core_v1.Pod] = {}
    condemned = []
    for pod in pods:
        number = ordinal(pod, owner)
        if start <= number < start + wanted:
            slots[number] = pod
        elif number >= 0:
            condemned.append(pod)
    made = Plan(_status(owner, pods, current, update, now))
    made.condemned = sorted(condemned, key=lambda pod: ordinal(pod, owner), reverse=True)
    made.wake = _next_available(owner, pods, now)
    if owner.metadata.deletion_timestamp:
        return made
    if _fill(owner, slots, made, current, update, now) and _shrink(owner, slots, made, now):
        _roll(owner, slots, made, update, now)
    return made


def _status(
    owner: StatefulSet, pods: list[core_v1.Pod], current: str, update: str, now: float
) -> StatefulSetStatus:
    status = copy.deepcopy(owner.status)
    alive = [p for p in pods if ordinal(p, owner) >= 0]
    status.observed_generation = owner.metadata.generation
    status.current_revision, status.update_revision = current, update
    status.replicas = len(alive)
    status.ready_replicas = sum(is_ready(p) for p in alive)
    status.available_replicas = sum(
        available_after(p, owner.spec.min_ready_seconds, now) == 0 for p in alive
    )
    standing = [p for p in alive if not p.metadata.deletion_timestamp]
    status.current_replicas = sum(revision_of(p) == current for p in standing)
    status.updated_replicas = sum(revision_of(p) == update for p in standing)
    done = (
        owner.spec.update_strategy.type == "RollingUpdate"
        and status.updated_replicas == status.replicas
    )
    if done and status.ready_replicas == status.replicas == (owner.spec.replicas or 0):
        status.current_revision, status.current_replicas = update, status.updated_replicas
    return status


def revision_of(pod: core_v1.Pod) -> str:
    return pod.metadata.labels.get(REVISION_LABEL, "")


def _next_available(owner: StatefulSet, pods: list[core_v1.Pod], now: float) -> float | None:
    waits = [available_after(pod, owner.spec.min_ready_seconds, now) for pod in pods]
    return min((wait for wait in waits if wait), default=None)


def _healthy(owner: StatefulSet, pod: core_v1.Pod, now: float) -> bool:
    return (
        not pod.metadata.deletion_timestamp
        and available_after(pod, owner.spec.min_ready_seconds, now) == 0
    )


def _revision_for(owner: StatefulSet, number: int, current: str, update: str) -> str:
    strategy = owner.spec.update_strategy
    if strategy.type == "RollingUpdate" and strategy.rolling_update is not None:
        if number < start_of(owner) + (strategy.rolling_update.partition or 0):
            return current
    return update


def _fill(
    owner: StatefulSet,
    slots: dict[int, core_v1.Pod],
    made: Plan,
    current: str,
    update: str,
    now: float,
) -> bool:
    """Makes what is missing, in order. Returns whether the set is whole, so that the next step may be taken."""
    ordered, whole = owner.spec.pod_management_policy != "Parallel", True
    for number in range(start_of(owner), start_of(owner) + (owner.spec.replicas or 0)):
        pod = slots.get(number)
        if pod is None:
            made.create.append((number, _revision_for(owner, number, current, update)))
        elif pod.status.phase in ("Failed", "Succeeded") and not pod.metadata.deletion_timestamp:
            made.delete.append(pod)
        elif _healthy(owner, pod, now):
            continue
        elif not ordered and not pod.metadata.deletion_timestamp:
            continue  # in parallel nobody waits for a pod to be ready
        if ordered:
            return False
        whole = False
    return whole or not ordered


def _shrink(owner: StatefulSet, slots: dict[int, core_v1.Pod], made: Plan, now: float) -> bool:
    """Takes away what is too much, from the end. Returns whether nothing is too much. In order, a pod that is not
    healthy is waited for, unless none of those before it is unhealthy, too."""
    ordered = owner.spec.pod_management_policy != "Parallel"
    first = next((pod for pod in reversed(made.condemned) if not _healthy(owner, pod, now)), None)
    for pod in made.condemned:
        if pod.metadata.deletion_timestamp:
            if ordered:
                return False
            continue
        if ordered and pod is not first and not _healthy(owner, pod, now):
            return False
        made.delete.append(pod)
        if ordered:
            return False
    return not made.condemned


def _roll(
    owner: StatefulSet, slots: dict[int, core_v1.Pod], made: Plan, update: str, now: float
) -> None:
    """Replaces pods of an older revision, from the end, as many at a time as may be unavailable."""
    strategy = owner.spec.update_strategy
    if strategy.type == "OnDelete":
        return
    rolling, wanted = strategy.rolling_update, owner.spec.replicas or 0
    partition = (rolling.partition or 0) if rolling is not None else 0
    most = (
        max(1, resolve(rolling.max_unavailable, wanted, False))
        if rolling is not None and rolling.max_unavailable is not None
        else 1
    )
    start = start_of(owner)
    unavailable = sum(not _healthy(owner, pod, now) for pod in slots.values()) + wanted - len(slots)
    for number in range(start + wanted - 1, start + partition - 1, -1):
        pod = slots.get(number)
        if pod is None or pod.metadata.deletion_timestamp:
            continue
        if revision_of(pod) != update:
            broken = not _healthy(owner, pod, now)
            if not broken and unavailable >= most:
                return
            made.delete.append(pod)
            unavailable += 0 if broken else 1
            if unavailable >= most:
                return
        elif not _healthy(owner, pod, now) and most == 1:
            return  # one that is being replaced has to come up first


# --- pods and claims ---


def claim_name(template: core_v1.PersistentVolumeClaim, pod_name: str) -> str:
    return f"{template.metadata.name}-{pod_name}"


def new_pod(
    owner: StatefulSet, template: core_v1.PodTemplateSpec, number: int, revision: str
) -> core_v1.Pod:
    """The pod of one ordinal: its name, its host name, its volumes."""
    pod = from_template(template, owner)
    name = f"{owner.metadata.name}-{number}"
    pod.metadata.generate_name, pod.metadata.name = "", name
    pod.metadata.labels |= {POD_NAME: name, POD_INDEX: str(number), REVISION_LABEL: revision}
    pod.spec.hostname, pod.spec.subdomain = name, owner.spec.service_name
    claims = {t.metadata.name: claim_name(t, name) for t in owner.spec.volume_claim_templates}
    pod.spec.volumes = [v for v in pod.spec.volumes if v.name not in claims] + [
        core_v1.Volume(
            name=volume,
            persistent_volume_claim=core_v1.PersistentVolumeClaimVolumeSource(claim_name=claimed),
        )
        for volume, claimed in claims.items()
    ]
    return pod


def new_claim(
    owner: StatefulSet, template: core_v1.PersistentVolumeClaim, pod_name: str
) -> core_v1.PersistentVolumeClaim:
    spec = decode(encode(template.spec), core_v1.PersistentVolumeClaimSpec)
    labels = {
        **template.metadata.labels,
        **(owner.spec.selector.match_labels if owner.spec.selector else {}),
    }
    meta = ObjectMeta(
        name=claim_name(template, pod_name),
        namespace=owner.metadata.namespace,
        labels=labels,
        annotations=dict(template.metadata.annotations),
    )
    return core_v1.PersistentVolumeClaim(metadata=meta, spec=spec)


# --- the shell ---


class StatefulSetController(Controller):
    name = "statefulset"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._failures = FailureBackoff(context.now, 10.0)

    def watch(self) -> None:
        self._sets, self._pods = self.informer(StatefulSet), self.informer(core_v1.Pod)
        self._claims = self.informer(core_v1.PersistentVolumeClaim)
        revisions = self.informer(ControllerRevision)
        self._pods.index("owner", owner_index)
        revisions.index("owner", owner_index)
        self._history = History(self.client, revisions, HASH_LABEL)
        self._sets.on_change(self.enqueue)
        self._pods.on_change(self.enqueue_owner("StatefulSet"))
        self._pods.on_change(self._orphaned)
        self._pods.index(
            "claim", lambda pod: [f"{pod.metadata.namespace}/{name}" for name in claims_of(pod)]
        )
        self._claims.on_change(self._claim_gone)

    def _claim_gone(self, old: Any, new: Any) -> None:
        if new is None:
            for pod in self._pods.by("claim", f"{old.metadata.namespace}/{old.metadata.name}"):
                self.enqueue_owner("StatefulSet")(None, pod)

    def _orphaned(self, old: Any, new: Any) -> None:
        if new is not None and not new.metadata.owner_references and new.metadata.labels:
            match = _NAME.match(new.metadata.name)
            if match:
                self.queue.add(f"{new.metadata.namespace}/{match[1]}")

    async def reconcile(self, key: str) -> float | None:
        owner = self._sets.get(key)
        if owner is None:
            return None
        selector = from_label_selector(owner.spec.selector)
        assert selector is not None
        pods = await claim(
            self.client,
            self._pods,
            owner,
            selector,
            lambda pod: is_active(pod) and ordinal(pod, owner) >= 0,
        )
        update, collisions = await self._history.current(owner)
        known = {r.metadata.name: r for r in self._history.of(owner)}
        current = known.get(owner.status.current_revision, update)
        todo = plan(owner, pods, current.metadata.name, update.metadata.name, self.context.now())
        todo.status.collision_count = collisions
        await self._retain_claims(owner, pods, todo)
        for pod in pods:
            await self._make_claims_again(owner, pod)
        for number, revision in todo.create:
            if self._waits_for_claims(owner, number):
                continue
            await self._create(owner, number, template_of(known.get(revision, update)), revision)
        for pod in todo.delete:
            if pod.status.phase in ("Failed", "Succeeded"):
                wait = self._failures.wait(owner.metadata.uid, pod.metadata.name)
                if wait:
                    todo.wake = wait if todo.wake is None else min(todo.wake, wait)
                    continue
            await self._delete(owner, pod)
        await self._write_status(owner, todo.status)
        live = {
            update.metadata.name,
            todo.status.current_revision,
            *(revision_of(pod) for pod in pods),
        }
        await self._history.truncate(owner, live)
        return todo.wake

    async def _create(self, owner: StatefulSet, number: int, template: Any, revision: str) -> None:
        pod = new_pod(owner, template, number, revision)
        await self._make_claims(owner, pod)
        await self._made(owner, pod, f"Pod {pod.metadata.name}")

    async def _make_claims_again(self, owner: StatefulSet, pod: core_v1.Pod) -> None:
        """Those that a pod waits for and that somebody deleted: it would never be scheduled."""
        start = start_of(owner)
        wanted = start <= ordinal(pod, owner) < start + (owner.spec.replicas or 0)
        is_going = owner.metadata.deletion_timestamp or pod.metadata.deletion_timestamp
        if wanted and not is_going and pod.status.phase == "Pending":
            await self._make_claims(owner, pod)

    async def _make_claims(self, owner: StatefulSet, pod: core_v1.Pod) -> None:
        name = pod.metadata.name
        for wanted in owner.spec.volume_claim_templates:
            wish = new_claim(owner, wanted, name)
            if self._claims.get(f"{wish.metadata.namespace}/{wish.metadata.name}") is None:
                wish.metadata.owner_references = retention.owners(owner, pod, [], condemned=False)
                await self._made(owner, wish, f"Claim {wish.metadata.name} Pod {name}")

    def _waits_for_claims(self, owner: StatefulSet, number: int) -> bool:
        """Whether a claim of the ordinal still goes with an earlier pod of that name: the new one would lose it."""
        name = f"{owner.metadata.name}-{number}"
        keys = [
            f"{owner.metadata.namespace}/{claim_name(t, name)}"
            for t in owner.spec.volume_claim_templates
        ]
        standing = [found for key in keys if (found := self._claims.get(key)) is not None]
        return any(
            retention.goes_with_a_pod(owner, name, found.metadata.owner_references)
            for found in standing
        )

    async def _made(self, owner: StatefulSet, wish: Any, what: str) -> None:
        said = f"create {what} in StatefulSet {owner.metadata.name}"
        try:
            await self.client.create(wish)
        except StatusError as error:
            if error.reason == "AlreadyExists":
                return
            self.context.recorder.record(
                owner, "Warning", "FailedCreate", f"{said} failed error: {error}"
            )
            raise
        self.context.recorder.record(owner, "Normal", "SuccessfulCreate", f"{said} successful")

    async def _delete(self, owner: StatefulSet, pod: core_v1.Pod) -> None:
        name = pod.metadata.name
        said = f"delete Pod {name} in StatefulSet {owner.metadata.name}"
        if pod.status.phase in ("Failed", "Succeeded"):
            reason = f"Recreating{pod.status.phase}Pod".replace("Succeeded", "Terminated")
            text = f"StatefulSet {owner.metadata.namespace}/{owner.metadata.name} is recreating {pod.status.phase.lower()} Pod {name}"
            self.context.recorder.record(owner, "Warning", reason, text)
        try:
            await self.client.delete(
                core_v1.Pod, name, pod.metadata.namespace, uid=pod.metadata.uid
            )
        except StatusError as error:
            if error.code in (404, 409):
                return
            self.context.recorder.record(
                owner, "Warning", "FailedDelete", f"{said} failed error: {error}"
            )
            raise
        self.context.recorder.record(owner, "Normal", "SuccessfulDelete", f"{said} successful")

    async def _retain_claims(self, owner: StatefulSet, pods: list[core_v1.Pod], todo: Plan) -> None:
        """Makes the claims of the pods belong to whom the retention policy says."""
        if not owner.spec.volume_claim_templates or owner.metadata.deletion_timestamp:
            return
        condemned = {pod.metadata.uid for pod in todo.condemned}
        for pod in pods:
            for template in owner.spec.volume_claim_templates:
                standing = self._claims.get(
                    f"{owner.metadata.namespace}/{claim_name(template, pod.metadata.name)}"
                )
                if standing is not None:
                    await self._retain_claim(owner, pod, standing, pod.metadata.uid in condemned)

    async def _retain_claim(
        self,
        owner: StatefulSet,
        pod: core_v1.Pod,
        standing: core_v1.PersistentVolumeClaim,
        condemned: bool,
    ) -> None:
        refs, name = standing.metadata.owner_references, standing.metadata.name
        if retention.is_foreign(owner, pod, refs):
            told = (
                f"PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a manging controller, "
                "the retention policy is ignored for this claim"
            )
            self.context.recorder.record(owner, "Warning", "ConflictingController", told)
        wanted = retention.owners(owner, pod, refs, condemned)
        if wanted == refs:
            return
        meta = {
            "ownerReferences": to_builtins(wanted) or None,
            "resourceVersion": standing.metadata.resource_version,
        }
        kind = core_v1.PersistentVolumeClaim
        await self.client.patch(
            kind, name, {"metadata": meta}, owner.metadata.namespace, media=MERGE
        )

    async def _write_status(self, owner: StatefulSet, status: StatefulSetStatus) -> None:
        if status == owner.status:
            return
        changed = copy.copy(owner)
        changed.status = status
        await self.client.update_status(changed)
