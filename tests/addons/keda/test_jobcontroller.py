"""One look at a ScaledJob: it is checked and watched, and Jobs of earlier versions go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.keda.jobbench import KEY, Bench
from tiphys.addons.keda.scaler import ScalerError
from tiphys.addons.keda.types import TriggerAuthentication
from tiphys.api.base import from_builtins, to_builtins
from tiphys.machinery import errors


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


async def test_the_authentications_of_its_triggers_say_that_it_uses_them(bench: Bench) -> None:
    meta = {"name": "key", "namespace": "lab"}
    made = from_builtins(
        {"metadata": meta, "status": {"scaledjobs": "other"}}, TriggerAuthentication
    )
    bench.server.put(made)
    refs = [
        {"type": "desk", "metadata": {}, "authenticationRef": {"name": n}} for n in ("key", "no")
    ]
    bench.put(triggers=refs)
    await bench.look()
    found = bench.server.of(TriggerAuthentication).get("lab/key")
    assert found is not None
    assert found.status.scaledjobs == "other,work"
    await bench.look()
    again = bench.server.of(TriggerAuthentication).get("lab/key")
    assert again is found, "it says so already"
