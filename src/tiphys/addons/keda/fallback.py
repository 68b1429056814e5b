"""What a metric is when its trigger fails too often in a row. Pure."""

from __future__ import annotations

from tiphys.addons.keda import facts
from tiphys.addons.keda.scaler import AVERAGE, VALUE
from tiphys.addons.keda.types import Fallback, Health, ScaledObject
from tiphys.api.autoscaling_v2 import MetricSpec
from tiphys.machinery.quantity import nano

FAILING = "Failing"
HAPPY = "Happy"


def is_usable(obj: ScaledObject) -> bool:
    """Whether there is a fallback, and failures are counted."""
    fallback = obj.spec.fallback
    if fallback is None or fallback.failure_threshold < 0 or fallback.replicas < 0:
        return False
    modifiers = facts.modifiers(obj.spec)
    if modifiers is None:
        return True
    # KEDA reads the target as a whole number here
    return modifiers.target.isdecimal() and int(modifiers.target) > 0


def is_exceeded(health: dict[str, Health], threshold: int) -> bool:
    """Whether any trigger has failed more often than it may."""
    return any(
        one.status == FAILING and (one.number_of_failures or 0) > threshold
        for one in health.values()
    )


def needs_current(obj: ScaledObject) -> bool:
    """Whether the number of replicas at present plays a part."""
    fallback = obj.spec.fallback
    return fallback is not None and fallback.behavior.startswith("currentReplicas")


def needs_ready(obj: ScaledObject, spec: MetricSpec) -> bool:
    """Whether the number of pods that are ready does: a value is one for all of them."""
    modifiers = facts.modifiers(obj.spec)
    if modifiers is not None:
        return modifiers.metric_type == VALUE
    return spec.external is not None and spec.external.target.type == VALUE


def replicas(fallback: Fallback, current: int) -> int:
    """What the fallback's behaviour makes of the current number."""
    match fallback.behavior:
        case "currentReplicas":
            return current
        case "currentReplicasIfHigher":
            return max(current, fallback.replicas)
        case "currentReplicasIfLower":
            return min(current, fallback.replicas)
    return fallback.replicas


def value(obj: ScaledObject, spec: MetricSpec, current: int, ready: int) -> float | None:
    """The metric for which the autoscaler arrives at the fallback's replicas. None where it cannot:
    a value is shared by the pods that are ready, and there are none."""
    assert obj.spec.fallback is not None
    wanted: float = replicas(obj.spec.fallback, current)
    if needs_ready(obj, spec):
        if not ready:
            return None
        wanted /= ready
    modifiers = facts.modifiers(obj.spec)
    if modifiers is not None:
        return facts.target_number(modifiers) * wanted
    assert spec.external is not None
    target = spec.external.target
    amount = target.average_value if target.type == AVERAGE else target.value
    return nano(amount or "0") / 10**9 * wanted
