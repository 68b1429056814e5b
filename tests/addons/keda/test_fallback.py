"""What a metric is when its trigger fails too often."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.keda import fallback
from tiphys.addons.keda.scaler import AVERAGE, VALUE, external
from tiphys.addons.keda.types import Fallback, Health, ScaledObject
from tiphys.api.base import from_builtins


def scaled(advanced: dict[str, Any] | None = None, **parts: Any) -> ScaledObject:
    given = {"failureThreshold": 3, "replicas": 6, **parts}
    spec = {"scaleTargetRef": {"name": "w"}, "triggers": [], "fallback": given}
    if advanced is not None:
        spec["advanced"] = {"scalingModifiers": {"formula": "a", "target": "2", **advanced}}
    return from_builtins({"metadata": {"name": "w"}, "spec": spec}, ScaledObject)


@pytest.mark.parametrize(
    ("obj", "usable"),
    [
        (scaled(), True),
        (scaled(failureThreshold=0, replicas=0), True),
        (scaled(failureThreshold=-1), False),
        (scaled(replicas=-1), False),
        (scaled({}), True),
        (scaled({"target": "0"}), False),
        (scaled({"target": "2.5"}), False),
    ],
)
def test_a_fallback_needs_numbers(obj: ScaledObject, usable: bool) -> None:
    assert fallback.is_usable(obj) is usable
    obj.spec.fallback = None
    assert not fallback.is_usable(obj) and not fallback.needs_current(obj)


@pytest.mark.parametrize(
    ("failures", "status", "exceeded"),
    [(3, "Failing", False), (4, "Failing", True), (4, "Happy", False), (None, "Failing", False)],
)
def test_more_failures_than_there_may_be(failures: int | None, status: str, exceeded: bool) -> None:
    health = {"s0": Health(status=status, number_of_failures=failures), "s1": Health()}
    assert fallback.is_exceeded(health, 3) is exceeded
    assert not fallback.is_exceeded({}, 3)


@pytest.mark.parametrize(
    ("behavior", "current", "replicas"),
    [
        ("static", 4, 6),
        ("currentReplicas", 4, 4),
        ("currentReplicasIfHigher", 4, 6),
        ("currentReplicasIfHigher", 9, 9),
        ("currentReplicasIfLower", 4, 4),
        ("currentReplicasIfLower", 9, 6),
    ],
)
def test_what_becomes_of_the_current_number(behavior: str, current: int, replicas: int) -> None:
    given = Fallback(failure_threshold=3, replicas=6, behavior=behavior)
    assert fallback.replicas(given, current) == replicas
    assert fallback.needs_current(scaled(behavior=behavior)) is (behavior != "static")


@pytest.mark.parametrize(
    ("advanced", "kind", "ready", "value"),
    [
        (None, AVERAGE, 0, 30.0),
        (None, VALUE, 2, 15.0),
        (None, VALUE, 0, None),
        ({}, AVERAGE, 0, 12.0),
        ({"metricType": "Value"}, AVERAGE, 3, 4.0),
        ({"metricType": "Value"}, AVERAGE, 0, None),
        ({"metricType": "AverageValue"}, VALUE, 0, 12.0),
    ],
)
def test_the_metric_that_leads_to_the_fallback(
    advanced: dict[str, Any] | None, kind: str, ready: int, value: float | None
) -> None:
    obj, spec = scaled(advanced), external("s0-x", kind, 5)
    assert fallback.value(obj, spec, 4, ready) == value
