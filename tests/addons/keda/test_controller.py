"""One look at a ScaledObject: it is checked, gets its autoscaler, and is watched, or it is paused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.keda.bench import KEY, RESOURCE, Bench
from tiphys.addons.keda.controller import ScaledObjectReconciler
from tiphys.addons.keda.scaler import ScalerError
from tiphys.addons.keda.types import ScaledObject
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscaler
from tiphys.api.base import from_builtins, to_builtins
from tiphys.machinery import errors

OWNER = "scaledobject.keda.sh/name"
HPA = "keda-hpa-web"
NO_SCALE = "Target resource doesn't expose /scale subresource"
WRONG = "ScaledObject doesn't have correct scaleTargetRef specification"


class Looks(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.reconciler = ScaledObjectReconciler(self.context, "keda")
        self.reconciler.apply = self._applied  # type: ignore[method-assign,assignment]
        self.applications = 0

    async def _applied(self, owner: Any, obj: Any) -> Any:
        self.applications += 1
        return await self.applied(owner, obj)

    async def look(self) -> float | None:
        self.events.clear()
        copy = from_builtins(to_builtins(self.there), ScaledObject)
        return await self.reconciler.reconcile(copy)

    @property
    def autoscaler(self) -> HorizontalPodAutoscaler | None:
        return self.server.of(HorizontalPodAutoscaler).get(f"lab/{HPA}")

    @property
    def ready(self) -> tuple[str, str, str]:
        return self.condition("Ready")


@pytest.fixture
async def looks() -> Looks:
    return Looks()


async def test_an_object_that_is_right_gets_an_autoscaler_and_is_watched(looks: Looks) -> None:
    looks.put(minReplicaCount=2, maxReplicaCount=7)
    assert await looks.look() is None
    made = looks.autoscaler
    assert made is not None and (made.spec.min_replicas, made.spec.max_replicas) == (2, 7)
    status = looks.there.status
    assert status.scale_target_gvkr == RESOURCE
    assert (status.scale_target_kind, status.original_replica_count) == ("apps/v1.Deployment", 3)
    assert (status.external_metric_names, status.hpa_name) == (["s0-desk"], HPA)
    assert (status.triggers_types, status.composite_scaler_name) == ("desk", "")
    assert looks.there.metadata.labels[OWNER] == "web"
    assert looks.ready[:2] == ("True", "ScaledObjectReady")
    assert looks.condition("Fallback")[:2] == ("False", "NoFallbackFound")
    assert looks.reasons == ["ScaledObjectReady", "KEDAScalersStarted"]
    assert looks.started == [f"scaledobject-{KEY}"]
    assert looks.measurer.paused == [False]


async def test_a_second_look_changes_nothing(looks: Looks) -> None:
    looks.put()
    await looks.look()
    version, count = looks.there.metadata.resource_version, looks.applications
    looks.targets.count = 9
    assert await looks.look() is None
    assert looks.there.metadata.resource_version == version
    assert (looks.applications, looks.events) == (count, [])
    assert looks.there.status.original_replica_count == 3


async def test_an_autoscaler_that_somebody_changed_is_made_right(looks: Looks) -> None:
    looks.put()
    await looks.look()
    made = looks.autoscaler
    assert made is not None
    changed = from_builtins(to_builtins(made), HorizontalPodAutoscaler)
    changed.status.desired_replicas = 5
    looks.server.put(changed)
    await looks.look()
    assert looks.applications == 1, "its status is its own"
    changed = from_builtins(to_builtins(made), HorizontalPodAutoscaler)
    changed.spec.max_replicas = 1
    looks.server.put(changed)
    await looks.look()
    assert looks.applications == 2
    looks.server.take(looks.autoscaler)
    await looks.look()
    assert looks.applications == 3 and looks.autoscaler is not None


async def test_an_autoscaler_that_gets_another_name_replaces_the_first(looks: Looks) -> None:
    looks.put()
    await looks.look()
    named = {"horizontalPodAutoscalerConfig": {"name": "mine"}}
    looks.put(advanced=named, status=to_builtins(looks.there.status))
    await looks.look()
    assert looks.server.gone == [HPA]
    assert looks.there.status.hpa_name == "mine"


async def test_health_of_metrics_that_are_gone_is_forgotten(looks: Looks) -> None:
    health = {"s0-desk": {"status": "Happy"}, "s9-old": {"status": "Failing"}}
    looks.put(status={"health": health}, labels={OWNER: "web"})
    await looks.look()
    assert list(looks.there.status.health) == ["s0-desk"]


async def test_a_formula_is_a_composite_metric(looks: Looks) -> None:
    modifiers = {"scalingModifiers": {"formula": "t0", "target": "2"}}
    looks.put(advanced=modifiers)
    await looks.look()
    assert looks.there.status.composite_scaler_name == "composite-metric"


# --- what is wrong ---


async def failed(looks: Looks, message: str) -> None:
    assert await looks.look() is not None
    assert looks.ready == ("False", "ScaledObjectCheckFailed", message)
    assert looks.condition("Active")[:2] == ("Unknown", "UnknownState")
    assert looks.events[-1] == ("Warning", "ScaledObjectCheckFailed", message)
    assert looks.started == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"scaleTargetRef": {"name": ""}},
            f"{WRONG}: ScaledObject.spec.scaleTargetRef.name is missing",
        ),
        (
            {"minReplicaCount": 5, "maxReplicaCount": 3},
            "ScaledObject doesn't have correct Idle/Min/Max Replica Counts specification: "
            "MinReplicaCount=5 must be less than MaxReplicaCount=3",
        ),
        (
            {"triggers": []},
            "ScaledObject doesn't have correct triggers specification: no triggers defined in the "
            "ScaledObject/ScaledJob",
        ),
    ],
)
async def test_what_is_wrong_with_an_object_stands_in_ready(
    looks: Looks, spec: Any, message: str
) -> None:
    looks.put(**spec)
    await failed(looks, message)


async def test_triggers_that_cannot_be_made_stand_in_ready(looks: Looks) -> None:
    looks.put()
    before = "failed to ensure HPA is correctly created for ScaledObject"
    looks.wrong = ScalerError("no scaler found")
    await failed(looks, f"{before}: no scaler found")
    looks.wrong = None
    looks.specs = []
    await failed(looks, f"{before}: no metric specs returned from scalers for ScaledObject lab/web")


async def test_an_object_that_is_wrong_is_looked_at_ever_more_seldom(looks: Looks) -> None:
    looks.put(triggers=[])
    assert [await looks.look() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    looks.put()
    assert await looks.look() is None
    looks.put(triggers=[])
    assert await looks.look() == 1


@pytest.mark.parametrize(
    ("there", "event"), [(True, NO_SCALE), (False, "Target resource doesn't exist")]
)
async def test_a_target_without_a_scale_is_named(looks: Looks, there: bool, event: str) -> None:
    looks.put()
    looks.targets.there = there
    looks.targets.fails["scale"] = errors.not_found("deployments", "web")
    await looks.look()
    assert looks.events[0] == ("Warning", "ScaledObjectCheckFailed", event)
    assert looks.ready[2].startswith(f"{WRONG}: ")
    del looks.targets.fails["scale"]
    looks.targets.fails["resource"] = LookupError("no such kind")
    await looks.look()
    assert looks.ready[2] == f"{WRONG}: no such kind"


async def test_a_target_that_is_another_one_keeps_what_the_first_had(looks: Looks) -> None:
    looks.put(status={"originalReplicaCount": 8})
    await looks.look()
    assert looks.there.status.original_replica_count == 8
    looks.targets.fails["scale"] = errors.not_found("deployments", "web")
    assert await looks.look() is None, "it is known already"
    ref = {"name": "web", "kind": "StatefulSet"}
    looks.put(scaleTargetRef=ref, status=to_builtins(looks.there.status))
    assert await looks.look() is not None


async def test_a_name_that_can_be_no_label_is_not_made_one(looks: Looks) -> None:
    obj = looks.put()
    for length, labelled in ((63, True), (64, False)):
        obj.metadata.name = "n" * length
        obj.metadata.labels = {}
        looks.server.put(obj)
        await looks.reconciler._label(obj)
        found = looks.server.of(ScaledObject).get(f"lab/{obj.metadata.name}")
        assert found is not None and (OWNER in found.metadata.labels) is labelled


async def test_what_triggers_have_said_of_ready_stands(looks: Looks) -> None:
    looks.put()
    await looks.look()
    told = [{"type": "Ready", "status": "False", "reason": "TriggerError", "message": "m"}]
    status = {**to_builtins(looks.there.status), "conditions": told}
    looks.put(status=status, labels={OWNER: "web"})
    await looks.look()
    assert looks.ready == ("False", "TriggerError", "m") and looks.events == []
    told[0]["reason"] = "ScaledObjectCheckFailed"
    looks.put(status=status, labels={OWNER: "web"})
    await looks.look()
    assert looks.ready[:2] == ("True", "ScaledObjectReady")
    assert looks.reasons == ["ScaledObjectReady"]


async def test_after_a_restart_it_is_ready_until_its_triggers_speak(looks: Looks) -> None:
    told = [{"type": "Ready", "status": "False", "reason": "TriggerError", "message": "m"}]
    looks.put(status={"conditions": told})
    await looks.look()
    assert looks.ready[:2] == ("True", "ScaledObjectReady")
    assert "ScaledObjectReady" not in looks.reasons


# --- pausing ---

PAUSED = ("True", "ScaledObjectPaused", "ScaledObject is paused")


@pytest.mark.parametrize(
    ("annotations", "written", "count"),
    [
        ({"paused": "true"}, [], None),
        ({"paused-replicas": "5"}, [5], 5),
        ({"paused-replicas": "3"}, [], 3),
        ({"paused-replicas": "0"}, [0], 0),
    ],
)
async def test_a_pause_ends_the_watch_and_asks_for_a_count(
    looks: Looks, annotations: Any, written: list[int], count: int | None
) -> None:
    looks.put()
    await looks.look()
    looks.put(annotations=annotations, status=to_builtins(looks.there.status))
    assert await looks.look() is None
    assert looks.reasons == ["ScaledObjectPaused", "KEDAScalersStopped"]
    assert looks.started[1:] == [f"end of scaledobject-{KEY}"]
    assert (looks.server.gone, looks.targets.written) == ([HPA], written)
    assert looks.there.status.paused_replica_count == count
    assert looks.condition("Paused") == PAUSED
    assert looks.ready == ("True", "ScaledObjectReady", "ScaledObject is paused")
    assert looks.measurer.paused == [False, True]
    await looks.look()
    assert looks.events == [] and looks.targets.written == written


async def test_a_pause_at_no_number_is_refused(looks: Looks) -> None:
    looks.put(annotations={"paused-replicas": "x"})
    await looks.look()
    assert looks.ready[2].startswith("failed to scale target to paused replica count: failed to")


async def test_a_pause_ends_with_its_annotation(looks: Looks) -> None:
    looks.put(annotations={"paused-replicas": "5"})
    await looks.look()
    looks.put(status=to_builtins(looks.there.status))
    await looks.look()
    message = "pause annotation removed for ScaledObject"
    assert looks.condition("Paused") == ("False", "ScaledObjectUnpaused", message)
    assert looks.there.status.paused_replica_count is None
    assert "ScaledObjectUnpaused" in looks.reasons
    assert looks.started == [f"scaledobject-{KEY}"]


@pytest.mark.parametrize("half", ["paused-scale-in", "paused-scale-out"])
async def test_half_a_pause_is_one_and_is_watched(looks: Looks, half: str) -> None:
    looks.put(annotations={half: "true"})
    await looks.look()
    assert looks.condition("Paused") == PAUSED
    assert looks.reasons[0] == "ScaledObjectPaused"
    assert looks.started == [f"scaledobject-{KEY}"] and looks.server.gone == []
    await looks.look()
    assert looks.events == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.not_found("horizontalpodautoscalers", HPA), ""),
        (errors.conflict("horizontalpodautoscalers", HPA, "x"), "failed to delete HPA for paused"),
    ],
)
async def test_an_autoscaler_that_is_gone_need_not_go(
    looks: Looks, error: Exception, said: str
) -> None:
    looks.put(annotations={"paused": "true"})

    async def delete(*_: Any, **__: Any) -> None:
        raise error

    looks.server.delete = delete  # type: ignore[method-assign,assignment]
    assert (await looks.look() is None) is (not said)
    assert looks.ready[2].startswith(said or "ScaledObject is paused")


# --- the end ---

RESTORES = {"restoreToOriginalReplicaCount": True}


@pytest.mark.parametrize(
    ("advanced", "before", "written"),
    [(RESTORES, 8, [8]), (RESTORES, 0, [0]), (RESTORES, None, []), ({}, 8, []), (None, 8, [])],
)
async def test_a_target_gets_back_what_it_had_if_that_is_wanted(
    looks: Looks, advanced: Any, before: int | None, written: list[int]
) -> None:
    status = {} if before is None else {"originalReplicaCount": before}
    obj = looks.put(status=status, **({} if advanced is None else {"advanced": advanced}))
    await looks.reconciler.finalize(obj)
    assert looks.targets.written == written
    assert looks.events == [("Warning", "ScaledObjectDeleted", "ScaledObject was deleted")]


async def test_a_target_that_is_gone_gets_nothing_back(looks: Looks) -> None:
    obj = looks.put(status={"originalReplicaCount": 8}, advanced=RESTORES)
    looks.targets.fails["set"] = errors.not_found("deployments", "web")
    await looks.reconciler.finalize(obj)
    assert looks.reasons == ["ScaledObjectDeleted"]
    for error in (LookupError("no such kind"), errors.conflict("deployments", "web", "x")):
        looks.targets.fails["set"] = error
        with pytest.raises(type(error)):
            await looks.reconciler.finalize(obj)


async def test_a_new_target_of_a_trigger_brings_the_object_back(looks: Looks) -> None:
    keys: list[str] = []
    looks.reconciler.watch(keys.append)
    looks.scaling.on_retargeted(KEY)
    assert keys == [KEY]
