"""Replica sets and replication controllers: as many pods of one template as are wanted."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import apps_v1, core_v1
from tiphys.controllers.claiming import claim
from tiphys.controllers.expectations import BURST, Expectations
from tiphys.controllers.pods import (
    available_after,
    deletion_rank,
    from_template,
    is_active,
    rejection_wait,
)
from tiphys.controllers.shell import (
    Context,
    Controller,
    controller_of,
    owner_index,
    sooner,
)
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.selectors import Selector, from_label_selector, from_labels

_MARGIN = 0.1  # seconds after a pod becomes available until the status is counted again


# --- the core: pure ---


@dataclass
class Plan:
    """How many pods to create, or which to delete."""

    create: int = 0
    delete: list[core_v1.Pod] = field(default_factory=list)


def plan(wanted: int, active: list[core_v1.Pod], now: float) -> Plan:
    """How to get from the active pods to the wanted number, at most `BURST` at once."""
    difference = wanted - len(active)
    if difference >= 0:
        return Plan(create=min(difference, BURST))
    on_node = Counter(pod.spec.node_name for pod in active)
    ranked = sorted(active, key=lambda pod: deletion_rank(pod, on_node[pod.spec.node_name], now))
    return Plan(delete=ranked[: min(-difference, BURST)])


@dataclass
class Counts:
    """What a status says of the pods; `wake` is in how many seconds another becomes available."""

    replicas: int = 0
    fully_labeled: int = 0
    ready: int = 0
    available: int = 0
    terminating: int = 0
    wake: float | None = None


def count(owner: Any, pods: list[core_v1.Pod], now: float) -> Counts:
    """Counts the pods of a replica set or replication controller."""
    counts = Counts()
    labels = owner.spec.template.metadata.labels.items()
    for pod in pods:
        if not is_active(pod):
            counts.terminating += not pod_finished(pod)
            continue
        counts.replicas += 1
        counts.fully_labeled += labels <= pod.metadata.labels.items()
        wait = available_after(pod, owner.spec.min_ready_seconds, now)
        if wait is None:
            continue
        counts.ready += 1
        if wait == 0:
            counts.available += 1
        else:
            counts.wake = sooner(counts.wake, wait + _MARGIN)
    return counts


# --- the shell ---


class ReplicaSetController(Controller):
    name = "replicaset"
    workers = 32  # each waits for the server most of the time
    kind: Any = apps_v1.ReplicaSet
    condition: Any = apps_v1.ReplicaSetCondition

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._expectations = Expectations()

    def watch(self) -> None:
        self._sets = self.informer(self.kind)
        self._pods = self.informer(core_v1.Pod)
        self._pods.index("owner", owner_index)
        self._sets.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        for pod in (old, new):
            if pod is None:
                continue
            owner = controller_of(pod)
            if owner is None:
                if pod is new:
                    self._orphan_changed(pod)
            elif owner.kind == self.kind.__name__:
                key = f"{pod.metadata.namespace}/{owner.name}"
                self._expectations.observe(key, old, new)
                self.queue.add(key)

    def _orphan_changed(self, pod: core_v1.Pod) -> None:
        """Some set may adopt a pod that nothing controls."""
        if not pod.metadata.labels or pod.metadata.deletion_timestamp:
            return
        for owner in self._sets:
            if owner.metadata.namespace != pod.metadata.namespace:
                continue
            if self.selector(owner).matches(pod.metadata.labels):
                self.enqueue(None, owner)

    def selector(self, owner: Any) -> Selector:
        return from_label_selector(owner.spec.selector) or Selector()

    async def reconcile(self, key: str) -> float | None:
        owner = self._sets.get(key)
        if owner is None:
            self._expectations.forget(key)
            return None
        now = self.context.now()
        pods = await claim(self.client, self._pods, owner, self.selector(owner))
        active = [pod for pod in pods if is_active(pod)]
        rejection = 0.0
        if len(active) < (owner.spec.replicas or 0):
            rejection = rejection_wait(pods, now)
        failure = None
        is_due = self._expectations.met(key) and not rejection
        if is_due and not owner.metadata.deletion_timestamp:
            failure = await self._manage(key, owner, active)
        counts = count(owner, pods, now)
        await self._write_counts(owner, counts, failure)
        if failure is not None:
            raise failure
        return sooner(counts.wake, rejection or None)

    async def _manage(self, key: str, owner: Any, active: list[core_v1.Pod]) -> Exception | None:
        """Creates or deletes pods. Returns the first failure: the status has to say so before it is
        raised."""
        todo = plan(owner.spec.replicas or 0, active, self.context.now())
        if todo.create:
            return await self._create(key, owner, todo.create)
        if todo.delete:
            uids = {pod.metadata.uid for pod in todo.delete}
            self._expectations.expect(key, deletions=uids)
            failures = await _failures([self._delete(key, owner, pod) for pod in todo.delete])
            return next(iter(failures), None)
        return None

    async def _create(self, key: str, owner: Any, missing: int) -> Exception | None:
        """Slow start, as upstream: one, two, four and so on, so that a template that the server
        refuses fails once and not five hundred times."""
        self._expectations.expect(key, creations=missing)
        batch = 1
        while missing:
            batch = min(batch, missing)
            failures = await _failures([self._create_one(owner) for _ in range(batch)])
            missing -= batch
            if failures:
                self._expectations.created(key, len(failures) + missing)
                return failures[0]
            batch *= 2
        return None

    async def _create_one(self, owner: Any) -> None:
        try:
            pod = await self.client.create(from_template(owner.spec.template, owner))
        except StatusError as error:
            self.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        self.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}")

    async def _delete(self, key: str, owner: Any, pod: core_v1.Pod) -> None:
        meta = pod.metadata
        try:
            await self.client.delete(core_v1.Pod, meta.name, meta.namespace, uid=meta.uid)
        except StatusError as error:
            self._expectations.deleted(key, meta.uid)
            if not is_not_found(error):
                raise
            return
        self.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}")

    async def _write_counts(self, owner: Any, counts: Counts, failure: Exception | None) -> None:
        status = copy.deepcopy(owner.status)
        status.replicas = counts.replicas
        status.fully_labeled_replicas = counts.fully_labeled
        status.ready_replicas = counts.ready
        status.available_replicas = counts.available
        if hasattr(status, "terminating_replicas"):  # replication controllers have no such field
            if counts.terminating or status.terminating_replicas is not None:
                status.terminating_replicas = counts.terminating
        status.observed_generation = owner.metadata.generation
        self._note_failure(status, failure)
        await self.write_status(owner, status)

    def _note_failure(self, status: Any, failure: Exception | None) -> None:
        """The condition stays as it was first written while creating or deleting pods fails."""
        if failure is None:
            status.conditions = conditions.without(status.conditions, "ReplicaFailure")
        elif conditions.find(status.conditions, "ReplicaFailure") is None:
            condition = self.condition(
                type="ReplicaFailure", status="True", reason="FailedCreate", message=str(failure)
            )
            now = self.context.now()
            status.conditions = conditions.updated(status.conditions, condition, now)


async def _failures(work: list[Coroutine[Any, Any, None]]) -> list[Exception]:
    """Does all of the work at once, and returns what failed."""
    results = await asyncio.gather(*work, return_exceptions=True)
    return [result for result in results if isinstance(result, Exception)]


class ReplicationControllerController(ReplicaSetController):
    """The same, for the older kind, whose selector is a map of labels."""

    name = "replicationcontroller"
    event_source = "replication-controller"
    workers = 2
    kind = core_v1.ReplicationController
    condition = core_v1.ReplicationControllerCondition

    def selector(self, owner: core_v1.ReplicationController) -> Selector:
        return from_labels(owner.spec.selector)
