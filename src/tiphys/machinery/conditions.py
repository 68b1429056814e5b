"""Conditions of a status: found, asked and set in one place.

The rule about `last_transition_time` is that of upstream's `meta.SetStatusCondition`: it is when
the *status* changed last. A new reason or message alone does not move it, because others measure
with it how long something has been so (`minReadySeconds`, the patience with a silent node).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from tiphys.machinery import timestamps


class Condition(Protocol):
    """What every group's condition type has."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: str | None


C = TypeVar("C", bound=Condition)


def find(conditions: Iterable[C], kind: str) -> C | None:
    """The condition of that type, None when there is none."""
    for condition in conditions:
        if condition.type == kind:
            return condition
    return None


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether there is a condition of that type and its status is ``True``."""
    condition = find(conditions, kind)
    return condition is not None and condition.status == "True"


def state_of(conditions: Iterable[Condition], kind: str, absent: str = "Unknown") -> str:
    """The status of the condition of that type: ``True``, ``False`` or ``Unknown``."""
    condition = find(conditions, kind)
    return absent if condition is None else condition.status


def status_of(flag: bool) -> str:
    """``True`` or ``False``, as conditions write it."""
    return "True" if flag else "False"


def differs(standing: Condition | None, wanted: Condition) -> bool:
    """Whether `wanted` says something else than the standing condition, times aside."""
    if standing is None:
        return True
    current = (standing.status, standing.reason, standing.message)
    return current != (wanted.status, wanted.reason, wanted.message)


def transition_time(standing: Condition | None, status: str, now: float) -> str:
    """When a condition that has `status` now got it: as the standing one says while that has the
    same status, otherwise `now` (seconds since the epoch)."""
    if standing is not None and standing.status == status and standing.last_transition_time:
        return standing.last_transition_time
    return timestamps.rfc3339(now)


def updated(conditions: Iterable[C], wanted: C, now: float, *, last: bool = False) -> list[C]:
    """The conditions with `wanted` among them, in a new list; the given ones stay as they are.

    `wanted` takes the place of the condition of its type. With `last` it goes to the end instead,
    as upstream's controllers of deployments and jobs have it. Its `last_transition_time` is filled
    in: that of the standing condition while the status is the same, otherwise `now` (seconds since
    the epoch).
    """
    conditions = list(conditions)
    standing = find(conditions, wanted.type)
    if standing is not None and standing.status == wanted.status:
        wanted.last_transition_time = standing.last_transition_time
    if not wanted.last_transition_time or standing is None or standing.status != wanted.status:
        wanted.last_transition_time = timestamps.rfc3339(now)
    if standing is None or last:
        return [*without(conditions, wanted.type), wanted]
    return [wanted if condition is standing else condition for condition in conditions]


def without(conditions: Iterable[C], kind: str) -> list[C]:
    """The conditions but for those of that type."""
    return [condition for condition in conditions if condition.type != kind]
