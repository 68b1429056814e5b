"""The reconciler of ScaledJobs: checks one, lets Jobs of earlier versions go, and has it
watched."""

from __future__ import annotations

from typing import Any

from tiphys.addons.keda import facts
from tiphys.addons.keda.controller import FINALIZER, CheckFailed, saying
from tiphys.addons.keda.deciding import ConditionState
from tiphys.addons.keda.jobscaling import GENERATION, JobScaling
from tiphys.addons.keda.loops import key_of
from tiphys.addons.keda.statuses import change_status, note_user, set_conditions
from tiphys.addons.keda.types import ScaledJob, ScaledJobStatus
from tiphys.api.batch_v1 import Job
from tiphys.operator import Reconciler

_AGAIN = 1.0  # seconds until an object with an error is retried; doubled each time
_LONGEST = 60.0
_READY = "ScaledJob is defined correctly and is ready to scaling"
_PAUSED = ConditionState("True", "ScaledJobPaused", "ScaledJob is paused")
_UNPAUSED = ConditionState("False", "ScaledJobUnpaused", "ScaledJob is unpaused")


class ScaledJobReconciler(Reconciler[ScaledJob]):
    kind = ScaledJob
    finalizer = FINALIZER

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.scaling: JobScaling = self.context.settings["jobs"]
        self._failures: dict[str, int] = {}

    async def reconcile(self, obj: ScaledJob) -> float | None:
        try:
            await self._keep(obj)
        except CheckFailed as error:
            failures = self._failures[key_of(obj)] = self._failures.get(key_of(obj), 0) + 1
            new_conditions = {
                "Ready": ConditionState("False", "ScaledJobCheckFailed", str(error)),
                "Active": ConditionState("Unknown", "UnknownState", "ScaledJob check failed"),
            }
            self.event(obj, "ScaledJobCheckFailed", str(error), warning=True)
            await change_status(
                self.client, obj, lambda status: set_conditions(status, new_conditions)
            )
            return float(min(_AGAIN * 2 ** min(failures - 1, 10), _LONGEST))
        self._failures.pop(key_of(obj), None)
        return None

    async def _keep(self, obj: ScaledJob) -> None:
        """Raises CheckFailed."""
        was = facts.condition(obj.status.conditions, "Paused").status == "True"
        is_paused = facts.flag(obj, facts.PAUSED)
        new_conditions: dict[str, ConditionState] = {}
        if is_paused != was:
            new_conditions["Paused"] = _PAUSED if is_paused else _UNPAUSED
            self.event(obj, new_conditions["Paused"].reason, new_conditions["Paused"].message)
        if is_paused:
            message = "ScaledJob is paused, skipping reconcile loop"
            new_conditions["Ready"] = ConditionState("True", "ScaledJobReady", message)
            await change_status(
                self.client, obj, lambda status: set_conditions(status, new_conditions)
            )
            await self.scaling.unwatch(key_of(obj), obj)
            return
        with saying("ScaledJob doesn't have correct triggers specification"):
            facts.check_triggers(obj.spec.triggers)
        if any(trigger.metric_type for trigger in obj.spec.triggers):
            raise CheckFailed("Cannot set metricType in ScaledJob triggers")
        await self._let_go(obj)
        with saying("Failed to ensure ScaledJob is correctly created"):
            await self.scaling.built(obj)
        await self._ready(obj, new_conditions)
        self.scaling.watch(obj)
        await note_user(self.client, obj, "scaledjobs")

    async def _ready(self, obj: ScaledJob, new_conditions: dict[str, ConditionState]) -> None:
        """It is, unless its triggers have reported otherwise since."""
        standing = facts.condition(obj.status.conditions, "Ready")
        types, authentications = facts.type_names(obj.spec.triggers)
        if self.scaling.watched(key_of(obj)) is None or standing.reason == "ScaledJobCheckFailed":
            new_conditions["Ready"] = ConditionState("True", "ScaledJobReady", _READY)
            if standing.status in ("", "Unknown", "False"):
                self.event(obj, "ScaledJobReady", "ScaledJob is ready for scaling")

        def change(status: ScaledJobStatus) -> None:
            set_conditions(status, new_conditions)
            status.triggers_types = types
            status.authentications_types = authentications

        await change_status(self.client, obj, change)

    async def _let_go(self, obj: ScaledJob) -> None:
        """Jobs of earlier versions, unless they are to end by themselves."""
        if (obj.spec.rollout_strategy or obj.spec.rollout.strategy) == "gradual":
            return
        now = str(obj.metadata.generation)
        old = [
            job
            for job in self.scaling.jobs_of(obj)
            if job.metadata.annotations.get(GENERATION) != now
            and not job.metadata.deletion_timestamp
        ]
        if not old:
            return
        count = f"{len(old)} jobs owned by the previous version of the scaledJob"
        self.event(obj, "ScaledJobRolloutCleanupStarted", f"Deleting {count}")
        foreground = obj.spec.rollout.propagation_policy == "foreground"
        for job in old:
            await self._delete(obj, job, "Foreground" if foreground else "Background")
        self.event(obj, "ScaledJobRolloutCleanupCompleted", f"Deleted {count}")

    async def _delete(self, obj: ScaledJob, job: Job, propagation: str) -> None:
        with saying(f"Not able to delete job: {job.metadata.name}"):
            await self.scaling.delete(job, propagation)

    async def finalize(self, obj: ScaledJob) -> None:
        await self.scaling.unwatch(key_of(obj), obj)
        await note_user(self.client, obj, "scaledjobs", gone=True)
        self.event(obj, "ScaledJobDeleted", "ScaledJob was deleted", warning=True)
