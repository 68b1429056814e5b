"""How many pods may be evicted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from tests.builders import deployment
from tests.builders import pod as plain_pod
from tests.controllers.bench import Bench
from tests.controllers.builders import NOW, ago, leaving, running
from tiphys.api import apps_v1, core_v1
from tiphys.api.autoscaling_v1 import Scale, ScaleSpec
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.api.policy_v1 import (
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
)
from tiphys.controllers.disruption import (
    Counts,
    DisruptionController,
    counts,
    needs_scale,
    new_status,
    replicas_of_scale,
    under_way,
)
from tiphys.controllers.pods import owner_reference
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


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")
LABELS = {"app": "web"}


@pytest_asyncio.fixture(loop_scope="package")
async def disruption_(bench: Bench) -> DisruptionController:
    return bench.start(DisruptionController)


def asking(**spec: Any) -> PodDisruptionBudget:
    made = PodDisruptionBudget(metadata=ObjectMeta(name="b"))
    given = {"selector": {"matchLabels": LABELS}, **spec}
    made.spec = from_builtins(given, PodDisruptionBudgetSpec)
    return made


async def ready_pod(bench: Bench, name: str, owner: Any = None, **labels: str) -> Any:
    made = plain_pod(name, labels=labels or LABELS)
    if owner is not None:
        made.metadata.owner_references = [owner_reference(owner)]
    made.status.phase = "Running"
    made.status.conditions = [core_v1.PodCondition(type="Ready", status="True")]
    return await bench.add(made)


async def counted(bench: Bench) -> tuple[int, int, int, int]:
    """Expected, desired and healthy pods, and how many may go."""
    found = await bench.get(PodDisruptionBudget, "b")
    assert found is not None
    status = found.status
    return (
        status.expected_pods,
        status.desired_healthy,
        status.current_healthy,
        status.disruptions_allowed,
    )


@together
async def test_a_number_is_about_the_pods_that_are_there(
    bench: Bench, disruption_: DisruptionController
) -> None:
    await bench.add(asking(minAvailable=1))
    await ready_pod(bench, "a")
    await ready_pod(bench, "b")
    await ready_pod(bench, "other", app="other")
    ended = await ready_pod(bench, "ended")
    await bench.say(ended, phase="Succeeded")
    await bench.step(disruption_, "b")
    assert await counted(bench) == (2, 1, 2, 1)
    assert await bench.step(disruption_, "none") is None


@pytest.mark.parametrize(
    ("spec", "result"),
    [
        ({"minAvailable": "50%"}, (4, 2, 2, 0)),
        ({"maxUnavailable": 2}, (4, 2, 2, 0)),
        ({"maxUnavailable": "75%"}, (4, 1, 2, 1)),
    ],
)
@together
async def test_a_share_is_of_what_the_pods_controllers_want(
    bench: Bench, disruption_: DisruptionController, spec: Any, result: tuple[int, ...]
) -> None:
    web = await bench.add(deployment("web", 3))
    old = apps_v1.ReplicaSet(metadata=ObjectMeta(name="web-1"))
    old.spec.replicas = 9
    old.spec.selector, old.spec.template = web.spec.selector, web.spec.template
    old.metadata.owner_references = [owner_reference(web)]
    old = await bench.add(old)
    alone = apps_v1.ReplicaSet(metadata=ObjectMeta(name="alone"))
    alone.spec.replicas = 1
    alone.spec.selector, alone.spec.template = web.spec.selector, web.spec.template
    alone = await bench.add(alone)
    await ready_pod(bench, "a", old)
    await ready_pod(bench, "b", alone)
    await bench.add(asking(**spec))
    await bench.step(disruption_, "b")
    assert await counted(bench) == result


@together
async def test_a_pod_leads_to_the_budgets_that_choose_it_now_or_did(
    bench: Bench, disruption_: DisruptionController
) -> None:
    await bench.add(asking(minAvailable=1))
    assert await bench.queued(disruption_) == ["b"]
    one = await ready_pod(bench, "a")
    assert await bench.queued(disruption_) == ["b"]
    await bench.change(one, metadata={"labels": {"app": "other"}})
    assert await bench.queued(disruption_) == ["b"], "it did"
    await bench.change(one, metadata={"labels": {"more": "x"}})
    assert await bench.queued(disruption_) == []
    await bench.change(one, metadata={"labels": LABELS})
    assert await bench.queued(disruption_) == ["b"]
