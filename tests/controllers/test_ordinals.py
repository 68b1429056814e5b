"""One step of a stateful set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controllers.builders import NOW, ended, leaving, running
from tiphys.api.apps_v1 import StatefulSet, StatefulSetSpec
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import Pod
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers import ordinals

LABEL = "controller-revision-hash"


def stateful(replicas: int = 3, **spec: Any) -> StatefulSet:
    """`spec` is given in JSON's names; of the update strategy only what is rolling."""
    rolling = spec.pop("rolling", {"partition": 0})
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": rolling})
    body = {"replicas": replicas, **spec}
    meta = ObjectMeta(name="s", namespace="default", generation=7)
    return StatefulSet(metadata=meta, spec=from_builtins(body, StatefulSetSpec))


def pod(number: int, revision: str = "new", ready: bool = True, **more: Any) -> Pod:
    return running(f"s-{number}", ready, labels={LABEL: revision}, **more)


def pods(*revisions: str) -> list[Pod]:
    return [pod(number, revision) for number, revision in enumerate(revisions)]


def step(owner: StatefulSet, *present: Pod) -> tuple[list[int], list[str]]:
    """What is created and deleted."""
    todo = ordinals.plan(owner, list(present), "old", "new", NOW)
    return [number for number, _ in todo.create], [each.metadata.name for each in todo.delete]


@pytest.mark.parametrize(
    ("name", "number"),
    [("s-0", 0), ("s-12", 12), ("s-x", -1), ("s", -1), ("t-1", -1), ("s-1-2", -1)],
)
def test_the_name_of_a_pod_has_its_ordinal(name: str, number: int) -> None:
    assert ordinals.ordinal(running(name), stateful()) == number


@pytest.mark.parametrize(
    ("present", "created"),
    [
        ([], [0]),
        ([pod(0)], [1]),
        ([pod(0, ready=False)], []),
        ([leaving(pod(0))], []),
        ([pod(1)], [0]),
        (pods("new", "new", "new"), []),
    ],
)
def test_in_order_pods_are_created_one_by_one(present: list[Pod], created: list[int]) -> None:
    assert step(stateful(), *present) == (created, [])


def test_a_pod_has_to_be_available_for_as_long_as_is_asked() -> None:
    owner = stateful(2, minReadySeconds=90)
    assert step(owner, pod(0)) == ([], [])
    assert step(owner, pod(0, ready_for=90)) == ([1], [])
    assert ordinals.plan(owner, [pod(0)], "old", "new", NOW).wake == 30


def test_in_parallel_nobody_waits() -> None:
    owner = stateful(podManagementPolicy="Parallel")
    assert step(owner, pod(0, ready=False)) == ([1, 2], [])
    smaller = stateful(1, podManagementPolicy="Parallel")
    present = [pod(0), pod(1, ready=False), leaving(pod(2)), pod(3)]
    assert step(smaller, *present) == ([], ["s-3", "s-1"])


@pytest.mark.parametrize(
    ("ready", "deleted"),
    [
        ([True, True, True], ["s-2"]),
        ([True, True, False], ["s-2"]),
        ([False, True, False], []),
        ([False, False, False], []),
        ([True], ["s-0"]),
        ([False], ["s-0"]),
    ],
)
def test_it_shrinks_from_the_end_and_not_past_a_pod_in_trouble(
    ready: list[bool], deleted: list[str]
) -> None:
    present = [pod(number, ready=fine) for number, fine in enumerate(ready)]
    assert step(stateful(0), *present) == ([], deleted)


def test_a_pod_that_is_going_is_waited_for() -> None:
    assert step(stateful(1), pod(0), pod(1), leaving(pod(2))) == ([], [])


@pytest.mark.parametrize(
    ("rolling", "present", "deleted"),
    [
        ({}, pods("old", "old", "old"), ["s-2"]),
        ({}, pods("old", "old", "new"), ["s-1"]),
        ({}, [*pods("old", "old"), pod(2, ready=False)], []),
        ({"partition": 2}, pods("old", "old", "new"), []),
        ({"partition": 1}, pods("old", "old", "new"), ["s-1"]),
        ({"maxUnavailable": 2}, pods("old", "old", "old"), ["s-2", "s-1"]),
        ({"maxUnavailable": "75%"}, pods("old", "old", "old"), ["s-2", "s-1"]),
        ({"maxUnavailable": "10%"}, pods("old", "old", "old"), ["s-2"]),
    ],
)
def test_it_rolls_from_the_end(
    rolling: dict[str, Any], present: list[Pod], deleted: list[str]
) -> None:
    assert step(stateful(rolling=rolling), *present) == ([], deleted)


@pytest.mark.parametrize(
    ("present", "deleted"),
    [
        ([pod(0, "old"), pod(1, "old"), pod(2, "old", False)], ["s-2", "s-1"]),
        ([pod(0, "old"), pod(1, "old"), pod(2, "new", False)], ["s-1"]),
        ([pod(0, "old", False), pod(1, "old", False), pod(2, "old")], []),
        ([pod(0, "old"), leaving(pod(1, "old")), pod(2, "new")], ["s-0"]),
        ([pod(0, "old"), leaving(pod(1, "old")), pod(2, "new", False)], []),
    ],
)
def test_what_is_unavailable_counts_and_costs_nothing_to_replace(
    present: list[Pod], deleted: list[str]
) -> None:
    owner = stateful(podManagementPolicy="Parallel", rolling={"maxUnavailable": 2})
    assert step(owner, *present) == ([], deleted)


def test_on_delete_nothing_rolls_by_itself() -> None:
    owner = stateful(updateStrategy={"type": "OnDelete"})
    assert step(owner, *pods("old", "old", "old")) == ([], [])


@pytest.mark.parametrize(("number", "revision"), [(0, "old"), (1, "old"), (2, "new")])
def test_below_the_partition_pods_are_created_of_the_current_revision(
    number: int, revision: str
) -> None:
    others = [pod(other) for other in range(3) if other != number]
    owner = stateful(rolling={"partition": 2})
    assert ordinals.plan(owner, others, "old", "new", NOW).create == [(number, revision)]


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_what_has_finished_is_replaced(phase: str) -> None:
    assert step(stateful(), ended("s-0", phase)) == ([], ["s-0"])
    assert step(stateful(), leaving(ended("s-0", phase))) == ([], [])


def test_ordinals_may_start_elsewhere() -> None:
    owner = stateful(2, ordinals={"start": 5}, podManagementPolicy="Parallel")
    assert step(owner, pod(0)) == ([5, 6], ["s-0"])
    partitioned = stateful(2, ordinals={"start": 5}, rolling={"partition": 1})
    assert step(partitioned, pod(5, "old"), pod(6, "old")) == ([], ["s-6"])


def test_a_set_that_is_deleted_does_nothing_more() -> None:
    owner = stateful()
    owner.metadata.deletion_timestamp = "x"
    assert step(owner, ended("s-0")) == ([], [])


def counted(owner: StatefulSet, *present: Pod) -> tuple[str, int, int, int, int]:
    status = ordinals.plan(owner, list(present), "old", "new", NOW).status
    assert (status.update_revision, status.observed_generation) == ("new", 7)
    counts = status.replicas, status.ready_replicas, status.current_replicas
    return status.current_revision, *counts, status.updated_replicas


@pytest.mark.parametrize(
    ("present", "status"),
    [
        ([pod(0, "old"), pod(1)], ("old", 2, 2, 1, 1)),
        ([pod(0), pod(1, ready=False)], ("old", 2, 1, 0, 2)),
        ([leaving(pod(0, "old")), pod(1)], ("old", 2, 2, 0, 1)),
        ([pod(0), pod(1)], ("new", 2, 2, 2, 2)),
        ([pod(0)], ("old", 1, 1, 0, 1)),
        ([pod(0), pod(1), running("x")], ("new", 2, 2, 2, 2)),
    ],
)
def test_a_rollout_ends_when_all_are_ready_and_new(
    present: list[Pod], status: tuple[str, int, int, int, int]
) -> None:
    assert counted(stateful(2), *present) == status


def test_on_delete_the_current_revision_stays() -> None:
    owner = stateful(2, updateStrategy={"type": "OnDelete"})
    assert counted(owner, pod(0), pod(1)) == ("old", 2, 2, 0, 2)
