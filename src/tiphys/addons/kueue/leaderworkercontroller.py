"""Keeps a workload for each group of a LeaderWorkerSet, and labels pods with their group. What
becomes of pods then is `podcontroller`'s."""

from __future__ import annotations

import asyncio
from typing import Any

from tiphys.addons.kueue import leaderworkersets
from tiphys.addons.kueue.jobs.parts import AnyJob
from tiphys.addons.kueue.jobs.workloads import Priority, queue_of
from tiphys.addons.kueue.priorities import Priorities
from tiphys.addons.kueue.served import is_served
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.addons.kueue.writing import Workloads
from tiphys.api import core_v1
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.client.client import MERGE
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Controller
from tiphys.machinery.errors import StatusError, is_not_found

_BY_OWNER, _BY_SET = "component", "set"


class LeaderWorkerSetController(Controller):
    """Keys are ``namespace/name``."""

    name = "kueue-leaderworkersets"
    event_source = "kueue"
    _sets: Informer[AnyJob] | None = None
    _pods: Informer[core_v1.Pod]

    def watch(self) -> None:
        workloads: Informer[Workload] = self.informer(Workload)
        workloads.index(_BY_OWNER, _owner_uids)
        workloads.on_change(self._workload_changed)
        self._workloads = Workloads(self.client, workloads)
        self._priorities = Priorities(self.context.informers)
        self.informer(CustomResourceDefinition).on_change(self._definition_changed)

    def _definition_changed(self, old: Any, new: CustomResourceDefinition | None) -> None:
        """Sets and their pods are followed from when sets are served on."""
        if self._sets is not None or not is_served(leaderworkersets.RESOURCE, new):
            return
        self._sets = Informer(self.client, AnyJob, resource=leaderworkersets.RESOURCE)
        self._sets.on_change(self.enqueue)
        self._pods = Informer(self.client, core_v1.Pod, labels=leaderworkersets.SET)
        self._pods.index(_BY_SET, _set_keys)
        self._pods.on_change(self._pod_changed)
        self.context.tasks.start(self._sets.run(), f"informer-{leaderworkersets.RESOURCE.plural}")
        self.context.tasks.start(self._pods.run(), "informer-pods-of-sets")

    def _pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        for key in _set_keys(new) if new is not None else ():
            self.queue.add(key)

    def _workload_changed(self, old: Workload | None, new: Workload | None) -> None:
        """One that is gone is recreated."""
        workload = new if new is not None else old
        assert workload is not None
        for owner in workload.metadata.owner_references:
            if owner.kind == leaderworkersets.RESOURCE.kind:
                self.queue.add(f"{workload.metadata.namespace}/{owner.name}")

    async def reconcile(self, key: str) -> float | None:
        job = self._sets.get(key) if self._sets is not None else None
        if job is None or job.metadata.deletion_timestamp or not queue_of(job):
            return None  # its workloads go with it
        job.api_version = leaderworkersets.RESOURCE.api_version
        job.kind = leaderworkersets.RESOURCE.kind
        await self._bring_together(job)
        await asyncio.gather(*(self._tell(job, pod) for pod in self._pods.by(_BY_SET, key)))
        return None

    async def _bring_together(self, job: AnyJob) -> None:
        priority = self._priorities.of(job.metadata.labels, leaderworkersets.pod_sets_of(job))
        if isinstance(priority, str):
            message = f"WorkloadPriorityClass {priority!r} not found"
            self.event(job, "Warning", "WorkloadPriorityClassNotFound", message)
            raise LookupError(f"{job.metadata.namespace}/{job.metadata.name}: {message}")
        surplus = {
            one.metadata.name: one
            for one in self._workloads.informer.by(_BY_OWNER, job.metadata.uid)
        }
        for index in range(leaderworkersets.groups_of(job)):
            name = leaderworkersets.workload_name(job.metadata.name, job.metadata.uid, str(index))
            standing = surplus.pop(name, None)
            if standing is None:
                await self._create(job, index, priority)
            else:
                await self._follow(job, standing, priority)
        for workload in surplus.values():
            await self.delete(workload)

    async def _create(self, job: AnyJob, index: int, priority: Priority) -> None:
        workload = leaderworkersets.workload_of(job, index, priority)
        if key := await self._workloads.create(workload):
            self.event(job, "Normal", "CreatedWorkload", f"Created Workload: {key}")

    async def _follow(self, job: AnyJob, workload: Workload, priority: Priority) -> None:
        """Its queue may change while it waits, and its priority. What a group asks for may not."""

        def follow(workload_: Workload) -> None:
            if workload_.status.admission is None:
                workload_.spec.queue_name = queue_of(job)
            workload_.spec.priority = priority.value
            workload_.spec.priority_class_ref = priority.reference

        await self._workloads.respecify(workload, follow)

    async def _tell(self, job: AnyJob, pod: core_v1.Pod) -> None:
        membership = (
            None if pod.metadata.deletion_timestamp else leaderworkersets.membership(job, pod)
        )
        if membership is None:
            return
        patch = {"metadata": {"uid": pod.metadata.uid, **membership}}
        meta = pod.metadata
        try:
            written = await self.client.patch(
                core_v1.Pod, meta.name, patch, meta.namespace, media=MERGE
            )
        except StatusError as error:
            if not is_not_found(error):
                raise
            return
        self._pods.note_written(written)


def _owner_uids(workload: Workload) -> list[str]:
    return [
        one.uid
        for one in workload.metadata.owner_references
        if one.kind == leaderworkersets.RESOURCE.kind
    ]


def _set_keys(pod: core_v1.Pod) -> list[str]:
    """The set of a pod that waits because its set does."""
    name = pod.metadata.labels.get(leaderworkersets.SET, "")
    if not name or not leaderworkersets.is_of_a_set(pod.metadata.annotations):
        return []
    return [f"{pod.metadata.namespace}/{name}"]
