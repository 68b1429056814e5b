"""Who gets quota and who has to give it back: the rules of Kueue's documentation, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.kueue.builders import cohort, flavor, item, names_of, queue, state, wait
from tiphys.addons.kueue.core.cycle import Decisions, decide
from tiphys.addons.kueue.core.quota import Slot
from tiphys.addons.kueue.core.state import State
from tiphys.api import core_v1
from tiphys.api.base import from_builtins


def run(made: State, *items: Any) -> Decisions:
    return decide(wait(made, *items))


def admitted(made: State, *items: Any) -> list[str]:
    """In the order of their keys."""
    return sorted(names_of(run(made, *items).admitted))


def targets(decisions: Decisions) -> dict[str, list[tuple[str, str]]]:
    """By preemptor: whom it displaces, and the reason."""
    return {
        one.item.uid: sorted((target.item.uid, target.reason) for target in one.targets)
        for one in decisions.preempting
    }


CPU = {"default": {"cpu": 4}}


# --- one queue ---


def test_those_that_fit_are_admitted_in_their_order() -> None:
    made = state([queue("a", CPU)])
    decided = run(made, item("one", "a", cpu=3), item("two", "a", cpu=3), item("three", "a", cpu=1))
    assert names_of(decided.admitted) == ["one", "three"]
    assert names_of(decided.refused) == ["two"]


def test_a_strict_queue_lets_nobody_overtake() -> None:
    made = state([queue("a", CPU, queueingStrategy="StrictFIFO")])
    assert admitted(
        made, item("one", "a", cpu=3), item("two", "a", cpu=3), item("three", "a", cpu=1)
    ) == ["one"]


def test_priority_comes_before_time() -> None:
    made = state([queue("a", CPU)])
    assert admitted(made, item("old", "a", cpu=3), item("high", "a", 10, cpu=3)) == ["high"]


def test_all_pods_of_a_workload_count() -> None:
    made = state([queue("a", CPU)])
    decided = run(made, item("wide", "a", count=5, cpu=1), item("narrow", "a", count=4, cpu=1))
    assert names_of(decided.admitted) == ["narrow"]
    (refused,) = decided.refused
    assert refused.reason == "ExceedsMaxQuota"
    assert refused.message == (
        "couldn't assign flavors to pod set main: insufficient quota for cpu in flavor default, "
        "previously considered podsets requests (0) + current podset request (5) > maximum "
        "capacity (4)"
    )


def test_pods_are_counted_where_they_are_covered() -> None:
    made = state([queue("a", {"default": {"cpu": 100, "pods": 3}})])
    assert admitted(made, item("two", "a", count=2, cpu=1), item("more", "a", count=2, cpu=1)) == [
        "two"
    ]


def test_what_no_group_covers_cannot_be_had() -> None:
    decided = run(state([queue("a", CPU)]), item("gpu", "a", cpu=1, **{"nvidia.com/gpu": 1}))
    assert "resource nvidia.com/gpu unavailable in ClusterQueue" in decided.refused[0].message


def test_fewer_pods_where_a_job_may_shrink() -> None:
    (admission,) = run(
        state([queue("a", CPU)]), item("job", "a", count=20, least=3, cpu=1)
    ).admitted
    assert admission.assignment.counts == (4,)
    assert admission.assignment.usage == {Slot("default", "cpu"): 4000}
    assert not admitted(state([queue("a", CPU)]), item("job", "a", count=20, least=5, cpu=1))


@pytest.mark.parametrize(
    "spec, reason",
    [
        ({"stopPolicy": "Hold"}, "Suspended"),
        ({"namespaceSelector": {"matchLabels": {"team": "x"}}}, "Misconfigured"),
        ({"namespaceSelector": None}, "Misconfigured"),
    ],
)
def test_who_may_not_be_in_a_queue_waits(spec: Any, reason: str) -> None:
    decided = run(state([queue("a", CPU, **spec)]), item("one", "a", cpu=1))
    assert (decided.admitted, decided.refused[0].reason) == ([], reason)


# --- flavors ---

TWO = {"spot": {"cpu": 2}, "demand": {"cpu": 4}}


def flavors_of(decisions: Decisions) -> dict[str, str]:
    return {
        one.item.uid: ",".join(choice.flavor for choice in one.assignment.flavors[0].values())
        for one in decisions.admitted
    }


def test_flavors_are_tried_in_their_order() -> None:
    decided = run(state([queue("a", TWO)]), item("one", "a", cpu=2), item("two", "a", cpu=2))
    assert flavors_of(decided) == {"one": "spot", "two": "demand"}


def test_resources_of_a_group_come_from_one_flavor() -> None:
    made = state([queue("a", {"x": {"cpu": 4, "memory": "1Gi"}, "y": {"cpu": 4, "memory": "9Gi"}})])
    assert flavors_of(run(made, item("one", "a", cpu=1, memory="2Gi"))) == {"one": "y,y"}


TAINT = {"key": "spot", "value": "true", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    "pod, chosen",
    [
        ({}, "demand"),
        ({"tolerations": [{"key": "spot", "operator": "Exists"}]}, "spot"),
        ({"tolerations": [{"operator": "Exists"}], "nodeSelector": {"kind": "demand"}}, "demand"),
        ({"tolerations": [{"operator": "Exists"}], "nodeSelector": {"other": "x"}}, "spot"),
    ],
)
def test_a_flavor_must_suit_the_pods(pod: Any, chosen: str) -> None:
    spot = flavor("spot", nodeLabels={"kind": "spot"}, nodeTaints=[TAINT])
    demand = flavor("demand", nodeLabels={"kind": "demand"})
    made = state([queue("a", TWO)], [spot, demand])
    spec = from_builtins(pod, core_v1.PodSpec)
    assert flavors_of(run(made, item("one", "a", cpu=1, spec=spec))) == {"one": chosen}


def test_a_flavor_that_tolerates_its_taints_needs_nothing_of_pods() -> None:
    spot = flavor("spot", nodeTaints=[TAINT], tolerations=[{"key": "spot", "operator": "Exists"}])
    assert flavors_of(run(state([queue("a", TWO)], [spot]), item("one", "a", cpu=1))) == {
        "one": "spot"
    }


@pytest.mark.parametrize("policy, chosen", [("MayStopSearch", "spot"), ("TryNextFlavor", "demand")])
def test_the_next_flavor_before_borrowing(policy: str, chosen: str) -> None:
    fungibility = {"flavorFungibility": {"whenCanBorrow": policy}}
    made = state([queue("a", TWO, "c", **fungibility), queue("b", TWO, "c")])
    assert flavors_of(run(made, item("one", "a", cpu=3))) == {"one": chosen}


@pytest.mark.parametrize("policy, preempts", [("MayStopSearch", True), ("TryNextFlavor", False)])
def test_the_next_flavor_before_preempting(policy: str, preempts: bool) -> None:
    spec = {
        "flavorFungibility": {"whenCanPreempt": policy},
        "preemption": {"withinClusterQueue": "LowerPriority"},
    }
    made = state([queue("a", TWO, **spec)])
    run(made, item("low", "a", cpu=2))
    decided = run(made, item("high", "a", 10, cpu=2))
    assert bool(decided.preempting) is preempts
    assert flavors_of(decided) == ({} if preempts else {"high": "demand"})


# --- cohorts ---


def test_unused_quota_is_borrowed() -> None:
    made = state([queue("a", CPU, "c"), queue("b", CPU, "c")])
    assert admitted(made, item("big", "a", cpu=7), item("small", "b", cpu=2)) == ["small"]
    assert admitted(state([queue("a", CPU), queue("b", CPU)]), item("big", "a", cpu=7)) == []


def test_a_queue_comes_first_with_its_own_quota() -> None:
    made = state([queue("a", CPU, "c"), queue("b", CPU, "c")])
    assert admitted(made, item("borrower", "a", 10, cpu=5), item("owner", "b", cpu=4)) == ["owner"]


def test_borrowing_has_a_limit() -> None:
    made = state([queue("a", {"default": {"cpu": (4, 2, None)}}, "c"), queue("b", CPU, "c")])
    assert admitted(made, item("seven", "a", cpu=7), item("six", "a", cpu=6)) == ["six"]


def test_lending_has_a_limit() -> None:
    made = state([queue("a", CPU, "c"), queue("b", {"default": {"cpu": (4, None, 1)}}, "c")])
    assert admitted(made, item("six", "a", cpu=6), item("five", "a", cpu=5)) == ["five"]
    assert admitted(made, item("kept", "b", cpu=3)) == ["kept"]


def test_cohorts_lend_by_levels() -> None:
    cohorts = [
        cohort("root", quotas={"default": {"cpu": 2}}),
        cohort("left", "root"),
        cohort("right", "root", {"default": {"cpu": (0, None, 1)}}),
    ]
    queues = [queue("a", CPU, "left"), queue("b", CPU, "right")]
    assert admitted(state(queues, cohorts=cohorts), item("eight", "a", cpu=8)) == []
    # 4 of its own, 2 of the root, and the 1 that the right side lends.
    assert admitted(state(queues, cohorts=cohorts), item("seven", "a", cpu=7)) == ["seven"]


def test_nobody_lends_in_a_circle() -> None:
    circle = [cohort("x", "y"), cohort("y", "x")]
    decided = run(state([queue("a", CPU, "x")], cohorts=circle), item("one", "a", cpu=1))
    assert (decided.admitted, decided.refused[0].reason) == ([], "Suspended")


# --- preemption ---


def within(policy: str) -> dict[str, Any]:
    return {"preemption": {"withinClusterQueue": policy}}


def test_nobody_is_preempted_by_default() -> None:
    made = state([queue("a", CPU)])
    run(made, item("low", "a", cpu=4))
    assert not run(made, item("high", "a", 10, cpu=4)).preempting


@pytest.mark.parametrize(
    "policy, priority, expected",
    [
        ("LowerPriority", 10, ["low"]),
        ("LowerPriority", 0, []),
        ("LowerOrNewerEqualPriority", 0, []),  # the other one is older
    ],
)
def test_within_a_queue_the_less_important_go(
    policy: str, priority: int, expected: list[str]
) -> None:
    made = state([queue("a", CPU, **within(policy))])
    run(made, item("low", "a", cpu=4))
    found = targets(run(made, item("new", "a", priority, cpu=4)))
    assert found == ({"new": [(name, "InClusterQueue") for name in expected]} if expected else {})


def test_the_newer_of_equals_goes() -> None:
    made = state([queue("a", CPU, **within("LowerOrNewerEqualPriority"))])
    old = item("old", "a", cpu=4)
    run(made, item("new", "a", cpu=4))
    assert targets(run(made, old)) == {"old": [("new", "InClusterQueue")]}


def test_no_more_are_preempted_than_need_be() -> None:
    made = state([queue("a", {"default": {"cpu": 6}}, **within("LowerPriority"))])
    run(made, *(item(f"p{n}", "a", n, cpu=2) for n in (1, 2, 3)))
    assert targets(run(made, item("high", "a", 10, cpu=2))) == {"high": [("p1", "InClusterQueue")]}
    run(made)


def test_a_large_one_replaces_small_ones() -> None:
    made = state([queue("a", CPU, **within("LowerPriority"))])
    run(made, item("one", "a", cpu=1), item("three", "a", cpu=3))
    assert targets(run(made, item("high", "a", 10, cpu=4))) == {
        "high": [("one", "InClusterQueue"), ("three", "InClusterQueue")]
    }
    # Of two that would do alone, the later one of the list stays.
    again = state([queue("a", CPU, **within("LowerPriority"))])
    run(again, item("one", "a", cpu=1), item("three", "a", cpu=3))
    assert targets(run(again, item("high", "a", 10, cpu=3))) == {
        "high": [("three", "InClusterQueue")]
    }


def reclaiming(policy: str, **more: Any) -> dict[str, Any]:
    return {"preemption": {"reclaimWithinCohort": policy, **more}}


@pytest.mark.parametrize("policy, expected", [("Any", True), ("LowerPriority", False)])
def test_lent_quota_is_reclaimed(policy: str, expected: bool) -> None:
    made = state([queue("a", CPU, "c", **reclaiming(policy)), queue("b", CPU, "c")])
    run(made, item("borrower", "b", 10, cpu=8))
    found = targets(run(made, item("owner", "a", cpu=4)))
    assert found == ({"owner": [("borrower", "InCohortReclamation")]} if expected else {})


def test_who_does_not_borrow_is_left_alone() -> None:
    made = state([queue("a", CPU, "c", **reclaiming("Any")), queue("b", CPU, "c")])
    run(made, item("other", "b", cpu=4), item("own", "a", cpu=4))
    assert not run(made, item("more", "a", 10, cpu=1)).preempting


@pytest.mark.parametrize("threshold, expected", [(None, True), (5, True), (2, False)])
def test_preempting_for_what_is_borrowed_itself(threshold: int | None, expected: bool) -> None:
    borrow = {"policy": "LowerPriority"} | (
        {} if threshold is None else {"maxPriorityThreshold": threshold}
    )
    spec = reclaiming("LowerPriority", borrowWithinCohort=borrow)
    queues = [queue("a", CPU, "c", **spec), queue("b", CPU, "c"), queue("d", CPU, "c")]
    made = state(queues)
    run(made, item("borrower", "b", 3, cpu=6))
    run(made, item("own", "a", 9, cpu=4))
    found = targets(run(made, item("high", "a", 10, cpu=4)))
    reason = "InCohortReclaimWhileBorrowing"
    assert found == ({"high": [("borrower", reason)]} if expected else {})


def test_evicted_ones_are_counted_on_first() -> None:
    made = state([queue("a", CPU, **within("LowerPriority"))])
    run(made, item("leaving", "a", 5, cpu=2), item("low", "a", 0, cpu=2))
    made.queues["a"].running["default/leaving"].evicted = True
    assert targets(run(made, item("high", "a", 10, cpu=2))) == {
        "high": [("leaving", "InClusterQueue")]
    }


def test_two_do_not_take_the_same_place() -> None:
    spec = within("LowerPriority")
    made = state([queue("a", CPU, "c", **spec), queue("b", CPU, "c", **spec)])
    run(made, item("one", "a", cpu=4), item("two", "b", cpu=4))
    decided = run(made, item("x", "a", 10, cpu=4), item("y", "a", 9, cpu=4))
    # The second one waits for what the first has made go: nobody else has to.
    assert {name for found in targets(decided).values() for name, _ in found} == {"one"}


def test_the_first_of_a_strict_queue_keeps_its_quota_from_others() -> None:
    strict = {"queueingStrategy": "StrictFIFO"}
    made = state([queue("a", CPU, "c", **strict), queue("b", CPU, "c")])
    run(made, item("borrower", "b", cpu=6))
    # `own` has to wait; what is left of its quota is not lent meanwhile.
    assert admitted(made, item("own", "a", cpu=4), item("more", "b", cpu=2)) == []


def test_nobody_takes_what_others_are_leaving_for_a_preemptor() -> None:
    made = state(
        [
            queue("a", CPU, "all", preemption={"withinClusterQueue": "LowerPriority"}),
            queue("b", {"default": {"cpu": 0}}, "all"),
        ]
    )
    assert admitted(made, item("low", "a", -1, cpu=3)) == ["low"]
    decided = run(made, item("high", "a", cpu=4), item("quick", "b", cpu=1))
    assert names_of(decided.preempting) == ["high"] and not decided.admitted
