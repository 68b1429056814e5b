"""Brings jobs and their workloads together: a job runs while its workload is admitted, and at no
other time."""

from __future__ import annotations

from typing import Any

from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.jobs import workloads as job_workloads
from tiphys.addons.kueue.jobs.kinds import KINDS, kind_of
from tiphys.addons.kueue.jobs.parts import AnyJob, Finish, JobKind, Manifest
from tiphys.addons.kueue.priorities import Priorities
from tiphys.addons.kueue.served import is_served
from tiphys.addons.kueue.types.quotas import ResourceFlavor
from tiphys.addons.kueue.types.workloads import ReclaimablePod, Workload
from tiphys.addons.kueue.writing import Workloads
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import to_builtins
from tiphys.client.client import JSON_PATCH, MERGE
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Controller, controller_of, owner_index
from tiphys.machinery import conditions

_BY_OWNER = "owner"


class JobController(Controller):
    """Keys are ``KIND.GROUP|namespace/name``."""

    name = "kueue-jobs"
    event_source = "kueue"

    def watch(self) -> None:
        workloads: Informer[Workload] = self.informer(Workload)
        workloads.index(_BY_OWNER, owner_index)
        workloads.on_change(self._workload_changed)
        self._workloads = Workloads(self.client, workloads)
        self._flavors: Informer[ResourceFlavor] = self.informer(ResourceFlavor)
        self._priorities = Priorities(self.context.informers)
        self._jobs: dict[str, Informer[AnyJob]] = {}
        self._kinds = {f"{kind.kind}.{kind.resource.group}": kind for kind in KINDS}
        self.informer(CustomResourceDefinition).on_change(self._definition_changed)
        self._follow(KINDS[0])  # Jobs need no definition

    def _definition_changed(self, old: Any, new: CustomResourceDefinition | None) -> None:
        """A kind is followed from when it is served on."""
        for kind in KINDS:
            if is_served(kind.resource, new):
                self._follow(kind)

    def _follow(self, kind: JobKind) -> None:
        name = f"{kind.kind}.{kind.resource.group}"
        if name in self._jobs:
            return
        informer = Informer(self.client, AnyJob, resource=kind.resource)
        self._jobs[name] = informer
        informer.on_change(
            lambda old, new: self.queue.add(_key(name, new if new is not None else old))
        )
        self.context.tasks.start(informer.run(), f"informer-{kind.resource.plural}")

    def _workload_changed(self, old: Workload | None, new: Workload | None) -> None:
        owner = controller_of(new if new is not None else old)
        if owner is None:
            return
        kind = kind_of(owner.api_version, owner.kind)
        if kind is not None:
            namespace = (new or old).metadata.namespace  # type: ignore[union-attr]
            self.queue.add(f"{kind.kind}.{kind.resource.group}|{namespace}/{owner.name}")

    # --- one job ---

    async def reconcile(self, key: str) -> float | None:
        name, _, job_key = key.partition("|")
        kind = self._kinds[name]
        informer = self._jobs.get(name)
        job = informer.get(job_key) if informer is not None else None
        if job is None or job.metadata.deletion_timestamp:
            return None  # its workload goes with it
        owner = controller_of(job)
        is_child = owner is not None and kind_of(owner.api_version, owner.kind) is not None
        if not job_workloads.queue_of(job) or is_child:
            return None
        await self._bring_together(kind, _typed(kind, job))
        return None

    async def _bring_together(self, kind: JobKind, job: AnyJob) -> None:
        workload = self._workload_of(job)
        if workload is not None and statuses.has(workload, statuses.FINISHED):
            return
        finish = kind.finished(job.status or {})
        if finish is not None:
            await self._finish(job, workload, finish)
        elif workload is None:
            await self._begin(kind, job)
        elif statuses.has(workload, statuses.EVICTED):
            await self._stop_evicted(kind, job, workload)
        elif job_workloads.runs(kind, job):
            await self._check_running(kind, job, workload)
        elif statuses.has(workload, statuses.ADMITTED):
            await self._start(kind, job, workload)
        else:
            await self._follow_job(kind, job, workload)

    def _workload_of(self, job: AnyJob) -> Workload | None:
        workloads = self._workloads.informer.by(_BY_OWNER, job.metadata.uid)
        return next((one for one in workloads if not one.metadata.deletion_timestamp), None)

    async def _begin(self, kind: JobKind, job: AnyJob) -> None:
        """The job is stopped first: what it asks for is counted when nothing of it runs."""
        if job_workloads.runs(kind, job):
            await self._write_spec(kind, job, job_workloads.stopped_spec(kind, job))
            self.event(job, "Normal", "Suspended", "Kueue managed job suspended")
            return
        priority = self._priorities.of(job.metadata.labels, job_workloads.pod_sets_of(kind, job))
        if isinstance(priority, str):
            message = f"WorkloadPriorityClass {priority!r} not found"
            self.event(job, "Warning", "WorkloadPriorityClassNotFound", message)
            raise LookupError(f"{job.metadata.namespace}/{job.metadata.name}: {message}")
        workload = job_workloads.workload_of(kind, job, priority)
        if key := await self._workloads.create(workload):
            self.event(job, "Normal", "CreatedWorkload", f"Created Workload: {key}")

    async def _finish(self, job: AnyJob, workload: Workload | None, finish: Finish) -> None:
        if workload is None:
            return
        now = self.context.now()
        await self._workloads.change(
            workload, lambda one: statuses.finish(one, finish.succeeded, finish.message, now)
        )
        name = f"{workload.metadata.namespace}/{workload.metadata.name}"
        self.event(job, "Normal", "FinishedWorkload", f"Workload '{name}' is declared finished")

    async def _start(self, kind: JobKind, job: AnyJob, workload: Workload) -> None:
        flavors = {one.metadata.name: one for one in self._flavors}
        placements = job_workloads.placements_of(workload, flavors)
        try:
            spec = job_workloads.started_spec(kind, job, placements)
        except job_workloads.PlacementError as error:
            now = self.context.now()
            message = str(error)
            await self._workloads.change(
                workload,
                lambda one: statuses.set_condition(
                    one, statuses.FINISHED, True, "FailedToStart", message, now
                ),
            )
            return
        await self._write_spec(kind, job, spec)
        queue = workload.status.admission.cluster_queue if workload.status.admission else ""
        self.event(job, "Normal", "Started", f"Admitted by clusterQueue {queue}")

    async def _stop_evicted(self, kind: JobKind, job: AnyJob, workload: Workload) -> None:
        """Quota is free once nothing of the job runs any more."""
        evicted = conditions.find(workload.status.conditions, statuses.EVICTED)
        assert evicted is not None
        if job_workloads.runs(kind, job):
            await self._write_spec(kind, job, job_workloads.stopped_spec(kind, job))
            self.event(job, "Normal", "Stopped", evicted.message)
            return  # its change brings it back
        if kind.is_active(job.status or {}):
            return
        if await self._restore(kind, job, workload):
            return
        if workload.status.admission is None:
            await self._follow_job(kind, job, workload)
            return
        now = self.context.now()
        is_requeued = evicted.reason in ("Preempted", "NodeFailures")

        def free(workload_: Workload) -> None:
            statuses.set_condition(
                workload_, statuses.REQUEUED, is_requeued, evicted.reason, evicted.message, now
            )
            reason = statuses.PENDING_EVALUATION
            statuses.unreserve(workload_, reason, evicted.message, now)

        await self._workloads.change(workload, free)

    async def _restore(self, kind: JobKind, job: AnyJob, workload: Workload) -> bool:
        """Takes what flavors added out of a stopped job again. Returns whether there was any."""
        if (job.status or {}).get("startTime") and kind is KINDS[0]:
            # A template that is in use may only change once it counts as unused.
            await self.client.patch(
                _named(kind),
                job.metadata.name,
                {"status": {"startTime": None}},
                job.metadata.namespace,
                "status",
                media=MERGE,
            )
            return True
        restored = job_workloads.restored_spec(kind, job, workload)
        if restored == job.spec:
            return False
        await self._write_spec(kind, job, restored)
        return True

    async def _check_running(self, kind: JobKind, job: AnyJob, workload: Workload) -> None:
        if not statuses.has(workload, statuses.ADMITTED):
            await self._write_spec(kind, job, job_workloads.stopped_spec(kind, job))
            self.event(job, "Normal", "Stopped", "Not admitted by cluster queue")
            return
        status = job.status or {}
        spec = job.spec or {}
        free = kind.reclaimable(spec, status)
        is_ready = kind.is_ready(spec, status)
        now = self.context.now()

        def note(workload_: Workload) -> None:
            workload_.status.reclaimable_pods = [
                ReclaimablePod(name=name, count=count) for name, count in free.items()
            ] or workload_.status.reclaimable_pods
            _note_ready(workload_, is_ready, now)

        await self._workloads.change(workload, note)

    async def _follow_job(self, kind: JobKind, job: AnyJob, workload: Workload) -> None:
        """While it waits its user may still change it, its queue and its priority."""
        priority = self._priorities.of(job.metadata.labels, workload.spec.pod_sets)
        pod_sets = job_workloads.pod_sets_of(kind, job)

        def follow(workload_: Workload) -> None:
            if workload_.status.admission is None:
                workload_.spec.queue_name = job_workloads.queue_of(job)
                if to_builtins(workload_.spec.pod_sets) != to_builtins(pod_sets):
                    workload_.spec.pod_sets = pod_sets
                if not isinstance(priority, str):
                    workload_.spec.priority = priority.value
                    workload_.spec.priority_class_ref = priority.reference

        await self._workloads.respecify(workload, follow)

    async def _write_spec(self, kind: JobKind, job: AnyJob, spec: Manifest) -> None:
        """Bound to the version that was read."""
        patch = [
            {
                "op": "replace",
                "path": "/metadata/resourceVersion",
                "value": job.metadata.resource_version,
            },
            {"op": "replace", "path": "/spec", "value": spec},
        ]
        meta = job.metadata
        await self.client.patch(_named(kind), meta.name, patch, meta.namespace, media=JSON_PATCH)


def _note_ready(workload: Workload, is_ready: bool, now: float) -> None:
    """Ready once all pods have been; from then on it is a recovery or a failure."""
    standing = conditions.find(workload.status.conditions, statuses.PODS_READY)
    if is_ready:
        # Ready before, or on its way back to it: ready again is a recovery.
        recovers = standing is not None and standing.reason in ("Recovered", "WaitForRecovery")
        reason = "Recovered" if recovers else "Started"
        message = "All pods reached readiness and the workload is running"
        statuses.set_condition(workload, statuses.PODS_READY, True, reason, message, now)
        return
    was_ready = standing is not None and standing.status == "True"
    waits = was_ready or (standing is not None and standing.reason == "WaitForRecovery")
    if waits:
        reason = "WaitForRecovery"
        message = "At least one pod has failed, waiting for recovery"
    else:
        reason = "WaitForStart"
        message = "Not all pods are ready or succeeded"
    statuses.set_condition(workload, statuses.PODS_READY, False, reason, message, now)


def _named(kind: JobKind) -> Manifest:
    return {"apiVersion": kind.resource.api_version, "kind": kind.kind}


def _key(kind: str, job: AnyJob) -> str:
    return f"{kind}|{job.metadata.namespace}/{job.metadata.name}"


def _typed(kind: JobKind, job: AnyJob) -> AnyJob:
    """With its kind, which lists leave out of their items."""
    job.api_version = kind.resource.api_version
    job.kind = kind.kind
    return job
