"""What follows from one look at a ScaledObject's triggers, and what its autoscaler is told."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tests.addons.keda.bench import KEY, NOW, Bench, formula, metric, reading
from tiphys.addons.keda.scaler import ScalerError
from tiphys.addons.keda.scaling import NoMetric
from tiphys.addons.keda.types import Health
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscaler
from tiphys.api.base import from_builtins
from tiphys.machinery import errors, timestamps

LONG_AGO = timestamps.rfc3339(NOW - 10_000)
KIND = {"scaleTargetKind": "apps/v1.Deployment"}


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def checked(bench: Bench, *readings: Any, **put: Any) -> Bench:
    """A look at an object that is watched."""
    bench.put(**{"status": KIND, **put})
    bench.scaling.watch(bench.there)
    return await again(bench, *readings)


async def again(bench: Bench, *readings: Any) -> Bench:
    bench.events.clear()
    bench.measurer.readings = list(readings)
    watched = bench.scaling.watched(KEY)
    assert watched is not None
    await bench.scaling.check(bench.there, watched)
    return bench


# --- from none and to none ---


async def test_a_target_of_none_is_brought_back(bench: Bench) -> None:
    bench.targets.count = 0
    await checked(bench, reading())
    assert bench.targets.written == [1]
    message = "Scaled apps/v1.Deployment lab/web from 0 to 1, triggered by s0-desk"
    assert bench.events == [("Normal", "KEDAScaleTargetActivated", message)]
    assert bench.there.status.last_active_time == timestamps.rfc3339(NOW)
    assert bench.condition("Active")[:2] == ("True", "ScalerActive")
    assert {k: v.is_active for k, v in bench.there.status.triggers_activity.items()} == {
        "s0-desk": True
    }


async def test_an_annotation_may_bring_it_back(bench: Bench) -> None:
    bench.targets.count = 0
    await checked(bench, reading(0, False), annotations={"force-activation": "true"})
    text = "Scaled apps/v1.Deployment lab/web from 0 to 1, caused by forced activation annotation"
    assert bench.events == [("Normal", "KEDAScaleTargetActivated", text)]


async def test_a_target_that_nobody_needs_goes_to_none(bench: Bench) -> None:
    await checked(bench, reading(0, False), status={**KIND, "lastActiveTime": LONG_AGO})
    assert bench.targets.written == [0]
    message = "Deactivated apps/v1.Deployment lab/web from 3 to 0"
    assert bench.events == [("Normal", "KEDAScaleTargetDeactivated", message)]
    assert bench.there.status.last_active_time == LONG_AGO
    assert not bench.there.status.triggers_activity["s0-desk"].is_active


async def test_a_target_below_its_least_is_raised_without_words(bench: Bench) -> None:
    bench.targets.count = 1
    await checked(bench, reading(0, False), minReplicaCount=2)
    assert bench.targets.written == [2] and bench.events == []


@pytest.mark.parametrize(
    ("count", "active", "reason", "message"),
    [
        (0, True, "KEDAScaleTargetActivationFailed", "Failed to scale {} from 0 to 1"),
        (3, False, "KEDAScaleTargetDeactivationFailed", "Failed to deactivate {} from 3 to 0"),
    ],
)
async def test_a_move_that_failed_is_told_and_does_not_count(
    bench: Bench, count: int, active: bool, reason: str, message: str
) -> None:
    bench.targets.count = count
    bench.targets.fails["set"] = errors.conflict("deployments", "web", "changed")
    await checked(bench, reading(3, active), status={**KIND, "lastActiveTime": LONG_AGO})
    text = message.format("apps/v1.Deployment lab/web")
    assert bench.events == [("Warning", reason, text)]
    assert bench.there.status.last_active_time == LONG_AGO


async def test_a_target_that_cannot_be_read_is_not_scaled(bench: Bench) -> None:
    bench.targets.fails["replicas"] = LookupError("no such kind")
    await checked(bench, reading())
    message = "Error getting current replicas count for ScaleTarget: no such kind"
    assert bench.condition("Ready") == ("False", "ErrorGettingCurrentReplicas", message)
    assert bench.targets.written == []


# --- what fails ---


async def test_a_failure_is_told_when_it_begins_or_changes(bench: Bench) -> None:
    await checked(bench, reading(None, False, "down"))
    assert bench.events == [("Warning", "KEDAScalerFailed", "down")]
    assert bench.condition("Ready")[:2] == ("False", "TriggerError")
    assert bench.closed == 1, "the triggers are made anew"
    await again(bench, reading(None, False, "down"))
    assert bench.events == []
    await again(bench, reading(None, False, "gone"))
    assert bench.reasons == ["KEDAScalerFailed"]
    await again(bench, reading())
    assert bench.events == [] and bench.closed == 3
    await again(bench, reading(None, False, "gone"))
    assert bench.reasons == ["KEDAScalerFailed"]


async def test_a_failure_under_a_formula_has_another_name(bench: Bench) -> None:
    bench.formula = formula("t0 + 1")
    modifiers = {"scalingModifiers": {"formula": "t0 + 1", "target": "2"}}
    await checked(bench, reading(None, False, "down"), advanced=modifiers)
    assert bench.reasons == ["KEDAMetricSourceFailed"]


FALLBACK = {"failureThreshold": 2, "replicas": 6}


def failing(count: int) -> dict[str, Health]:
    return {"s0-desk": Health(number_of_failures=count, status="Failing")}


async def test_a_fallback_begins_and_ends_with_words(bench: Bench) -> None:
    await checked(bench, reading(), fallback=FALLBACK)
    watched = bench.scaling.watched(KEY)
    assert watched is not None and bench.events == []
    assert bench.condition("Fallback")[:2] == ("False", "NoFallbackFound")
    for failures, told, status in (
        (2, [], "False"),
        (3, ["ScaledObjectFallbackActivated"], "True"),
        (4, [], "True"),
        (0, ["ScaledObjectFallbackDeactivated"], "False"),
        (0, [], "False"),
    ):
        watched.health = failing(failures)
        await again(bench, reading())
        assert bench.reasons == told
        assert bench.condition("Fallback")[0] == status
        assert bench.there.status.health["s0-desk"].number_of_failures == failures


# --- how the autoscaler is ---


def autoscaler(bench: Bench, *conditions: tuple[str, str, str, str]) -> None:
    rows = [
        {"type": kind, "status": status, "reason": reason, "message": message}
        for kind, status, reason, message in conditions
    ]
    meta = {"name": "keda-hpa-web", "namespace": "lab"}
    row = {"metadata": meta, "status": {"conditions": rows, "desiredReplicas": 1}}
    bench.server.put(from_builtins(row, HorizontalPodAutoscaler))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, ("", "", "")),
        ([], ("", "", "")),
        ([("AbleToScale", "True", "R", "m")], ("", "", "")),
        (
            [("ScalingActive", "True", "R", "m")],
            ("True", "HPAActive", "HPA is actively scaling"),
        ),
        ([("ScalingActive", "False", "ScalingDisabled", "m")], ("True", "ScalingDisabled", "m")),
        (
            [("ScalingActive", "False", "Failed", "m")],
            ("False", "Failed", "HPA is not actively scaling: m"),
        ),
        (
            [("ScalingActive", "False", "", "m")],
            ("False", "HPAMetricsUnavailable", "HPA is not actively scaling: m"),
        ),
    ],
)
async def test_an_object_says_how_its_autoscaler_is(
    bench: Bench, said: Any, told: tuple[str, str, str]
) -> None:
    if said is not None:
        autoscaler(bench, *said)
    await checked(bench, reading(), status={**KIND, "hpaName": "keda-hpa-web"})
    assert bench.condition("HPAActive") == told


# --- what the autoscaler asks ---


async def asked(bench: Bench, name: str = "web", of: str = "s0-desk") -> float | str:
    try:
        return await bench.scaling.value_of("lab", name, of)
    except NoMetric as error:
        return str(error)


async def test_an_autoscaler_gets_the_metric_that_it_asks_for(bench: Bench) -> None:
    bench.put()
    bench.measurer.readings = [reading(7)]
    assert await asked(bench) == 7
    assert bench.measurer.only == ("s0-desk",)
    bench.measurer.readings = [reading(None)]
    assert await asked(bench) == 0
    bench.measurer.readings = []
    assert await asked(bench) == "no matching metrics found for s0-desk"
    text = 'error getting scalers scaledobjects.keda.sh "none" not found'
    assert await asked(bench, "none") == text


async def test_triggers_that_cannot_be_made_have_no_metric(bench: Bench) -> None:
    bench.put()
    bench.wrong = ScalerError("no scaler found")
    assert await asked(bench) == "error getting scalers no scaler found"


async def test_a_trigger_that_fails_has_none_unless_it_falls_back(bench: Bench) -> None:
    bench.put()
    bench.measurer.readings = [reading(None, False, "down")]
    assert await asked(bench) == "metric:s0-desk encountered error"
    assert bench.closed == 1
    bench.measurer.readings = [reading(30, True, "down", falls_back=True)]
    assert await asked(bench) == 30


async def test_a_formula_is_one_metric_of_all(bench: Bench) -> None:
    modifiers = {"scalingModifiers": {"formula": "t0 + t1", "target": "2"}}
    bench.formula = formula("t0 + t1")
    bench.put(advanced=modifiers)
    bench.measurer.readings = [reading(3), reading(4, index=1)]
    assert await asked(bench, of="composite-metric") == 7
    assert bench.measurer.only is None
    bench.measurer.readings = [reading(3), reading(None, index=1)]
    assert str(await asked(bench)).startswith("error applying custom scalingModifiers.Formula: ")


async def test_a_question_notices_a_fallback_as_the_loop_does(bench: Bench) -> None:
    bench.put(fallback=FALLBACK)
    bench.scaling.watch(bench.there)
    watched = bench.scaling.watched(KEY)
    assert watched is not None
    watched.health = failing(3)
    bench.events.clear()
    bench.measurer.readings = [reading(30, True, "down", falls_back=True)]
    assert await asked(bench) == 30
    assert bench.reasons == ["ScaledObjectFallbackActivated"]
    assert bench.condition("Fallback")[:2] == ("True", "FallbackExists")
    bench.server.fails = errors.conflict("scaledobjects", "web", "changed")
    watched.health = failing(4)
    assert await asked(bench) == 30, "whether it could be written or not"


# --- triggers that speak up ---


async def test_a_trigger_that_speaks_up_brings_the_target_back(bench: Bench) -> None:
    bench.targets.count = 0
    bench.put(status={**KIND, "externalMetricNames": ["s0-desk", "s1-desk", "s10-desk"]})
    await bench.scaling._activate(KEY, 1)
    assert bench.targets.written == [], "nobody watches it"
    bench.scaling.watch(bench.there)
    await bench.scaling._activate(KEY, 2)
    assert bench.targets.written == [], "there is no such metric"
    await bench.scaling._activate(KEY, 1)
    assert bench.targets.written == [1]
    assert list(bench.there.status.triggers_activity) == ["s1-desk"]
    assert bench.there.status.triggers_activity["s1-desk"].is_active
    await bench.scaling._activate("lab/none", 1)


async def test_a_trigger_that_says_it_is_for_more_has_its_autoscaler_changed(
    bench: Bench,
) -> None:
    keys: list[str] = []
    bench.scaling.on_retargeted = keys.append

    class Push:
        def __init__(self, *specs: Any) -> None:
            self.config = cast(Any, type("C", (), {"index": 0}))
            self.specs = list(specs)

        async def push_metrics(self, changed: Any) -> bool:
            await changed(self.specs)
            return True

        async def push(self, active: Any) -> None:
            await active()

    bench.put(status={**KIND, "externalMetricNames": ["s0-desk"]})
    assert await bench.scaling._hear_metrics(KEY, cast(Any, Push(metric(0, 9))))
    assert keys == [], "its triggers are not made yet"
    bench.scaling._built[KEY] = await bench.scaling.built(bench.there)
    await bench.scaling._hear_metrics(KEY, cast(Any, Push(metric())))
    assert keys == [], "nothing new"
    for _ in range(2):
        await bench.scaling._hear_metrics(KEY, cast(Any, Push(metric(0, 9))))
        assert keys == [KEY]
    bench.targets.count = 0
    bench.scaling.watch(bench.there)
    assert await bench.scaling._hear_activity(KEY, cast(Any, Push()))
    assert bench.targets.written == [1]


async def test_an_end_of_listening_is_begun_anew_after_a_growing_pause(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    class Push:
        type = "desk"
        config = None
        closed = 0

        async def close(self) -> None:
            Push.closed += 1
            raise OSError("closing fails, too")

    outcomes: list[Any] = [OSError("x")] * 7 + [True, OSError("x"), False]

    async def hear(key: str, scaler: Any) -> bool:
        found = outcomes.pop(0)
        if isinstance(found, Exception):
            raise found
        return bool(found)

    monkeypatch.setattr("tiphys.addons.keda.scaling.PushScaler", Push)
    monkeypatch.setattr("tiphys.addons.keda.scaling.make", lambda config: Push())
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await bench.scaling._push(KEY, cast(Any, Push()), hear)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 2, 4]
    assert Push.closed == 10


async def test_only_triggers_that_speak_up_are_listened_to(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Push:
        pass

    monkeypatch.setattr("tiphys.addons.keda.scaling.PushScaler", Push)
    bench.put()
    bench.scaling.watch(bench.there)
    watched = bench.scaling.watched(KEY)
    assert watched is not None
    bench.started.clear()
    await bench.scaling.begun(KEY, watched)
    assert watched.others == []
    built = await bench.scaling.built(bench.there)
    built.scalers = cast(Any, [object(), Push()])
    bench.scaling._built[KEY] = built
    await bench.scaling.begun(KEY, watched)
    assert bench.started == [f"push-{KEY}"] * 2 and len(watched.others) == 2
