"""The decision for a target after its triggers were queried: the part that goes to zero and back,
for between one and many the autoscaler decides. Pure; the rules are KEDA's scale executor's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from tiphys.addons.keda import facts
from tiphys.addons.keda.types import ScaledObject
from tiphys.machinery import timestamps

READY = "ScaledObjectReady"
READY_MESSAGE = "ScaledObject is defined correctly and is ready for scaling"


class ConditionState(NamedTuple):
    """A condition."""

    status: str
    reason: str
    message: str


class Move(Enum):
    """Why a target gets another number of replicas; the value names the event."""

    ACTIVATED = "KEDAScaleTargetActivated"
    DEACTIVATED = "KEDAScaleTargetDeactivated"
    RAISED = ""


@dataclass(frozen=True)
class Seen:
    """The triggers' answers. `active` are the names of metrics that are, `failed` whether any
    trigger could not say anything."""

    is_active: bool
    failed: bool = False
    active: tuple[str, ...] = ()


@dataclass
class Decision:
    """`replicas` is what the target is to have, None to leave it. `was_active` moves the time from
    which the cooldown counts; after a move it counts only if the move succeeds."""

    replicas: int | None = None
    move: Move | None = None
    was_active: bool = False
    conditions: dict[str, ConditionState] = field(default_factory=dict)


def decide(obj: ScaledObject, seen: Seen, replicas: int, now: float) -> Decision:
    """`replicas` are those that the target should have now; `now` is seconds since the epoch."""
    decision = Decision(conditions={"Ready": ConditionState("True", READY, READY_MESSAGE)})
    if facts.is_paused(obj):
        decision.conditions["Paused"] = ConditionState(
            "True", "ScaledObjectPaused", "ScaledObject is paused"
        )
        return decision
    if seen.is_active or facts.flag(obj, facts.FORCE_ACTIVATION):
        _active(obj, seen, replicas, decision)
    else:
        _inactive(obj, seen, replicas, now, decision)
    return decision


def _active(obj: ScaledObject, seen: Seen, replicas: int, decision: Decision) -> None:
    is_forced = facts.flag(obj, facts.FORCE_ACTIVATION)
    because = "activation is being forced by annotation" if is_forced else "triggers are active"
    decision.conditions["Active"] = ConditionState(
        "True", "ScalerActive", f"Scaling is performed because {because}"
    )
    spec = obj.spec
    is_idle = spec.idle_replica_count is not None and replicas < (spec.min_replica_count or 0)
    if is_idle or replicas == 0:
        if not facts.flag(obj, facts.PAUSED_SCALE_OUT):
            decision.replicas = facts.least(spec)
            decision.move = Move.ACTIVATED
            decision.was_active = True
    elif seen.failed:
        decision.conditions["Ready"] = ConditionState(
            "Unknown",
            "PartialTriggerError",
            "Some triggers defined in ScaledObject are not working correctly",
        )
    else:
        decision.was_active = True


def _inactive(obj: ScaledObject, seen: Seen, replicas: int, now: float, decision: Decision) -> None:
    decision.conditions["Active"] = ConditionState(
        "False", "ScalerNotActive", "Scaling is not performed because triggers are not active"
    )
    spec = obj.spec
    low = spec.min_replica_count or 0
    idle = spec.idle_replica_count
    if seen.failed and spec.fallback is not None and spec.fallback.replicas:
        return  # at zero the autoscaler would not bring the fallback's replicas
    if seen.failed and spec.fallback is None:
        decision.conditions["Ready"] = ConditionState(
            "False",
            "TriggerError",
            "Triggers defined in ScaledObject are not working correctly",
        )
    elif (idle is not None and replicas > idle) or (replicas > 0 and low == 0):
        _rest(obj, now, decision)
    elif idle is None and replicas < low:
        decision.replicas = low
        decision.move = Move.RAISED


def _rest(obj: ScaledObject, now: float, decision: Decision) -> None:
    """To zero or the idle count, once the cooldown is over."""
    if facts.flag(obj, facts.PAUSED_SCALE_IN):
        return
    if not is_cool(obj, now):
        decision.conditions["Active"] = ConditionState(
            "False", "ScalerCooldown", "Scaler cooling down because triggers are not active"
        )
        return
    idle = obj.spec.idle_replica_count
    decision.replicas = (obj.spec.min_replica_count or 0) if idle is None else idle
    decision.move = Move.DEACTIVATED


def is_cool(obj: ScaledObject, now: float) -> bool:
    """Whether its cooldown is over. Before it was ever active, the initial one counts from its
    creation."""
    if not obj.status.last_active_time:
        created = timestamps.parse(obj.metadata.creation_timestamp or timestamps.rfc3339(0))
        return created + (obj.spec.initial_cooldown_period or 0) < now
    cooldown = obj.spec.cooldown_period
    last = timestamps.parse(obj.status.last_active_time)
    return last + (facts.COOLDOWN if cooldown is None else cooldown) < now
