"""Golden cases of what becomes of a target, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.addons.keda.world import scaled_object, trigger
from tiphys.addons.keda import fallback
from tiphys.addons.keda.autoscalers import autoscaler
from tiphys.addons.keda.deciding import Decision, Seen, decide
from tiphys.addons.keda.facts import SpecError
from tiphys.addons.keda.scaler import external
from tiphys.addons.keda.types import Fallback, ScaledObject, TargetResource
from tiphys.machinery import timestamps

NOW = 1_800_000_000.0
CRON = trigger("cron")
TARGET = TargetResource(group="apps", version="v1", kind="Deployment", resource="deployments")


def one(
    active_before: float | None = None, created_before: float = 1000, **spec: Any
) -> ScaledObject:
    """Last active, and created, so many seconds ago."""
    annotations = spec.pop("annotations", None)
    obj = scaled_object("w", CRON, annotations=annotations, **spec)
    obj.metadata.creation_timestamp = timestamps.rfc3339(NOW - created_before)
    if active_before is not None:
        obj.status.last_active_time = timestamps.rfc3339(NOW - active_before)
    return obj


def outcome(obj: ScaledObject, seen: Seen, replicas: int) -> tuple[int | None, str, str]:
    """(replicas, reason of Active, reason of Ready)."""
    decision = decide(obj, seen, replicas, NOW)
    reason = decision.conditions["Active"].reason
    return decision.replicas, reason, decision.conditions["Ready"].reason


ON, OFF = Seen(True, active=("m",)), Seen(False)
BROKEN, HALF = Seen(False, failed=True), Seen(True, failed=True)
FINE = "ScaledObjectReady"
IDLE = {"idleReplicaCount": 0, "minReplicaCount": 2}
PAUSED_IN = {"annotations": {"autoscaling.keda.sh/paused-scale-in": "true"}}
PAUSED_OUT = {"annotations": {"autoscaling.keda.sh/paused-scale-out": "true"}}
FORCED = {"annotations": {"autoscaling.keda.sh/force-activation": "true"}}
FALLS = {"fallback": {"failureThreshold": 3, "replicas": 6}}


@pytest.mark.parametrize(
    ("obj", "seen", "replicas", "expected"),
    [
        # from none
        (one(), ON, 0, (1, "ScalerActive", FINE)),
        (one(minReplicaCount=3), ON, 0, (3, "ScalerActive", FINE)),
        (one(), ON, 4, (None, "ScalerActive", FINE)),
        (one(**IDLE), ON, 0, (2, "ScalerActive", FINE)),
        (one(**IDLE), ON, 1, (2, "ScalerActive", FINE)),
        (one(**FORCED), OFF, 0, (1, "ScalerActive", FINE)),
        (one(**PAUSED_OUT), ON, 0, (None, "ScalerActive", FINE)),
        # down again
        (one(active_before=301), OFF, 4, (0, "ScalerNotActive", FINE)),
        (one(active_before=299), OFF, 4, (None, "ScalerCooldown", FINE)),
        (one(active_before=6, cooldownPeriod=5), OFF, 1, (0, "ScalerNotActive", FINE)),
        (one(active_before=999, **PAUSED_IN), OFF, 4, (None, "ScalerNotActive", FINE)),
        (one(active_before=999, **IDLE), OFF, 2, (0, "ScalerNotActive", FINE)),
        (one(active_before=999, minReplicaCount=2), OFF, 4, (None, "ScalerNotActive", FINE)),
        (one(minReplicaCount=2), OFF, 1, (2, "ScalerNotActive", FINE)),
        # before it was ever active
        (one(), OFF, 1, (0, "ScalerNotActive", FINE)),
        (one(created_before=59, initialCooldownPeriod=60), OFF, 1, (None, "ScalerCooldown", FINE)),
        (one(created_before=61, initialCooldownPeriod=60), OFF, 1, (0, "ScalerNotActive", FINE)),
        # what fails
        (one(), BROKEN, 4, (None, "ScalerNotActive", "TriggerError")),
        (one(), HALF, 4, (None, "ScalerActive", "PartialTriggerError")),
        (one(), HALF, 0, (1, "ScalerActive", FINE)),
        (one(active_before=999, **FALLS), BROKEN, 4, (None, "ScalerNotActive", FINE)),
    ],
)
def test_the_table_of_decisions(
    obj: ScaledObject, seen: Seen, replicas: int, expected: tuple[int | None, str, str]
) -> None:
    assert outcome(obj, seen, replicas) == expected


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    active=st.booleans(),
    failed=st.booleans(),
    replicas=st.integers(0, 20),
    low=st.integers(0, 5) | st.none(),
    idle=st.integers(0, 4) | st.none(),
)
def test_it_never_scales_beyond_the_first_ones(
    active: bool, failed: bool, replicas: int, low: int | None, idle: int | None
) -> None:
    """Between one replica and many the autoscaler decides."""
    counts = {"minReplicaCount": low, "idleReplicaCount": idle}
    spec = {name: value for name, value in counts.items() if value is not None}
    decision: Decision = decide(one(**spec), Seen(active, failed), replicas, NOW)
    assert decision.replicas in (None, 0, 1, low, idle)


# --- fallback ---


@pytest.mark.parametrize(
    ("behavior", "current", "expected"),
    [("static", 9, 6), ("currentReplicas", 9, 9), ("currentReplicas", 2, 2),
     ("currentReplicasIfHigher", 9, 9), ("currentReplicasIfHigher", 2, 6),
     ("currentReplicasIfLower", 9, 6), ("currentReplicasIfLower", 2, 2)],
)  # fmt: skip
def test_a_fallbacks_behaviour(behavior: str, current: int, expected: int) -> None:
    assert fallback.replicas(Fallback(replicas=6, behavior=behavior), current) == expected


def test_the_fallbacks_metric_leads_the_autoscaler_to_its_replicas() -> None:
    obj = one(**FALLS)
    assert fallback.value(obj, external("m", "AverageValue", 5), 1, 0) == 30
    assert fallback.value(obj, external("m", "Value", 5), 1, 3) == 10
    assert fallback.value(obj, external("m", "Value", 5), 1, 0) is None


# --- the autoscaler ---


def made(obj: ScaledObject, *names: str) -> Any:
    return autoscaler(obj, [external(name, "AverageValue", 5) for name in names], TARGET)


def test_an_autoscaler_has_bounds_labels_and_the_metrics_of_its_object() -> None:
    obj = one(minReplicaCount=0, maxReplicaCount=7)
    obj.metadata.labels = {"team": "a", "secret": "b"}
    obj.metadata.annotations = {"scaledobject.keda.sh/hpa-excluded-labels": "secret"}
    hpa = made(obj, "m")
    assert (hpa.metadata.name, hpa.spec.min_replicas, hpa.spec.max_replicas) == ("keda-hpa-w", 1, 7)
    assert hpa.metadata.labels["team"] == "a" and "secret" not in hpa.metadata.labels
    assert hpa.spec.metrics[0].external.metric.selector.match_labels == {
        "scaledobject.keda.sh/name": "w"
    }
    assert hpa.spec.metrics[0].external.target.average_value == "5"


def test_a_pause_disables_one_direction() -> None:
    assert made(one(**PAUSED_IN), "m").spec.behavior.scale_down.select_policy == "Disabled"
    behavior = made(one(**PAUSED_OUT), "m").spec.behavior
    assert behavior.scale_up.select_policy == "Disabled" and behavior.scale_down is None


def test_a_formula_leaves_one_metric() -> None:
    modifiers = {"formula": "a + b", "target": "2.5", "metricType": "Value"}
    obj = one(advanced={"scalingModifiers": modifiers})
    (metric,) = made(obj, "s0-a", "s1-b").spec.metrics
    assert metric.external.metric.name == "composite-metric"
    assert metric.external.target.value == "2500m"


def test_two_metrics_of_one_name_are_refused() -> None:
    from tiphys.addons.keda.autoscalers import metric_names

    with pytest.raises(SpecError, match="metricName m defined multiple times in ScaledObject w"):
        metric_names([external("m", "Value", 1)] * 2, "w")
