"""One cycle: who is looked at, what is kept for whom, and which flavor is better."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.kueue.builders import (
    cohort,
    flavor,
    item,
    names_of,
    node,
    queue,
    state,
    topology,
    wait,
)
from tiphys.addons.kueue.core.cycle import Decisions, _reservation, decide, run
from tiphys.addons.kueue.core.flavors import Fit, Mode, _tries_next, is_better
from tiphys.addons.kueue.core.nearness import mismatch
from tiphys.addons.kueue.core.placing import PlacingError, Request, place
from tiphys.addons.kueue.core.quota import Slot
from tiphys.addons.kueue.core.state import Fungibility, Item, State
from tiphys.addons.kueue.core.topology import HOST, Layer, Nearness, Tree, Used
from tiphys.api import core_v1

CPU = {"default": {"cpu": 4}}
CPUS = Slot("default", "cpu")


def whole(made: State, *items: Item) -> Decisions:
    return decide(wait(made, *items))


def reasons(decided: Decisions) -> dict[str, tuple[str, str]]:
    return {one.item.uid: (one.reason, one.message) for one in decided.refused}


# --- who may not be looked at ---


def test_who_is_in_no_queue_is_told_so_and_others_go_on() -> None:
    selector = {"matchLabels": {"team": "x"}}
    made = state(
        [
            queue("a", CPU),
            queue("stopped", CPU, stopPolicy="Hold"),
            queue("closed", CPU, namespaceSelector=selector),
        ]
    )
    waiting = [item(name, of, cpu=1) for name, of in (("w", "gone"), ("x", "stopped"))]
    decided = whole(made, *waiting, item("y", "closed", cpu=1), item("z", "a", cpu=1))
    assert names_of(decided.admitted) == ["z"]
    assert reasons(decided) == {
        "w": ("Misconfigured", "ClusterQueue gone doesn't exist"),
        "x": ("Suspended", "ClusterQueue stopped is inactive"),
        "y": ("Misconfigured", "Workload namespace doesn't match ClusterQueue selector"),
    }


def test_those_like_one_that_has_to_wait_are_not_looked_at() -> None:
    made = state([queue("a", CPU)])
    alike = [item(f"big{n}", "a", cpu=5) for n in range(3)]
    for one, shape in zip(alike, ("big", "big", "other"), strict=True):
        one.shape = shape
    decided = whole(made, *alike, item("small", "a", cpu=1))
    assert names_of(decided.admitted) == ["small"]
    told = reasons(decided)
    assert told["big0"] == told["big1"] and set(told) == {"big0", "big1", "big2"}


def test_those_without_a_shape_are_like_nobody() -> None:
    made = state([queue("a", CPU)])
    first, second = item("first", "a", cpu=5), item("second", "a", cpu=3)
    assert first.shape == second.shape == ""
    assert names_of(whole(made, first, second).admitted) == ["second"]


# --- who was overtaken ---


def test_who_wants_the_same_ones_to_go_has_to_wait() -> None:
    spec = {"preemption": {"reclaimWithinCohort": "Any"}}
    made = state([queue("a", CPU, "c", **spec), queue("b", CPU, "c", **spec), queue("d", CPU, "c")])
    assert names_of(whole(made, item("borrower", "d", cpu=12)).admitted) == ["borrower"]
    decided = run(wait(made, item("x", "a", cpu=2), item("y", "b", cpu=2)))
    assert names_of(decided.preempting) == ["x"]
    (overtaken,) = decided.refused
    text = "Workload has overlapping preemption targets with another workload"
    assert (overtaken.item.uid, overtaken.message, overtaken.again) == ("y", text, True)


def test_who_does_not_fit_any_more_is_tried_again() -> None:
    made = state([queue("a", CPU, "c"), queue("b", CPU, "c")])
    first, second = item("x", "a", cpu=5), item("y", "b", cpu=5)
    decided = run(wait(made, first, second))
    assert names_of(decided.admitted) == ["x"]
    (overtaken,) = decided.refused
    text = "Workload no longer fits after processing another workload"
    assert (overtaken.item.uid, overtaken.message, overtaken.again) == ("y", text, True)
    assert made.waiting["b"] == [second]


def test_preemptors_count_on_what_is_leaving_for_those_before_them() -> None:
    spec = {"preemption": {"withinClusterQueue": "LowerPriority"}}
    made = state([queue("a", CPU, "c", **spec), queue("b", CPU, "c", **spec)])
    whole(made, item("low-a", "a", cpu=4), item("low-b", "b", cpu=4))
    decided = run(wait(made, item("x", "a", 9, cpu=4), item("y", "b", 9, cpu=4)))
    assert sorted(names_of(decided.preempting)) == ["x", "y"]
    message = decided.preempting[0].message
    assert message.endswith(". Pending the preemption of 1 workload(s)")


# --- what is kept for who has to wait ---


@pytest.mark.parametrize(
    ("reclaim", "used", "height", "borrowing", "wanted", "kept"),
    [
        ("Never", 0, 0, None, 3, 3000),
        ("Never", 0, 0, None, 9, 4000),
        ("Never", 2, 0, None, 3, 2000),
        ("Never", 4, 0, None, 3, 0),
        ("Never", 6, 0, None, 3, 0),
        ("LowerPriority", 2, 0, None, 3, 2000),
        ("Any", 0, 0, None, 3, None),
        ("Never", 4, 1, None, 3, 3000),
        ("Never", 4, 1, 2, 3, 2000),
        ("Never", 4, 1, 5, 3, 3000),
        ("Never", 6, 1, 1, 3, 0),
    ],
)
def test_a_queue_that_cannot_take_its_quota_back_keeps_it(
    reclaim: str, used: int, height: int, borrowing: int | None, wanted: int, kept: int | None
) -> None:
    """Upstream's `resourcesToReserve`."""
    quotas = {"default": {"cpu": (4, borrowing, None)}}
    made = state([queue("a", quotas, "c", preemption={"reclaimWithinCohort": reclaim})])
    own = made.queues["a"]
    own.node.usage[CPUS] = used * 1000
    usage = {CPUS: wanted * 1000, Slot("other", "cpu"): 7}
    assignment: Any = SimpleNamespace(usage=usage, height=height)
    found = _reservation(own, assignment)
    assert found == ({} if kept is None else {CPUS: kept})


# --- which flavor is better ---

NO, LATER, OWN, BACK, FITS = (
    Mode.NO_FIT,
    Mode.NO_CANDIDATES,
    Mode.PREEMPT,
    Mode.RECLAIM,
    Mode.FIT,
)
PLAIN, PREFERS = Fungibility(), Fungibility(prefers_preempting=True)


@pytest.mark.parametrize(
    ("one", "other", "rules", "better"),
    [
        (Fit(FITS, 0), Fit(NO, 0), PLAIN, True),
        (Fit(NO, 0), Fit(FITS, 0), PLAIN, False),
        (Fit(NO, 0), Fit(NO, 1), PLAIN, False),
        (Fit(FITS, 2), Fit(LATER, 0), PLAIN, True),
        (Fit(LATER, 0), Fit(OWN, 2), PLAIN, False),
        (Fit(LATER, 0), Fit(LATER, 1), PLAIN, True),
        (Fit(LATER, 1), Fit(LATER, 1), PLAIN, False),
        (Fit(FITS, 2), Fit(OWN, 0), PLAIN, True),
        (Fit(FITS, 2), Fit(OWN, 0), PREFERS, False),
        (Fit(OWN, 0), Fit(FITS, 2), PREFERS, True),
        (Fit(OWN, 1), Fit(FITS, 1), PREFERS, False),
        (Fit(BACK, 1), Fit(OWN, 1), PLAIN, True),
        (Fit(OWN, 0), Fit(BACK, 1), PLAIN, False),
        (Fit(FITS, 0), Fit(FITS, 1), PLAIN, True),
        (Fit(FITS, 1), Fit(FITS, 0), PLAIN, False),
        (Fit(FITS, 1), Fit(FITS, 1), PLAIN, False),
    ],
)
def test_what_fits_from_nearer_is_better(
    one: Fit, other: Fit, rules: Fungibility, better: bool
) -> None:
    assert is_better(one, other, rules) is better


BORROWS_LATER = Fungibility(next_before_borrowing=True)
PREEMPTS_FIRST = Fungibility(next_before_preempting=False)


@pytest.mark.parametrize(
    ("fit", "rules", "goes_on"),
    [
        (Fit(NO, 0), PREEMPTS_FIRST, True),
        (Fit(LATER, 0), PREEMPTS_FIRST, True),
        (Fit(OWN, 0), PREEMPTS_FIRST, False),
        (Fit(OWN, 0), PLAIN, True),
        (Fit(BACK, 0), PLAIN, True),
        (Fit(BACK, 0), PREEMPTS_FIRST, False),
        (Fit(FITS, 0), PLAIN, False),
        (Fit(FITS, 1), PLAIN, False),
        (Fit(FITS, 1), BORROWS_LATER, True),
        (Fit(FITS, 0), BORROWS_LATER, False),
    ],
)
def test_the_next_flavor_is_tried_where_the_queue_says_so(
    fit: Fit, rules: Fungibility, goes_on: bool
) -> None:
    assert _tries_next(fit, rules) is goes_on


# --- flavors and topologies ---

RACK = "rack"


@pytest.mark.parametrize(
    ("near", "spec", "text"),
    [
        (Nearness(), {}, ""),
        (Nearness(RACK), {}, 'Flavor "f" does not support TopologyAwareScheduling'),
        (Nearness(), {"topologyName": "t"}, ""),
        (Nearness(RACK), {"topologyName": "t"}, ""),
        (
            Nearness("other"),
            {"topologyName": "t"},
            'Flavor "f" does not contain the requested level',
        ),
        (
            Nearness(RACK),
            {"topologyName": "gone"},
            'Flavor "f" information missing in TAS cache',
        ),
    ],
)
def test_a_flavor_is_for_pods_that_ask_for_its_topology(
    near: Nearness, spec: Any, text: str
) -> None:
    flavors = [flavor("f", nodeLabels={"a": "b"}, **spec), flavor("plain")]
    both = {"f": {"cpu": 4}, "plain": {"cpu": 4}}
    made = state([queue("q", both)], flavors, topologies=[topology("t", RACK)])
    own = made.queues["q"]
    (pods,) = item("w", "q", near=near, cpu=1).pod_sets
    if spec and not near.required:
        text = 'Flavor "f" supports only TopologyAwareScheduling'
    assert mismatch(made, own, pods, "f", own.groups[0]) == text
    assert mismatch(made, own, pods, "gone", own.groups[0]) == ""


def test_quota_of_what_is_not_on_nodes_needs_no_topology() -> None:
    made = state([queue("q", {"f": {"example.com/licence": 4}})], [flavor("f")])
    own = made.queues["q"]
    (pods,) = item("w", "q", near=Nearness(RACK), cpu=1).pod_sets
    assert mismatch(made, own, pods, "f", own.groups[0]) == ""


def tree(*levels: str) -> Tree:
    return Tree("t", levels, [node("n", {RACK: "r", "block": "b"}, 4)], {}, Used())


@pytest.mark.parametrize(
    ("near", "text"),
    [
        (Nearness("row"), "no requested topology level: row"),
        (Nearness("", "row"), "no requested topology level: row"),
        (Nearness(RACK, layers=(Layer("row", 2),)), "no requested topology level for slices: row"),
        (
            Nearness(RACK, layers=(Layer(RACK, 0),)),
            "slice topology requested, but slice size not provided",
        ),
        (
            Nearness("block", layers=(Layer(RACK, 2), Layer("row", 1))),
            "no requested topology level for additional slice layer: row",
        ),
        (
            Nearness("block", layers=(Layer(RACK, 2), Layer(RACK, 1))),
            "additional slice layer topology rack must be at a lower level than rack",
        ),
        (
            Nearness("block", layers=(Layer(RACK, 2), Layer(HOST, 0))),
            "slice topology requested, but slice size not provided",
        ),
        (
            Nearness("block", layers=(Layer(RACK, 3), Layer(HOST, 2))),
            "additional slice layer size 2 must evenly divide parent layer size 3",
        ),
    ],
)
def test_levels_are_those_that_the_topology_has(near: Nearness, text: str) -> None:
    request = Request(near, 2, {"cpu": 1000}, core_v1.PodSpec())
    with pytest.raises(PlacingError) as error:
        place(tree("block", RACK, HOST), request)
    assert str(error.value) == text


def test_cohorts_are_searched_through_for_those_who_borrow() -> None:
    """Also in cohorts within cohorts, beside the one's own branch."""
    spec = {"preemption": {"reclaimWithinCohort": "Any"}}
    queues = [
        queue("a", CPU, "left", **spec),
        queue("b", CPU, "right"),
        queue("d", CPU, "right"),
    ]
    cohorts = [cohort("root"), cohort("left", "root"), cohort("right", "root")]
    made = state(queues, (), cohorts)
    whole(made, item("borrower", "b", cpu=12))
    decided = whole(made, item("own", "a", cpu=4))
    (one,) = decided.preempting
    assert [target.item.uid for target in one.targets] == ["borrower"]
    assert cast(Any, one.targets[0]).reason == "InCohortReclamation"
