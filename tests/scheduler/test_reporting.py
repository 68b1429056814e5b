"""What is written to a pod that has no node. The events and statuses themselves are in
`test_cycle`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.scheduler.reporting import condition_patch

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
THEN = "2025-01-01T00:00:00Z"


def patch(value: str = "False", reason: str = "Unschedulable", message: str = "full") -> Any:
    """The patch for a pod of generation 1 that has a condition already."""
    made = pod()
    made.metadata.generation = 1
    made.status.conditions = [
        core_v1.PodCondition(
            type="PodScheduled",
            status="False",
            reason="Unschedulable",
            message="full",
            observed_generation=1,
            last_transition_time=THEN,
        )
    ]
    return condition_patch(made, "PodScheduled", value, reason, message, NOW)


def test_a_condition_that_is_there_is_not_written_again() -> None:
    assert patch() is None


@pytest.mark.parametrize(
    ("change", "transition"),
    [
        ({"message": "fuller"}, THEN),
        ({"reason": "SchedulerError"}, THEN),
        ({"value": "True"}, "2026-01-01T00:00:00Z"),
    ],
)
def test_the_transition_time_stays_as_long_as_the_value_does(
    change: dict[str, str], transition: str
) -> None:
    written = patch(**change)
    assert written["lastTransitionTime"] == transition
    assert written["observedGeneration"] == 1


def test_another_generation_is_written() -> None:
    made = pod()
    first = condition_patch(made, "PodScheduled", "False", "r", "m", NOW)
    assert first is not None and first["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    made.status.conditions = [
        core_v1.PodCondition(
            type="PodScheduled",
            status="False",
            reason="r",
            message="m",
            observed_generation=made.metadata.generation,
            last_transition_time=THEN,
        )
    ]
    assert condition_patch(made, "PodScheduled", "False", "r", "m", NOW) is None
    made.metadata.generation = 7
    again = condition_patch(made, "PodScheduled", "False", "r", "m", NOW)
    assert again is not None and again["observedGeneration"] == 7
