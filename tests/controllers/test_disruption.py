"""How many pods may be evicted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.controllers.builders import NOW, ago, leaving, running
from tiphys.api import core_v1
from tiphys.api.autoscaling_v1 import Scale, ScaleSpec
from tiphys.api.meta_v1 import OwnerReference
from tiphys.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from tiphys.controllers.disruption import (
    Counts,
    counts,
    needs_scale,
    new_status,
    replicas_of_scale,
    under_way,
)
from tiphys.machinery.errors import not_found


def budget(
    min_available: int | str | None = None,
    max_unavailable: int | str | None = None,
    disrupted: dict[str, float] | None = None,
) -> PodDisruptionBudget:
    """`disrupted` says how many seconds ago pods were evicted, by name."""
    made = PodDisruptionBudget()
    made.metadata.generation = 3
    made.spec.min_available = min_available
    made.spec.max_unavailable = max_unavailable
    made.status.disrupted_pods = {name: ago(since) for name, since in (disrupted or {}).items()}
    return made


@pytest.mark.parametrize(
    ("asked", "pods", "scale", "wanted"),
    [
        (budget(min_available=2), 3, 0, Counts(3, 2)),
        (budget(min_available="50%"), 3, 5, Counts(5, 3)),
        (budget(max_unavailable=1), 3, 5, Counts(5, 4)),
        (budget(max_unavailable="30%"), 3, 5, Counts(5, 3)),
        (budget(max_unavailable=9), 3, 5, Counts(5, 0)),
        (budget(), 3, 5, Counts(3, 0)),
    ],
)
def test_a_budget_asks_for_a_number_or_a_share(
    asked: PodDisruptionBudget, pods: int, scale: int, wanted: Counts
) -> None:
    assert counts(asked, pods, scale) == wanted
    assert needs_scale(asked) is (wanted.expected == scale)


def look(
    asked: PodDisruptionBudget, pods: list[core_v1.Pod], wanted: Counts
) -> tuple[PodDisruptionBudgetStatus, float | None]:
    disruptions = under_way(asked, pods, NOW)
    return new_status(asked, pods, wanted, disruptions.pods, NOW), disruptions.wake


@pytest.mark.parametrize(
    ("pods", "wanted", "healthy", "allowed"),
    [
        ([running("a"), running("b"), running("c")], Counts(3, 2), 3, 1),
        ([running("a"), running("b")], Counts(3, 2), 2, 0),
        ([running("a"), running("b"), running("c", ready=False)], Counts(3, 1), 2, 1),
        ([running("a"), leaving(running("b"))], Counts(2, 1), 1, 0),
        ([running("a")], Counts(3, 2), 1, 0),
        ([running("a")], Counts(0, 0), 1, 0),
    ],
)
def test_what_is_healthy_beyond_the_desired_may_go(
    pods: list[core_v1.Pod], wanted: Counts, healthy: int, allowed: int
) -> None:
    status, _ = look(budget(), pods, wanted)
    assert (status.current_healthy, status.disruptions_allowed) == (healthy, allowed)
    assert (status.expected_pods, status.desired_healthy) == (wanted.expected, wanted.desired)
    [condition] = status.conditions
    assert condition.status == ("True" if allowed else "False")
    assert condition.reason == ("SufficientPods" if allowed else "InsufficientPods")
    assert status.observed_generation == condition.observed_generation == 3


@pytest.mark.parametrize(
    ("since", "pods", "expected"),
    [
        (20, [running("a"), running("b")], True),
        (119, [running("a"), running("b")], True),
        (120, [running("a"), running("b")], False),  # it was refused after all
        (20, [leaving(running("a")), running("b")], False),  # it is on its way out
        (20, [running("b")], False),  # it is gone
    ],
)
def test_an_evicted_pod_is_not_counted_twice(
    since: float, pods: list[core_v1.Pod], expected: bool
) -> None:
    status, wake = look(budget(disrupted={"a": since}), pods, Counts(2, 1))
    assert ("a" in status.disrupted_pods) is expected
    assert wake == (120 - since if expected else None)
    assert not expected or status.disruptions_allowed == 0


def test_the_first_eviction_that_is_given_up_on_is_waited_for() -> None:
    pods = [running(name) for name in "abc"]
    _, wake = look(budget(disrupted={"a": 20, "b": 50, "c": 30}), pods, Counts(3, 0))
    assert wake == 70


@pytest.mark.parametrize(
    ("answer", "replicas"),
    [
        (Scale(spec=ScaleSpec(replicas=3)), 3),
        (not_found("things.example.com", "t"), 0),
        (LookupError("there is no such kind"), 0),
    ],
)
async def test_controllers_of_other_kinds_say_by_their_scale_how_many_they_want(
    answer: Scale | Exception, replicas: int
) -> None:
    owner = OwnerReference(api_version="example.com/v1", kind="Thing", name="t")

    async def get(*asked: str) -> Any:
        assert asked == ("default", "example.com/v1", "Thing", "t")
        if isinstance(answer, Exception):
            raise answer
        return answer

    scales: Any = SimpleNamespace(get=get)
    assert await replicas_of_scale(scales, "default", owner) == replicas
