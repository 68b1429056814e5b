"""What the work that triggers see becomes: Jobs, and an end of old ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.keda.jobbench import NOW, Bench
from tiphys.addons.keda.jobscaling import GENERATION, is_pending
from tiphys.addons.keda.scaler import VALUE
from tiphys.api.batch_v1 import Job
from tiphys.machinery import errors, timestamps


@pytest.fixture
async def bench() -> Bench:
    return Bench()


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
