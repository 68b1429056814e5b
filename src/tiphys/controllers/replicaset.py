"""Replica sets and replication controllers: as many pods of one template as are wanted."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import apps_v1, core_v1
from tiphys.controllers.claiming import claim
from tiphys.controllers.pods import (
    available_after,
    deletion_rank,
    from_template,
    is_active,
    refusal_wait,
)
from tiphys.controllers.shell import Context, Controller, controller_of, owner_index, split_key
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import Selector, from_label_selector, from_labels

BURST = 500
_EXPECTATION = 300.0  # seconds until a missing event is given up on


@dataclass
class Plan:
    create: int = 0
    delete: list[core_v1.Pod] = field(default_factory=list)


def plan(wanted: int, pods: list[core_v1.Pod], now: float) -> Plan:
    """How to get from the active pods to the wanted number."""
    difference = wanted - len(pods)
    if difference >= 0:
        return Plan(create=min(difference, BURST))
    crowd = Counter(pod.spec.node_name for pod in pods)
    ranked = sorted(pods, key=lambda pod: deletion_rank(pod, crowd[pod.spec.node_name], now))
    return Plan(delete=ranked[: min(-difference, BURST)])


class Expectations:
    """Writes whose events have not come back yet: until then the informer's view of a key is stale."""

    def __init__(self) -> None:
        self._created: Counter[str] = Counter()
        self._deleted: dict[str, set[str]] = {}
        self._since: dict[str, float] = {}

    def expect(self, key: str, creations: int = 0, deletions: set[str] | None = None) -> None:
        self._created[key] += creations
        self._deleted.setdefault(key, set()).update(deletions or ())
        self._since[key] = time.monotonic()

    def created(self, key: str, count: int = 1) -> None:
        self._created[key] = max(0, self._created[key] - count)

    def deleted(self, key: str, uid: str) -> None:
        self._deleted.get(key, set()).discard(uid)

    def seen(self, key: str, old: Any, new: Any) -> None:
        """An informer told of a pod; `old` is None for a new one, `new` for one that is gone."""
        if old is None:
            self.created(key)
        if new is None or new.metadata.deletion_timestamp:
            self.deleted(key, (new or old).metadata.uid)

    def met(self, key: str) -> bool:
        if not self._created[key] and not self._deleted.get(key):
            return True
        return time.monotonic() - self._since[key] > _EXPECTATION

    def forget(self, key: str) -> None:
        self._created.pop(key, None)
        self._deleted.pop(key, None)
        self._since.pop(key, None)


class ReplicaSetController(Controller):
    name = "replicaset"
    workers = 32  # each waits for the server most of the time
    kind: Any = apps_v1.ReplicaSet

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._expect = Expectations()

    def watch(self) -> None:
        self._sets, self._pods = self.informer(self.kind), self.informer(core_v1.Pod)
        self._pods.index("owner", owner_index)
        self._sets.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        for pod in (old, new):
            owner = controller_of(pod) if pod is not None else None
            if owner is None:
                if pod is not None and pod is new:
                    self._orphan(pod)
                continue
            if owner.kind != self.kind.__name__:
                continue
            key = f"{pod.metadata.namespace}/{owner.name}"
            self._expect.seen(key, old, new)
            self.queue.add(key)

    def _orphan(self, pod: core_v1.Pod) -> None:
        if not pod.metadata.labels or pod.metadata.deletion_timestamp:
            return
        for owner in self._sets:
            if owner.metadata.namespace == pod.metadata.namespace and self.selector(owner).matches(
                pod.metadata.labels
            ):
                self.enqueue(None, owner)

    def selector(self, owner: Any) -> Selector:
        return from_label_selector(owner.spec.selector) or Selector()

    async def reconcile(self, key: str) -> float | None:
        owner = self._sets.get(key)
        if owner is None:
            self._expect.forget(key)
            return None
        pods = await claim(self.client, self._pods, owner, self.selector(owner))
        active = [pod for pod in pods if is_active(pod)]
        failure = None
        refused = (
            refusal_wait(pods, self.context.now())
            if len(active) < (owner.spec.replicas or 0)
            else 0.0
        )
        if self._expect.met(key) and not owner.metadata.deletion_timestamp and not refused:
            failure = await self._manage(key, owner, active)
        again = await self._update_status(owner, pods, active, failure)
        if failure is not None:
            raise failure
        return min(again or refused, refused) if refused else again

    async def _manage(self, key: str, owner: Any, active: list[core_v1.Pod]) -> Exception | None:
        todo = plan(owner.spec.replicas or 0, active, self.context.now())
        if todo.create:
            return await self._create(key, owner, todo.create)
        if todo.delete:
            self._expect.expect(key, deletions={pod.metadata.uid for pod in todo.delete})
            results = await asyncio.gather(
                *(self._delete(key, owner, pod) for pod in todo.delete), return_exceptions=True
            )
            return next((r for r in results if isinstance(r, Exception)), None)
        return None

    async def _create(self, key: str, owner: Any, count: int) -> Exception | None:
        """Slow start: a broken template fails once, not five hundred times."""
        self._expect.expect(key, creations=count)
        batch = 1
        while count:
            batch = min(batch, count)
            results = await asyncio.gather(
                *(self._create_one(owner) for _ in range(batch)), return_exceptions=True
            )
            failures = [r for r in results if isinstance(r, Exception)]
            count -= batch
            if failures:
                self._expect.created(key, len(failures) + count)
                return failures[0]
            batch *= 2
        return None

    async def _create_one(self, owner: Any) -> None:
        try:
            pod = await self.client.create(from_template(owner.spec.template, owner))
        except StatusError as error:
            self.context.recorder.record(
                owner, "Warning", "FailedCreate", f"Error creating: {error}"
            )
            raise
        self.context.recorder.record(
            owner, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}"
        )

    async def _delete(self, key: str, owner: Any, pod: core_v1.Pod) -> None:
        try:
            await self.client.delete(
                core_v1.Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.metadata.uid
            )
        except StatusError as error:
            self._expect.deleted(key, pod.metadata.uid)
            if error.code != 404:
                raise
            return
        self.context.recorder.record(
            owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}"
        )

    async def _update_status(
        self,
        owner: Any,
        pods: list[core_v1.Pod],
        active: list[core_v1.Pod],
        failure: Exception | None,
    ) -> float | None:
        now, min_ready = self.context.now(), owner.spec.min_ready_seconds
        waits = [
            wait for pod in active if (wait := available_after(pod, min_ready, now)) is not None
        ]  # of the ready ones
        status = copy.deepcopy(owner.status)
        status.replicas = len(active)
        labels = owner.spec.template.metadata.labels.items()
        status.fully_labeled_replicas = sum(
            [labels <= pod.metadata.labels.items() for pod in active]
        )
        status.ready_replicas = len(waits)
        status.available_replicas = sum(wait == 0 for wait in waits)
        if hasattr(status, "terminating_replicas"):
            terminating = sum(
                bool(pod.metadata.deletion_timestamp)
                and pod.status.phase not in ("Succeeded", "Failed")
                for pod in pods
            )
            status.terminating_replicas = terminating or (status.terminating_replicas and 0)
        status.observed_generation = owner.metadata.generation
        self._failure_condition(status, failure)
        if status != owner.status:
            updated = copy.copy(owner)
            updated.status = status
            await self.client.update_status(updated)
        pending = [wait for wait in waits if wait > 0]
        return min(pending) + 0.1 if pending else None

    def _failure_condition(self, status: Any, failure: Exception | None) -> None:
        status.conditions = [
            c for c in status.conditions if c.type != "ReplicaFailure" or failure is not None
        ]
        if failure is not None and not any(c.type == "ReplicaFailure" for c in status.conditions):
            kind = (
                core_v1.ReplicationControllerCondition
                if self.kind is core_v1.ReplicationController
                else apps_v1.ReplicaSetCondition
            )
            stamp = timestamps.rfc3339(self.context.now())
            status.conditions.append(
                kind(
                    type="ReplicaFailure",
                    status="True",
                    reason="FailedCreate",
                    message=str(failure),
                    last_transition_time=stamp,
                )
            )


class ReplicationControllerController(ReplicaSetController):
    """The same, for the older kind."""

    name = "replicationcontroller"
    event_source = "replication-controller"
    workers = 2
    kind = core_v1.ReplicationController

    def selector(self, owner: core_v1.ReplicationController) -> Selector:
        return from_labels(owner.spec.selector)


__all__ = [
    "Expectations",
    "Plan",
    "ReplicaSetController",
    "ReplicationControllerController",
    "plan",
    "split_key",
]
