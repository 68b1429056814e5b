"""One look at a ScaledJob, and what its triggers' work becomes: Jobs, and an end of old ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.pretended import Patched
from tiphys.addons.keda import facts
from tiphys.addons.keda.building import Built
from tiphys.addons.keda.jobcontroller import ScaledJobReconciler
from tiphys.addons.keda.jobscaling import GENERATION, JobScaling, is_pending
from tiphys.addons.keda.scaler import AVERAGE, VALUE, Measured, ScalerError, external
from tiphys.addons.keda.types import ScaledJob
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.api.batch_v1 import Job
from tiphys.controllers.shell import Context
from tiphys.machinery import errors, timestamps

NOW = 1_800_000_000.0
KEY = "lab/work"


class Server(Patched):
    """`pods` are what a list of them answers; `ended` are Jobs with how they were deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.pods: list[core_v1.Pod] = []
        self.ended: list[tuple[str, str]] = []
        self.refuses: Exception | None = None

    async def list(self, kind: Any, namespace: str, *, labels: str) -> Any:
        assert (namespace, labels) == ("lab", "job-name")
        return SimpleNamespace(items=self.pods)

    async def create(self, obj: Any) -> Any:  # type: ignore[override]
        if self.refuses is not None:
            raise self.refuses
        made = from_builtins(to_builtins(obj), Job)
        made.metadata.name = f"{obj.metadata.generate_name}{self._version}"
        return self.put(made)

    async def delete(  # type: ignore[override]
        self, kind: Any, name: str, namespace: str = "", *, propagation: str = ""
    ) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.ended.append((name, propagation))


class Bench:
    def __init__(self) -> None:
        self.server = Server()
        self.events: list[tuple[str, str, str]] = []
        self.started: list[str] = []
        self.answers: list[Any] = []
        self.kind = AVERAGE
        self.wrong: Exception | None = None
        observer = SimpleNamespace(forget=lambda *_: None)
        measurer = SimpleNamespace(targets=None, observer=observer, ask=self._ask)
        recorder: Any = SimpleNamespace(record=self._record)
        tasks: Any = SimpleNamespace(start=self._start)
        settings: dict[str, Any] = {}
        server = cast(Any, self.server)
        context = Context(server, server, recorder, tasks, lambda: NOW, settings)
        self.scaling = JobScaling(cast(Any, context), cast(Any, None), cast(Any, measurer))
        self.scaling.built = self._built  # type: ignore[method-assign]
        settings["jobs"] = self.scaling
        self.reconciler = ScaledJobReconciler(context, "keda")

    def _record(self, obj: Any, kind: str, reason: str, message: str, **_: Any) -> None:
        self.events.append((kind, reason, message))

    def _start(self, work: Any, name: str, **_: Any) -> Any:
        work.close()
        self.started.append(name)
        return SimpleNamespace(cancel=lambda: self.started.append(f"end of {name}"))

    async def _ask(self, scaler: Any, name: str) -> tuple[Any, str]:
        found = self.answers[scaler]
        return (None, found) if isinstance(found, str) else (Measured(*found), "")

    async def _built(self, obj: Any) -> Built:
        if self.wrong is not None:
            raise self.wrong
        scalers: Any = range(len(self.answers))
        metrics = [[external(f"s{place}-desk", self.kind, 5)] for place in scalers]
        return Built(1, "u", scalers, metrics)

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]

    def put(
        self,
        paused: str = "",
        status: Any = None,
        triggers: Any = None,
        generation: int = 3,
        **spec: Any,
    ) -> ScaledJob:
        annotations = {"autoscaling.keda.sh/paused": paused} if paused else {}
        meta = {
            "name": "work",
            "namespace": "lab",
            "uid": "u",
            "generation": generation,
            "annotations": annotations,
        }
        template = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
        desk = [{"type": "desk", "metadata": {}}]
        whole = {
            "jobTargetRef": {"template": template},
            "triggers": desk if triggers is None else triggers,
            **spec,
        }
        made = from_builtins({"metadata": meta, "spec": whole, "status": status or {}}, ScaledJob)
        return cast(ScaledJob, self.server.put(made))

    def job(
        self, name: str, generation: int = 3, going: bool = False, ended: str = "", at: str = ""
    ) -> None:
        conditions = [{"type": ended, "status": "True"}] if ended else []
        meta = {
            "name": name,
            "namespace": "lab",
            "labels": {"scaledjob.keda.sh/name": "work"},
            "annotations": {GENERATION: str(generation)},
            **({"deletionTimestamp": timestamps.rfc3339(NOW)} if going else {}),
        }
        status = {"conditions": conditions, **({"completionTime": at} if at else {})}
        self.server.put(from_builtins({"metadata": meta, "status": status}, Job))

    def pod(self, of: str, phase: str = "Pending", *conditions: str) -> core_v1.Pod:
        rows = [{"type": kind, "status": "True"} for kind in conditions]
        meta = {"name": f"{of}-x", "namespace": "lab", "labels": {"job-name": of}}
        made: core_v1.Pod = from_builtins(
            {"metadata": meta, "status": {"phase": phase, "conditions": rows}}, core_v1.Pod
        )
        self.server.pods.append(made)
        return made

    @property
    def there(self) -> ScaledJob:
        found = self.server.of(ScaledJob).get(KEY)
        assert found is not None
        return cast(ScaledJob, found)

    def condition(self, kind: str) -> tuple[str, str, str]:
        found = facts.condition(self.there.status.conditions, kind)
        return found.status, found.reason, found.message

    async def look(self) -> float | None:
        self.events.clear()
        copy = from_builtins(to_builtins(self.there), ScaledJob)
        return await self.reconciler.reconcile(copy)

    async def check(self, *answers: Any) -> int:
        """How many Jobs are created."""
        self.answers = list(answers)
        before = len(list(self.server.of(Job)))
        self.events.clear()
        await self.scaling.check(self.there, cast(Any, None))
        return len(list(self.server.of(Job))) - before


@pytest.fixture
async def bench() -> Bench:
    return Bench()


# --- one look at the object ---


async def test_one_that_is_right_is_ready_and_watched(bench: Bench) -> None:
    bench.put()
    assert await bench.look() is None
    message = "ScaledJob is defined correctly and is ready to scaling"
    assert bench.condition("Ready") == ("True", "ScaledJobReady", message)
    assert bench.there.status.triggers_types == "desk"
    assert bench.reasons == ["ScaledJobReady", "KEDAScalersStarted"]
    assert bench.started == [f"scaledjob-{KEY}"]
    version = bench.there.metadata.resource_version
    await bench.look()
    assert (bench.events, bench.there.metadata.resource_version) == ([], version)


@pytest.mark.parametrize(
    ("spec", "wrong", "message"),
    [
        (
            {"triggers": []},
            None,
            "ScaledJob doesn't have correct triggers specification: no triggers defined in the "
            "ScaledObject/ScaledJob",
        ),
        (
            {"triggers": [{"type": "desk", "metadata": {}, "metricType": "Value"}]},
            None,
            "Cannot set metricType in ScaledJob triggers",
        ),
        ({}, ScalerError("x"), "Failed to ensure ScaledJob is correctly created: x"),
    ],
)
async def test_what_is_wrong_stands_in_ready_and_is_looked_at_seldom(
    bench: Bench, spec: Any, wrong: Exception | None, message: str
) -> None:
    bench.put(**spec)
    bench.wrong = wrong
    assert [await bench.look() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert bench.condition("Ready") == ("False", "ScaledJobCheckFailed", message)
    assert bench.condition("Active")[:2] == ("Unknown", "UnknownState")
    assert bench.events == [("Warning", "ScaledJobCheckFailed", message)]
    assert bench.started == []
    bench.wrong = None
    bench.put(status=to_builtins(bench.there.status))
    assert await bench.look() is None
    assert bench.condition("Ready")[:2] == ("True", "ScaledJobReady")
    bench.wrong = ScalerError("x")
    assert await bench.look() == 1, "it is counted anew"


async def test_a_pause_is_told_once_and_ends(bench: Bench) -> None:
    bench.put()
    await bench.look()
    bench.put("true", to_builtins(bench.there.status))
    await bench.look()
    assert bench.reasons == ["ScaledJobPaused", "KEDAScalersStopped"]
    assert bench.condition("Paused")[:2] == ("True", "ScaledJobPaused")
    message = "ScaledJob is paused, skipping reconcile loop"
    assert bench.condition("Ready") == ("True", "ScaledJobReady", message)
    assert bench.started[-1] == f"end of scaledjob-{KEY}"
    await bench.look()
    assert bench.events == []
    bench.put("false", to_builtins(bench.there.status))
    await bench.look()
    assert bench.reasons[0] == "ScaledJobUnpaused"
    assert bench.condition("Paused")[:2] == ("False", "ScaledJobUnpaused")
    assert bench.condition("Ready")[2] != message


async def test_what_triggers_have_said_of_ready_stands(bench: Bench) -> None:
    bench.put()
    await bench.look()
    told = [{"type": "Ready", "status": "False", "reason": "TriggerError", "message": "m"}]
    bench.put(status={**to_builtins(bench.there.status), "conditions": told})
    await bench.look()
    assert bench.condition("Ready") == ("False", "TriggerError", "m")


# --- Jobs of earlier versions ---


@pytest.mark.parametrize(
    ("spec", "ended"),
    [
        ({}, [("old", "Background")]),
        ({"rollout": {"propagationPolicy": "foreground"}}, [("old", "Foreground")]),
        ({"rollout": {"strategy": "gradual"}}, []),
        ({"rolloutStrategy": "gradual"}, []),
        (
            {"rolloutStrategy": "default", "rollout": {"strategy": "gradual"}},
            [("old", "Background")],
        ),
    ],
)
async def test_jobs_of_earlier_versions_go_unless_they_end_by_themselves(
    bench: Bench, spec: Any, ended: list[tuple[str, str]]
) -> None:
    bench.job("old", 2)
    bench.job("going", 2, going=True)
    bench.job("new")
    bench.put(**spec)
    await bench.look()
    assert bench.server.ended == ended
    whole = "1 jobs owned by the previous version of the scaledJob"
    texts = [message for _, reason, message in bench.events if "Rollout" in reason]
    assert texts == ([f"Deleting {whole}", f"Deleted {whole}"] if ended else [])


async def test_a_job_that_does_not_go_is_named(bench: Bench) -> None:
    bench.job("old", 2)
    bench.put()
    bench.server.refuses = errors.conflict("jobs", "old", "changed")
    assert await bench.look() == 1
    assert bench.condition("Ready")[2].startswith("Not able to delete job: old: ")
    bench.server.refuses = errors.not_found("jobs", "old")
    assert await bench.look() is None


async def test_an_end_is_told(bench: Bench) -> None:
    obj = bench.put()
    await bench.look()
    bench.events.clear()
    await bench.reconciler.finalize(obj)
    assert bench.reasons == ["KEDAScalersStopped", "ScaledJobDeleted"]


# --- what triggers call for ---


async def test_every_five_things_to_do_are_a_job(bench: Bench) -> None:
    bench.put()
    assert await bench.check((12.0, True)) == 3
    assert bench.reasons == ["KEDAJobsCreated", "ScaledJobActive"]
    assert bench.events[0][2] == "Created 3 jobs"
    assert bench.condition("Active")[:2] == ("True", "ScalerActive")
    assert bench.condition("Ready")[:2] == ("True", "ScaledJobReady")
    assert bench.there.status.last_active_time == timestamps.rfc3339(NOW)
    assert bench.there.status.external_metric_names == ["s0-desk"]
    assert bench.there.status.triggers_activity["s0-desk"].is_active
    made = next(iter(bench.server.of(Job)))
    assert made.metadata.annotations[GENERATION] == "3"
    assert made.spec.template.spec.restart_policy == "OnFailure"
    bench.kind = VALUE
    assert await bench.check((20.0, True)) == 1, "three run already"


async def test_nothing_to_do_is_told_once(bench: Bench) -> None:
    bench.put()
    assert await bench.check((0.0, False)) == 0
    assert bench.events == [] and bench.there.status.last_active_time is None
    assert bench.condition("Active")[:2] == ("False", "ScalerNotActive")
    await bench.check((1.0, True))
    before = bench.there.status.last_active_time
    assert await bench.check((0.0, False)) == 0
    assert bench.reasons == ["ScaledJobInactive"]
    assert bench.there.status.last_active_time == before
    await bench.check((0.0, False))
    assert bench.events == []


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (("down",), ("False", "TriggerError")),
        (("down", (5.0, True)), ("Unknown", "PartialTriggerError")),
        (("down", (0.0, False)), ("False", "TriggerError")),
        (((5.0, True), (0.0, False)), ("True", "ScaledJobReady")),
    ],
)
async def test_a_trigger_that_fails_stands_in_ready(
    bench: Bench, answers: Any, told: tuple[str, str]
) -> None:
    bench.put()
    await bench.check(*answers)
    assert bench.condition("Ready")[:2] == told
    failures = [event for event in bench.events if event[1] == "KEDAScalerFailed"]
    assert failures == [("Warning", "KEDAScalerFailed", "down")] * ("down" in answers)


async def test_a_job_that_is_refused_is_told(bench: Bench) -> None:
    bench.put()
    bench.server.refuses = errors.forbidden("jobs", "", "no quota")
    assert await bench.check((5.0, True)) == 0
    assert bench.reasons[:2] == ["KEDAJobCreateFailed", "KEDAJobsCreated"]
    assert bench.events[0][2].startswith("Failed to create job work-: ")


async def test_jobs_of_which_nothing_runs_count_as_the_strategy_says(bench: Bench) -> None:
    """`accurate`: those that are pending have taken nothing from the queue yet."""
    bench.put(scalingStrategy={"strategy": "accurate"})
    for name in ("a", "b", "c"):
        bench.job(name)
    bench.job("done", ended="Complete")
    bench.pod("a", "Running")
    bench.pod("b")
    bench.pod("done", "Succeeded")
    assert await bench.check((20.0, True)) == 2, "four, of which b and c are to come"


@pytest.mark.parametrize(
    ("rows", "wanted", "pending"),
    [
        ([], [], True),
        ([("Pending", ())], [], True),
        ([("Running", ())], [], False),
        ([("Succeeded", ())], [], False),
        ([("Failed", ())], [], True),
        ([("Pending", ()), ("Running", ())], [], False),
        ([("Running", ())], ["Ready"], True),
        ([("Pending", ("Ready",))], ["Ready"], False),
        ([("Pending", ("Ready",))], ["Ready", "Other"], True),
        ([("Pending", ("Ready", "Other"))], ["Ready", "Other"], False),
        ([("Pending", ("Ready",)), ("Pending", ("Other",))], ["Ready", "Other"], True),
    ],
)
async def test_a_job_is_pending_until_a_pod_is_as_wanted(
    bench: Bench, rows: Any, wanted: list[str], pending: bool
) -> None:
    pods = [bench.pod("a", phase, *conditions) for phase, conditions in rows]
    assert is_pending(pods, wanted) is pending


# --- the history ---


@pytest.mark.parametrize(
    ("spec", "ended"),
    [
        ({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 3}, ["d", "b"]),
        ({"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0}, ["d", "b", "c", "f"]),
        ({"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 0}, ["f"]),
        ({}, []),
    ],
)
async def test_the_oldest_that_ended_go_beyond_the_limits(
    bench: Bench, spec: Any, ended: list[str]
) -> None:
    bench.put(**spec)
    for name, at in (("b", "02"), ("c", "03"), ("d", "01")):
        bench.job(name, ended="Complete", at=f"2026-01-{at}T00:00:00Z")
    bench.job("f", ended="Failed")
    bench.job("runs")
    await bench.check((0.0, False))
    assert [name for name, _ in bench.server.ended] == ended
    assert {how for _, how in bench.server.ended} <= {"Background"}


async def test_a_hundred_of_each_are_kept_where_nothing_is_said(bench: Bench) -> None:
    bench.put()
    for number in range(101):
        bench.job(
            f"j{number:03}",
            ended="Complete",
            at=f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
        )
    await bench.check((0.0, False))
    assert bench.server.ended == [("j000", "Background")]
