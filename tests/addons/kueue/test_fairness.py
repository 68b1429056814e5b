"""Queues that share fairly: shares, turns, and who gives way. The cases are those of Kueue's own
tables (pkg/cache/scheduler/fair_sharing_test.go, pkg/scheduler/preemption/preemption_fair_test.go).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.addons.kueue.builders import cohort, item, names_of, queue, state, wait, weight
from tiphys.addons.kueue.core.cycle import decide
from tiphys.addons.kueue.core.preemption import find_targets
from tiphys.addons.kueue.core.quota import Slot
from tiphys.addons.kueue.core.search import FAIRNESS, RECLAMATION, WITHIN
from tiphys.addons.kueue.core.shares import LARGEST, share_of, shares_of
from tiphys.addons.kueue.core.state import State
from tiphys.addons.kueue.metrics import QueueMetrics
from tiphys.addons.kueue.types.quotas import ClusterQueue, Cohort

CPU, GPU = "cpu", "example.com/gpu"
FINAL, INITIAL = "LessThanOrEqualToFinalShare", "LessThanInitialShare"
BOTH = (FINAL, INITIAL)


# --- shares ---


def lent(cpu: Any = None, gpu: Any = None, flavor: str = "default") -> dict[str, Any]:
    amounts = {CPU: cpu, GPU: gpu}
    return {flavor: {name: amount for name, amount in amounts.items() if amount is not None}}


def used(made: State, usage: dict[tuple[str, str], int], of: str = "cq") -> State:
    for (flavor, resource), amount in usage.items():
        made.queues[of].node.use(Slot(flavor, resource), amount)
    return made


def two(mine: Any, theirs: Any, my_weight: str = "1") -> list[ClusterQueue]:
    return [
        queue("cq", mine, "test", fairSharing=weight(my_weight)),
        queue("lending", theirs, "test"),
    ]


@pytest.mark.parametrize(
    "queues, usage, more, share",
    [
        ([queue("cq", lent(2, 5))], {CPU: 3000}, {}, (0, "", False)),
        (two(lent(2, 5), lent(8, 5)), {CPU: 1000, GPU: 2}, {}, (0, "", False)),
        (two(lent(2, 5), lent(8, 5)), {CPU: 3000, GPU: 7}, {}, (200, GPU, True)),
        (two(lent(gpu=500), lent(gpu=1000)), {GPU: 501}, {}, (1, GPU, True)),
        (two(lent(gpu=500), lent(gpu=1000), "300"), {GPU: 800}, {}, (1, GPU, True)),
        (two(lent(2, 5), lent(8, 5)), {CPU: 3000, GPU: 3}, {}, (100, CPU, True)),
        (
            two(lent(2, 5), lent(8, 5)),
            {CPU: 1000, GPU: 2},
            {CPU: 4000, GPU: 4},
            (300, CPU, True),
        ),
        (
            two(lent(2, (2, None, 0)), lent(8, (64, None, 0))),
            {CPU: 1000, GPU: 1},
            {CPU: 4000, GPU: 4},
            (300, CPU, True),
        ),
        (two(lent(gpu=5), lent(gpu=5), "2"), {GPU: 7}, {}, (100, GPU, True)),
        (two(lent(gpu=5), lent(gpu=5), "0.5"), {GPU: 7}, {}, (400, GPU, True)),
        (two(lent(gpu=5), lent(gpu=10), "0"), {GPU: 7}, {}, (LARGEST, GPU, True)),
        (two(lent(gpu=5), lent(gpu=10), "0"), {GPU: 5}, {}, (0, "", False)),
    ],
)
def test_the_share_is_of_the_resource_that_is_borrowed_the_most_of(
    queues: Sequence[ClusterQueue],
    usage: dict[str, int],
    more: dict[str, int],
    share: tuple[int, str, bool],
) -> None:
    made = used(state(queues), {("default", name): amount for name, amount in usage.items()})
    asked = {Slot("default", name): amount for name, amount in more.items()}
    found = share_of(made.queues["cq"].node, asked)
    assert (found.shown, found.resource, found.is_borrowing) == share


def test_flavors_of_a_resource_are_borrowed_together() -> None:
    mine = {"demand": {CPU: 20}, "spot": {CPU: 80}}
    made = state([queue("cq", mine, "test"), queue("lending", lent(100), "test")])
    used(made, {("demand", CPU): 15_000, ("spot", CPU): 5_000})
    share = share_of(made.queues["cq"].node, {Slot("demand", CPU): 10_000})
    assert (share.shown, share.borrowed) == (25, {Slot("demand", CPU)})
    assert share.borrows_for({Slot("demand", CPU): 1}) and not share.borrows_for(
        {Slot("spot", CPU): 1}
    )


@pytest.mark.parametrize(
    "own, child, root, shares",
    [
        (5, cohort("child", "root", fairSharing=weight("2")), 45, (100, 50, 0)),
        (0, cohort("child", "root", fairSharing=weight("2")), 50, (200, 100, 0)),
        (0, cohort("child", "root", lent(gpu=(0, 10, None))), 50, (1000, 200, 0)),
    ],
)
def test_cohorts_have_shares_of_what_is_lent_to_them(
    own: int, child: Cohort, root: int, shares: tuple[int, ...]
) -> None:
    cohorts = [child, cohort("root", quotas=lent(gpu=root))]
    made = state([queue("cq", lent(gpu=own), "child")], (), cohorts)
    node = used(made, {("default", GPU): 10}).queues["cq"].node
    assert tuple(share_of(one).shown for one in (node, *node.ancestors())) == shares


# --- who gives way ---

_WORD = re.compile(
    r"(?P<queue>[a-z]+)(?P<rest>[\d_]\w*)?(=(?P<cpu>[\d.]+))?(@(?P<priority>-?\d+))?\Z"
)
REASONS = {"w": WITHIN, "r": RECLAMATION, "f": FAIRNESS}


def targets(made: State, running: str, incoming: str, flavor: str = "default") -> str:
    """Who has to go for `incoming`, each with the first letter of the reason. A workload is its
    queue, the rest of its name, ``=`` its CPUs (1) and ``@`` its priority (0)."""

    def of(word: str) -> tuple[Any, int]:
        match = _WORD.match(word)
        assert match is not None, word
        cpu = match["cpu"] or "1"
        name = match["queue"] + (match["rest"] or "")
        made_item = item(name, match["queue"], int(match["priority"] or 0), cpu=cpu)
        made_item.reserved = 0.0  # they were all admitted in one moment
        return made_item, int(float(cpu) * 1000)

    for word in running.split():
        known, amount = of(word)
        made.admit(known, {Slot(flavor, CPU): amount})
    known, amount = of(incoming)
    slot = Slot(flavor, CPU)
    usage = usage_of(made)
    found = find_targets(made, known, {slot: amount}, frozenset({slot}))
    assert usage == usage_of(made)  # trying leaves no trace
    letters = {reason: letter for letter, reason in REASONS.items()}
    return " ".join(sorted(f"{one.item.uid}:{letters[one.reason]}" for one in found))


def usage_of(made: State) -> dict[str, dict[Slot, int]]:
    return {
        name: {slot: amount for slot, amount in one.node.usage.items() if amount}
        for name, one in made.queues.items()
    }


ANY = {"withinClusterQueue": "LowerPriority", "reclaimWithinCohort": "Any"}
BORROWING = {**ANY, "borrowWithinCohort": {"policy": "LowerPriority", "maxPriorityThreshold": -3}}


def base(*weights: str, **preemption: Any) -> list[ClusterQueue]:
    """Three queues of three CPUs each, with their weights, and one that has none of its own."""
    return [
        *(
            queue(
                name,
                lent(3),
                "all",
                preemption=preemption or BORROWING,
                fairSharing=weight(weights[index] if weights else "1"),
            )
            for index, name in enumerate("abc")
        ),
        queue("preemptible", lent(0), "all"),
    ]


A3, B3, B5 = "a1 a2 a3 ", "b1 b2 b3 ", "b1 b2 b3 b4 b5 "


@pytest.mark.parametrize(
    "running, incoming, gone",
    [
        (A3 + B5 + "c1", "c", "b1:r"),  # nominal, from who uses the most
        ("a1=3 a2 b1=2 b2=3", "c=3", "a1:r"),  # b1 alone is not enough
        (A3 + B5 + "c1", "a", "b1:f"),  # what can be borrowed, from who uses the most
        ("a1=0.5 a2=0.5 a3=3 b1=0.5 b2=0.5 b3=3", "c=2", "a1:r b1:r"),
        (A3 + B3 + "c1 c2 c3", "c", ""),  # everybody is within nominal
        (A3 + B5, "a=2", ""),  # it would only turn the imbalance round
        ("a1_low@-1 a2_low@-1 a3 a4 " + B5, "a=2", "a1_low:w a2_low:w"),
        ("a_low@-1 a2 a3 b6 " + B5, "a=2", "a_low:w b1:f"),
        ("b1=9", "a=2", "b1:r"),  # a huge one, where there is no other
        ("a1=2 b1=7", "a=5", ""),  # unless the incoming one is huge, too
        ("b1=2 b2=2 b3=3", "a=6", ""),
        ("a1_low=2@-1 a2_low=1@-1 b1=3 b2=3", "a=4", "a1_low:w b1:f"),
        ("b1=2 b2=1 b3=2 c1=1", "a=3.5", "b2:f"),
        ("b1=2 b2=2.5 c1=2 c2=2.5", "a=3.5", "b1:f c1:f"),
        ("a1=3.5 b2=2.5 c2=2.5", "b=2", ""),  # and it does not go back
        ("b1=3 b2=3 c1=3", "a=4", ""),
        (A3 + B3 + " ".join(f"preemptible{i}@-3" for i in range(3)), "a=2", ""),
    ],
)
def test_who_has_the_highest_share_gives_way_first(running: str, incoming: str, gone: str) -> None:
    assert targets(state(base(), strategies=BOTH), running, incoming) == gone


@pytest.mark.parametrize("strategy, gone", [(INITIAL, "b_low:f"), (FINAL, "b_high:f")])
def test_a_strategy_says_what_is_fair(strategy: str, gone: str) -> None:
    made = state(base(), strategies=(strategy,))
    assert targets(made, "a1=3 b_low=5@0 b_high=1@1", "a") == gone


@pytest.mark.parametrize(
    "weights, running, incoming, gone",
    [
        (("2", "1", "1"), A3 + B5 + "b6", "a=2", "b1:f b2:f"),
        (("1", "0", "1"), A3 + B5 + "b6", "a=3", "b1:f b2:f b3:f"),
        (("1", "0", "1"), A3 + B3 + "c1 c2 c3", "a", ""),
        (("0", "1", "1"), "a1 a2 a3 b1 b2 b3 b4 c1 c2", "a", ""),
    ],
)
def test_a_weight_is_a_claim(
    weights: tuple[str, ...], running: str, incoming: str, gone: str
) -> None:
    made = state(base(*weights, **ANY), strategies=BOTH)
    assert targets(made, running, incoming) == gone


RECLAIM = {"reclaimWithinCohort": "Any"}


def leaf(name: str, cpu: int, above: str, of: str = "1", **preemption: Any) -> ClusterQueue:
    quotas = lent(cpu) if cpu >= 0 else {}
    return queue(name, quotas, above, preemption=preemption, fairSharing=weight(of))


def branch(name: str, above: str = "", cpu: int = 0, of: str = "1") -> Cohort:
    return cohort(name, above, lent(cpu) if cpu else {}, fairSharing=weight(of))


DEEP = [
    branch("of-a", "of-root", of="1.01"),
    branch("of-aa", "of-a"),
    branch("of-aaa", "of-aa"),
    branch("of-b", "of-root", of="0.99"),
    branch("of-bb", "of-b"),
    branch("of-bbb", "of-bb"),
    branch("of-c", "of-root"),
    branch("of-cc", "of-c"),
    branch("of-ccc", "of-cc"),
    branch("of-cccc", "of-ccc", 1),
]


@pytest.mark.parametrize(
    "queues, cohorts, running, incoming, gone",
    [
        (  # b borrows from the queue with no weight, within the quota of its cohort
            [leaf("left", 0, "of-root", **RECLAIM), leaf("right", 0, "of-r", "0", **RECLAIM)],
            [branch("of-r", "of-root", 1, "0")],
            "right_1",
            "left",
            "",
        ),
        (  # one tree of three levels: each side's share is that just below what they have in common
            [
                leaf("a", 1, "of-left", "2", **RECLAIM),
                leaf("b", 1, "of-left"),
                leaf("c", 1, "of-root"),
                leaf("d", 1, "of-right"),
                leaf("e", 1, "of-right", "0.99"),
            ],
            [
                branch("of-root", cpu=5),
                branch("of-left", "of-root", 5, "2"),
                branch("of-right", "of-root", 5),
            ],
            " ".join(f"{name}{i}@{i}" for name in "bcde" for i in range(1, 6)),
            "a=5",
            "b1:f b2:f c1:f c2:f e1:f",
        ),
        (  # b borrows from its cohort, which borrows from nobody
            [leaf("a", 5, "of-root", "10", **ANY), leaf("b", -1, "of-right", "0.1")],
            [branch("of-root"), branch("of-right", "of-root", 1, "0.1")],
            "a1@-1 a2@-1 a3@-1 b1@-1",
            "a=5",
            "a1:w a2:w a3:w",
        ),
        (  # the one that borrows is too important
            [
                leaf("a", 5, "of-root", "10", **{**ANY, "reclaimWithinCohort": "LowerPriority"}),
                leaf("b", -1, "of-right", "0.1"),
            ],
            [branch("of-root"), branch("of-right", "of-root", 3, "0.1")],
            "a1@-1 a2@-1 a3@-1 b1=4@100",
            "a=4",
            "a1:w a2:w a3:w",
        ),
        ([leaf("a", 0, "of-aaa", **RECLAIM), leaf("b", 0, "of-bbb")], DEEP, "b1", "a1", "b1:f"),
        (
            [leaf("a", 1, "of-root", "0", **RECLAIM), leaf("b", 0, "of-root")],
            [],
            "b1",
            "a1",
            "b1:r",
        ),
        (
            [leaf("a", 0, "of-a", "0", **RECLAIM), leaf("b", 0, "of-root")],
            [branch("of-a", "of-root", 1, "0")],
            "b1",
            "a1",
            "b1:f",
        ),
        (  # two of no weight: the ratios decide
            [leaf("a", 1, "all", "0", **RECLAIM), leaf("b", 0, "all", "0")],
            [branch("all", cpu=3)],
            "b1 b2 b3",
            "a=2",
            "b1:f",
        ),
        (
            [leaf("a", 1, "all", **RECLAIM), leaf("b", 0, "all")],
            [branch("all", cpu=3)],
            "b1 b2 b3",
            "a=2",
            "b1:f",
        ),
        (
            [leaf("a", 1, "all", "0", **RECLAIM), leaf("b", 1, "all")],
            [],
            "a1 b1 b2",
            "a_incoming",
            "",
        ),
        (  # y1 stops A from borrowing, so that x1 can be had by the second strategy
            [leaf("p", 2, "of-a", **RECLAIM), leaf("y", 2, "of-a"), leaf("x", 1, "of-root")],
            [branch("of-a", "of-root", 1, "0")],
            "p1=2 y1=2 y2=2 x1 x2",
            "p_incoming",
            "x1:f y1:f",
        ),
    ],
)
def test_trees_are_fair_at_each_level(
    queues: list[ClusterQueue], cohorts: list[Cohort], running: str, incoming: str, gone: str
) -> None:
    assert targets(state(queues, (), cohorts, BOTH), running, incoming) == gone


def test_a_queue_without_a_cohort_preempts_its_own() -> None:
    made = state([leaf("a", 1, "", withinClusterQueue="LowerPriority")], strategies=BOTH)
    assert targets(made, "a1", "a_incoming@1000") == "a1:w"


def test_what_is_nominal_is_had_whatever_the_share() -> None:
    flavors = ("premium", "cheap")
    quotas = [
        {name: {CPU: cpu} for name, cpu in zip(flavors, of, strict=True)} for of in ((3, 0), (0, 6))
    ]
    queues = [queue("a", quotas[0], "all", preemption=RECLAIM), queue("b", quotas[1], "all")]
    made = state(queues, strategies=BOTH)
    for index in range(5):
        made.admit(item(f"a_cheap{index}", "a", cpu=1), {Slot("cheap", CPU): 1000})
    assert targets(made, "a1 a2 b1", "a_incoming", "premium") == "b1:r"


# --- whose turn it is ---


def turns(made: State, *workloads: tuple[str, str, int]) -> list[str]:
    """Names of who is admitted, in that order: of (name, queue, CPUs)."""
    wait(made, *(item(name, of, cpu=cpu) for name, of, cpu in workloads))
    return names_of(decide(made).admitted)


def test_the_lowest_share_comes_next() -> None:
    made = state(base(), strategies=BOTH)
    made.admit(item("b0", "b", cpu=5), {Slot("default", CPU): 5000})
    assert turns(made, ("b1", "b", 1), ("a1", "a", 3), ("c1", "c", 1)) == ["a1", "c1"]


def test_who_borrows_nothing_comes_before_who_waited_longer() -> None:
    made = state(base(), strategies=BOTH)
    assert turns(made, ("a1", "a", 4), ("b1", "b", 3), ("c1", "c", 3)) == ["b1", "c1"]


def test_a_weight_makes_room() -> None:
    queues = [
        queue("a", lent(0), "all", fairSharing=weight("1")),
        queue("b", lent(0), "all", fairSharing=weight("3")),
        queue("lends", lent(3), "all"),
    ]
    waiting = [(f"{name}{i}", name, 1) for i in range(3) for name in "ab"]
    assert turns(state(queues, strategies=BOTH), *waiting) == ["b0", "a0", "b1"]


def test_a_cohort_without_queues_lends() -> None:
    made = state(
        [leaf("a", 0, "of-a")], (), [branch("of-a", "of-root"), branch("of-lends", "of-root", 2)]
    )
    assert turns(made, ("a1", "a", 2)) == ["a1"]


def test_shares_are_shown_as_metrics() -> None:
    registry = CollectorRegistry()
    metrics = QueueMetrics(registry)
    made = state(two(lent(gpu=5), lent(gpu=10), "0"), strategies=BOTH)
    metrics.show_shares(shares_of(used(made, {("default", GPU): 7})))
    role = {"replica_role": "standalone"}
    of_queue = registry.get_sample_value(
        "kueue_cluster_queue_weighted_share", {"cluster_queue": "cq", **role}
    )
    of_cohort = registry.get_sample_value("kueue_cohort_weighted_share", {"cohort": "test", **role})
    assert (of_queue, of_cohort) == (math.inf, 0)
