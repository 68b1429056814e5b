"""ScaledJobs: Jobs are created by what triggers say, and finished ones go after a while."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Sequence

from tiphys.addons.keda import facts, jobs
from tiphys.addons.keda.autoscalers import KEDA
from tiphys.addons.keda.building import Built
from tiphys.addons.keda.deciding import ConditionState
from tiphys.addons.keda.jobs import Counts, Queue
from tiphys.addons.keda.loops import Loops, Watched
from tiphys.addons.keda.measuring import Measurer
from tiphys.addons.keda.scaler import AVERAGE, Scaler, Surroundings
from tiphys.addons.keda.statuses import change_status, set_conditions
from tiphys.addons.keda.types import ScaledJob, ScaledJobStatus, TriggerActivity
from tiphys.addons.optional import Context
from tiphys.api import core_v1
from tiphys.api.autoscaling_v2 import MetricSpec
from tiphys.api.batch_v1 import Job
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.quantity import nano
from tiphys.operator.reconcile import owner_reference

log = logging.getLogger(__name__)

LABEL = "scaledjob.keda.sh/name"
GENERATION = "scaledjob.keda.sh/generation"
EXCLUDED_LABELS = "scaledjob.keda.sh/job-excluded-labels"
_HISTORY = 100  # finished Jobs of each kind, where a ScaledJob does not say otherwise
_ACTIVE = "Scaling is performed because triggers are active"
_INACTIVE = "Scaling is not performed because triggers are not active"
_AT_ONCE = 20  # Jobs that are created at a time


class JobScaling(Loops[ScaledJob]):
    def __init__(self, context: Context, surroundings: Surroundings, measurer: Measurer) -> None:
        super().__init__(context, ScaledJob, surroundings, measurer)
        self._jobs = context.informers.of(Job)
        self._jobs.index("scaled", _owners)

    def jobs_of(self, obj: ScaledJob) -> list[Job]:
        return self._jobs.by("scaled", f"{obj.metadata.namespace}/{obj.metadata.name}")

    async def check(self, obj: ScaledJob, watched: Watched) -> None:
        built = await self.built(obj)
        async with built.used():
            queues, active, failed = await self._ask(obj, built)
        if failed:
            await self.forget(f"{obj.metadata.namespace}/{obj.metadata.name}")
        spec = obj.spec
        wanted = jobs.demand(
            queues,
            spec.scaling_strategy.multiple_scalers_calculation,
            jobs.least(spec),
            jobs.most(spec),
        )
        if wanted.is_active:
            await self._create(obj, jobs.to_create(spec, wanted, await self._counts(obj)))
        self._tell(obj, wanted.is_active)
        await self._write(obj, built, wanted.is_active, active, failed)
        await self._clean(obj)

    # --- triggers ---

    async def _ask(self, obj: ScaledJob, built: Built) -> tuple[list[Queue], list[str], bool]:
        """What the triggers say, the names of active ones, and whether any failed."""
        asked = [
            (scaler, spec)
            for scaler, specs in zip(built.scalers, built.metrics, strict=True)
            for spec in specs
            if spec.external is not None
        ]
        answers = await asyncio.gather(*(self._queue_of(obj, *pair) for pair in asked))
        names = [spec.external.metric.name for _, spec in asked if spec.external is not None]
        active = [n for n, one in zip(names, answers, strict=True) if one and one.is_active]
        return [one for one in answers if one is not None], active, None in answers

    async def _queue_of(self, obj: ScaledJob, scaler: Scaler, spec: MetricSpec) -> Queue | None:
        assert spec.external is not None
        target = spec.external.target
        goal = target.average_value if target.type == AVERAGE else target.value
        measured, error = await self.measurer.ask(scaler, spec.external.metric.name)
        if measured is None:
            self.event(obj, "KEDAScalerFailed", error, warning=True)
            return None
        limit = jobs.most(obj.spec)
        return jobs.queue(measured.value, nano(goal or "0") / 10**9, measured.is_active, limit)

    # --- Jobs ---

    async def _counts(self, obj: ScaledJob) -> Counts:
        unfinished = [job for job in self.jobs_of(obj) if finished(job) is None]
        if not unfinished:
            return Counts(0, 0)
        pods = await self.client.list(core_v1.Pod, obj.metadata.namespace, labels="job-name")
        by_job: dict[str, list[core_v1.Pod]] = {}
        for pod in pods.items:
            by_job.setdefault(pod.metadata.labels["job-name"], []).append(pod)
        wanted = obj.spec.scaling_strategy.pending_pod_conditions
        pending = [
            job for job in unfinished if is_pending(by_job.get(job.metadata.name, []), wanted)
        ]
        return Counts(len(unfinished), len(pending))

    async def _create(self, obj: ScaledJob, count: int) -> None:
        if count <= 0:
            return
        turn = asyncio.Semaphore(_AT_ONCE)

        async def create_one() -> None:
            async with turn:
                try:
                    self._jobs.note_written(await self.client.create(job_of(obj)))
                except StatusError as error:
                    message = f"Failed to create job {obj.metadata.name}-: {error}"
                    self.event(obj, "KEDAJobCreateFailed", message, warning=True)

        await asyncio.gather(*(create_one() for _ in range(count)))
        self.event(obj, "KEDAJobsCreated", f"Created {count} jobs")

    async def _clean(self, obj: ScaledJob) -> None:
        """The oldest finished Jobs go, beyond the limits of the history."""
        spec = obj.spec
        for kind, limit in (
            ("Complete", spec.successful_jobs_history_limit),
            ("Failed", spec.failed_jobs_history_limit),
        ):
            ended = [job for job in self.jobs_of(obj) if finished(job) == kind]
            ended.sort(key=lambda job: job.status.completion_time or "")
            kept = _HISTORY if limit is None else limit
            for job in ended[: max(0, len(ended) - kept)]:
                await self.delete(job, "Background")

    async def delete(self, job: Job, propagation: str) -> None:
        """A Job that is gone stays so. Raises StatusError."""
        meta = job.metadata
        try:
            await self.client.delete(Job, meta.name, meta.namespace, propagation=propagation)
        except StatusError as error:
            if not is_not_found(error):
                raise

    # --- status and events ---

    def _tell(self, obj: ScaledJob, is_active: bool) -> None:
        was = facts.condition(obj.status.conditions, "Active").status == "True"
        if is_active and not was:
            self.event(obj, "ScaledJobActive", _ACTIVE)
        elif was and not is_active:
            self.event(obj, "ScaledJobInactive", _INACTIVE)

    async def _write(
        self, obj: ScaledJob, built: Built, is_active: bool, active: Sequence[str], failed: bool
    ) -> None:
        activity = ConditionState("False", "ScalerNotActive", _INACTIVE)
        if is_active:
            activity = ConditionState("True", "ScalerActive", _ACTIVE)
        new_conditions = {"Ready": _ready(is_active, failed), "Active": activity}
        names = [s.external.metric.name for s in built.specs() if s.external is not None]
        now = timestamps.rfc3339(self.context.now())

        def change(status: ScaledJobStatus) -> None:
            set_conditions(status, new_conditions)
            status.external_metric_names = names
            status.triggers_activity = {
                name: TriggerActivity(is_active=name in active) for name in names
            }
            if is_active:
                status.last_active_time = now

        current = self.objects.get(f"{obj.metadata.namespace}/{obj.metadata.name}") or obj
        await change_status(self.client, current, change)


def _ready(is_active: bool, failed: bool) -> ConditionState:
    if not failed:
        message = "ScaledJob is defined correctly and is ready for scaling"
        return ConditionState("True", "ScaledJobReady", message)
    if is_active:
        message = "Some triggers defined in ScaledJob are not working correctly"
        return ConditionState("Unknown", "PartialTriggerError", message)
    message = "Triggers defined in ScaledJob are not working correctly"
    return ConditionState("False", "TriggerError", message)


def _owners(job: Job) -> Sequence[str]:
    name = job.metadata.labels.get(LABEL)
    return (f"{job.metadata.namespace}/{name}",) if name else ()


def finished(job: Job) -> str | None:
    """Complete or Failed; None while it is neither."""
    for kind in ("Complete", "Failed"):
        if conditions.is_true(job.status.conditions, kind):
            return kind
    return None


def is_pending(pods: Sequence[core_v1.Pod], wanted: Sequence[str]) -> bool:
    """Whether nothing of a Job runs yet: none of its pods does or has ended well, or none has all
    of the conditions that are wanted."""
    if wanted:
        return not any(
            all(conditions.is_true(pod.status.conditions, kind) for kind in wanted) for pod in pods
        )
    return not any(pod.status.phase in ("Running", "Succeeded") for pod in pods)


def job_of(obj: ScaledJob) -> Job:
    """A new Job of a ScaledJob's template."""
    name = obj.metadata.name
    excluded = obj.metadata.annotations.get(EXCLUDED_LABELS, "").split(",")
    job = Job(
        metadata=ObjectMeta(
            generate_name=f"{name}-",
            namespace=obj.metadata.namespace,
            labels={
                "app.kubernetes.io/name": name,
                "app.kubernetes.io/version": KEDA,
                "app.kubernetes.io/part-of": name,
                "app.kubernetes.io/managed-by": "keda-operator",
                LABEL: name,
                **{k: v for k, v in obj.metadata.labels.items() if k not in excluded},
            },
            annotations={GENERATION: str(obj.metadata.generation), **obj.metadata.annotations},
            owner_references=[owner_reference(obj)],
        ),
        spec=copy.deepcopy(obj.spec.job_target_ref),
    )
    template = job.spec.template
    template.metadata.labels = {**template.metadata.labels, LABEL: name}
    if not template.spec.restart_policy:
        template.spec.restart_policy = "OnFailure"
    return job
