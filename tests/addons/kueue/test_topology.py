"""Pods that are to be near each other: where they go, who gives way, and how that is written. Many
cases are those of Kueue's own table (pkg/cache/scheduler/tas_cache_test.go)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.addons.kueue.builders import flavor, item, names_of, node, queue, state, topology, wait
from tiphys.addons.kueue.assignments import newer, older, packed, unpacked
from tiphys.addons.kueue.clusternodes import is_placed_by_topology
from tiphys.addons.kueue.core.cycle import Decisions, decide
from tiphys.addons.kueue.core.placing import PlacingError, Request, place
from tiphys.addons.kueue.core.state import Item, State
from tiphys.addons.kueue.core.topology import (
    HOST,
    Assignment,
    Layer,
    Nearness,
    Place,
    Tree,
    Used,
    is_usable,
)
from tiphys.addons.kueue.jobs.topologies import topology_request
from tiphys.addons.kueue.names import POD_INDEX_OFFSET
from tiphys.addons.kueue.types.workloads import PodSetTopologyRequest
from tiphys.addons.kueue.ungating import letting
from tiphys.api import core_v1
from tiphys.api.base import from_builtins

BLOCK, RACK = "cloud.com/block", "cloud.com/rack"
TWO, THREE = (BLOCK, RACK), (BLOCK, RACK, HOST)
DEFAULT = "b1/r1/x3 b1/r2/x5 b1/r2/x1 b1/r2/x6 b2/r1/x2 b2/r2/x4=2"
BINARY = "b1/r1/x3 b1/r1/x5 b1/r2/x1 b1/r2/x6 b2/r1/x2 b2/r1/x4 b2/r2/x7 b2/r2/x8"
SCATTERED = "b1/r1/x3=4 b1/r1/x5 b1/r1/x1 b2/r1/x6=2 b2/r1/x2"


def nodes(text: str) -> list[core_v1.Node]:
    """Of words like ``block/rack/host=cpus`` (1)."""
    found = []
    for word in text.split():
        where, _, cpu = word.partition("=")
        block, rack, host = where.split("/")
        found.append(node(host, {BLOCK: block, RACK: rack}, cpu or 1))
    return found


def tree(of: Iterable[core_v1.Node], levels: tuple[str, ...] = THREE) -> Tree:
    return Tree("default", levels, of, {}, Used())


def near(
    required: str = "", preferred: str = "", anywhere: bool = False, **layers: int
) -> Nearness:
    """`layers` are sizes by the last part of a level's name."""
    names = {"block": BLOCK, "rack": RACK, "host": HOST}
    groups = tuple(Layer(names[name], size) for name, size in layers.items())
    return Nearness(required, preferred, anywhere, groups)


def spread(made: Tree, how: Nearness, count: int, cpu: int = 1000, **more: Any) -> str:
    """``values:pods`` of each place."""
    request = Request(how, count, {"cpu": cpu}, core_v1.PodSpec(), **more)
    return " ".join(f"{'/'.join(one.values)}:{one.pods}" for one in place(made, request).places)


@pytest.mark.parametrize(
    "of, levels, how, count, where",
    [
        (DEFAULT, THREE, near(RACK), 1, "x3:1"),  # the rack with the least room that is enough
        (DEFAULT, THREE, near(RACK), 2, "x4:2"),
        (DEFAULT, THREE, near(RACK), 3, "x1:1 x5:1 x6:1"),
        (DEFAULT, THREE, near(BLOCK), 4, "x3:1 x1:1 x5:1 x6:1"),
        (DEFAULT, THREE, near(HOST), 2, "x4:2"),
        (DEFAULT, TWO, near(RACK), 3, "b1/r2:3"),
        (DEFAULT, TWO, near(BLOCK), 4, "b1/r1:1 b1/r2:3"),
        (DEFAULT, TWO, near("", RACK), 4, "b1/r1:1 b1/r2:3"),  # no rack has four: one block has
        (DEFAULT, TWO, near("", BLOCK), 6, "b1/r1:1 b1/r2:3 b2/r2:2"),  # the fewest blocks
        (SCATTERED, THREE, near(anywhere=True), 6, "x1:1 x3:1 x5:1 x2:1 x6:2"),
        (BINARY, THREE, near(BLOCK, rack=2), 4, "x3:1 x5:1 x1:1 x6:1"),
        (BINARY, THREE, near(rack=2), 6, "x3:1 x5:1 x1:1 x6:1 x2:1 x4:1"),
    ],
)
def test_pods_go_where_the_least_is_broken(
    of: str, levels: tuple[str, ...], how: Nearness, count: int, where: str
) -> None:
    assert spread(tree(nodes(of), levels), how, count) == where


@pytest.mark.parametrize(
    "of, how, count, why",
    [
        (
            DEFAULT,
            near(RACK),
            4,
            'topology "default" allows to fit only 3 out of 4 pod(s)',
        ),
        (
            DEFAULT,
            near("", BLOCK),
            10,
            'topology "default" allows to fit only 7 out of 10 pod(s)',
        ),
        (
            BINARY,
            near(BLOCK, rack=3),
            6,
            'topology "default" doesn\'t allow to fit any of 2 slice(s)',
        ),
        (DEFAULT, near("cloud.com/row"), 1, "no requested topology level: cloud.com/row"),
        (
            DEFAULT,
            near(RACK, block=2),
            2,
            f"podset slice topology {BLOCK} is above the podset topology {RACK}",
        ),
        (
            DEFAULT,
            near(BLOCK, rack=2, block=2),
            2,
            f"additional slice layer topology {BLOCK} must be at a lower level than {RACK}",
        ),
        (
            DEFAULT,
            near(BLOCK, rack=3, host=2),
            3,
            "additional slice layer size 2 must evenly divide parent layer size 3",
        ),
        (
            BINARY,
            near(BLOCK, rack=4, host=2),
            4,
            f'topology "default" doesn\'t allow to fit; 0/1 slice(s) fit on level {RACK}; '
            f"0/2 slice(s) fit on level {HOST}",
        ),
        ("", near(RACK), 1, f"no topology domains at level: {RACK}"),
    ],
)
def test_what_does_not_fit_says_how_far_it_did(
    of: str, how: Nearness, count: int, why: str
) -> None:
    with pytest.raises(PlacingError) as error:
        spread(tree(nodes(of)), how, count)
    assert str(error.value) == why


def test_groups_within_groups_stay_together() -> None:
    made = tree(nodes("b1/r1/a=3 b1/r1/b=3 b1/r2/c=4 b1/r2/d=4"))
    assert spread(made, near(BLOCK, rack=4, host=2), 12) == "a:2 b:2 c:4 d:4"


TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def test_a_host_that_is_not_for_the_pods_takes_none() -> None:
    of = [
        node("tainted", {}, taints=[TAINT]),
        node("small", {}, 0),
        node("other", {"kind": "other"}),
        node("fast", {"kind": "fast", "zone": "a"}),
    ]
    made = tree(of, (HOST,))
    expression = {"key": "zone", "operator": "In", "values": ["b"]}
    term = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}
    selector = {"nodeSelector": {"kind": "fast"}}
    spec = from_builtins(selector, core_v1.PodSpec)
    request = Request(near(HOST), 1, {"cpu": 1000}, spec)
    assert place(made, request).places == (Place(("fast",), 1),)
    request.spec = from_builtins({**selector, "affinity": affinity}, core_v1.PodSpec)
    with pytest.raises(PlacingError) as error:
        place(made, request)
    assert str(error.value).endswith(
        'Total nodes: 4; excluded: affinity: 1, nodeSelector: 2, taint "gpu=yes:NoSchedule": 1'
    )
    tolerating = Request(near(HOST), 1, {"cpu": 5000}, core_v1.PodSpec())
    with pytest.raises(PlacingError, match='resource "cpu": 3'):
        place(made, tolerating)


def test_only_nodes_that_are_ready_and_labelled_are_of_a_flavor() -> None:
    good = node("good", {RACK: "r1", "kind": "gpu"})
    cordoned = node("cordoned", {RACK: "r1", "kind": "gpu"}, unschedulable=True)
    unlabelled = node("unlabelled", {"kind": "gpu"})
    other = node("other", {RACK: "r1", "kind": "cpu"})
    lost = node("lost", {RACK: "r1", "kind": "gpu"})
    lost.status.conditions = []
    of = [good, cordoned, unlabelled, other, lost]
    assert [one for one in of if is_usable(one, {"kind": "gpu"}, (RACK,))] == [good]


CPUS = st.lists(st.integers(0, 4), min_size=8, max_size=8)


@given(cpus=CPUS, count=st.integers(1, 16), required=st.booleans(), level=st.sampled_from(THREE))
def test_pods_fit_where_they_are_placed(
    cpus: list[int], count: int, required: bool, level: str
) -> None:
    words = [f"b{i // 4}/r{i // 2}/x{i}={cpu}" for i, cpu in enumerate(cpus)]
    made = tree(nodes(" ".join(words)))
    how = near(level) if required else near("", level)
    request = Request(how, count, {"cpu": 1000}, core_v1.PodSpec())
    try:
        places = place(made, request).places
    except PlacingError:
        assert required or sum(cpus) < count
        return
    assert sum(one.pods for one in places) == count
    assert made.holds(places, {"cpu": 1000, "pods": 1})
    if required:
        depth = THREE.index(level) + 1
        leaves = [made.leaves[made.key(one.values)] for one in places]
        assert len({leaf.values[:depth] for leaf in leaves}) == 1


# --- in queues ---


def racks(*queues: Any, strategies: tuple[str, ...] = (), cpu: int = 2) -> State:
    """Two racks of two nodes of two CPUs; `near` is a flavor of them, `plain` one of others."""
    of = nodes(f"b/r1/a={cpu} b/r1/b={cpu} b/r2/c={cpu} b/r2/d={cpu}")
    flavors = [flavor("near", topologyName="racks", nodeLabels={BLOCK: "b"}), flavor("plain")]
    return state(queues, flavors, (), strategies, [topology("racks", *THREE)], of)


def run(made: State, *items: Item) -> Decisions:
    return decide(wait(made, *items))


BOTH = {"near": {"cpu": 8}, "plain": {"cpu": 8}}
NEAR = {"near": {"cpu": 8}}


def where(decided: Decisions) -> dict[str, list[str]]:
    return {
        one.item.uid: ["/".join(p.values) for p in one.assignment.topologies[0].places]
        for one in decided.admitted
    }


def test_each_job_has_a_rack_of_its_own() -> None:
    jobs = [item(f"job{i}", "q", count=4, near=near(RACK), cpu=1) for i in range(3)]
    decided = run(racks(queue("q", NEAR)), *jobs)
    assert where(decided) == {"job0": ["a", "b"], "job1": ["c", "d"]}


def test_quota_that_is_scattered_does_not_help() -> None:
    made = racks(queue("q", {"near": {"cpu": 80}}))
    small = [item(f"small{i}", "q", count=3, near=near(RACK), cpu=1) for i in range(2)]
    decided = run(made, *small, item("wide", "q", count=2, near=near(RACK), cpu=1))
    assert names_of(decided.admitted) == ["small0", "small1"]
    (refused,) = decided.refused
    assert refused.reason == "WaitingForQuota"
    assert "allows to fit only 1 out of 2 pod(s)" in refused.message


def test_what_no_empty_cluster_has_room_for_is_said_so() -> None:
    decided = run(
        racks(queue("q", {"near": {"cpu": 80}})), item("huge", "q", count=5, near=near(RACK), cpu=1)
    )
    assert [one.reason for one in decided.refused] == ["TopologyPlacementFailed"]


@pytest.mark.parametrize(
    "quotas, how, flavors",
    [
        (BOTH, near(RACK), {"near"}),
        (BOTH, near(), {"plain"}),  # who does not ask for it does not take places of those who do
        (NEAR, near(), {"near"}),  # unless there is nothing else
    ],
)
def test_a_flavor_of_a_topology_is_for_those_who_ask(
    quotas: Any, how: Nearness, flavors: set[str]
) -> None:
    (admitted,) = run(racks(queue("q", quotas)), item("job", "q", near=how, cpu=1)).admitted
    assert {choice.flavor for choice in admitted.assignment.flavors[0].values()} == flavors


@pytest.mark.parametrize(
    "quotas, how, why",
    [
        ({"plain": {"cpu": 8}}, near(RACK), "does not support TopologyAwareScheduling"),
        (NEAR, near("cloud.com/row"), "does not contain the requested level"),
    ],
)
def test_a_flavor_that_has_no_such_level_is_not_taken(quotas: Any, how: Nearness, why: str) -> None:
    (refused,) = run(racks(queue("q", quotas)), item("job", "q", near=how, cpu=1)).refused
    assert why in refused.message


LOWER = {"withinClusterQueue": "LowerPriority"}


@pytest.mark.parametrize("strategies", [(), ("LessThanOrEqualToFinalShare",)])
def test_only_who_is_in_the_way_goes(strategies: tuple[str, ...]) -> None:
    made = racks(queue("q", {"near": {"cpu": 80}}, preemption=LOWER), strategies=strategies)
    first = [item(f"low{i}", "q", -1, count=2, near=near(HOST), cpu=1) for i in range(4)]
    assert len(run(made, *first).admitted) == 4
    (preempting,) = run(made, item("high", "q", count=4, near=near(RACK), cpu=1)).preempting
    hosts = {p.values[0] for t in preempting.targets for h in t.item.holdings for p in h.places}
    assert hosts in ({"a", "b"}, {"c", "d"})


def test_a_place_is_kept_for_who_waits_for_it_to_be_empty() -> None:
    quotas = {"near": {"cpu": 80}}
    made = racks(queue("q", quotas, "all", preemption=LOWER), queue("other", quotas, "all"), cpu=1)
    low = [item(f"low{i}", "q", -1, near=near(HOST), cpu=1) for i in range(3)]
    assert len(run(made, *low).admitted) == 3
    high = item("high", "q", count=4, near=near(BLOCK), cpu=1)
    decided = run(made, high, item("quick", "other", near=near(HOST), cpu=1))
    assert names_of(decided.preempting) == ["high"] and not decided.admitted


# --- how it is written ---


@pytest.mark.parametrize(
    "places, made",
    [
        (
            [Place(("n-1", "a"), 2), Place(("n-2", "a"), 2)],
            {
                "domainCount": 2,
                "valuesPerLevel": [
                    {"individual": {"prefix": "n-", "roots": ["1", "2"]}},
                    {"universal": "a"},
                ],
                "podCounts": {"universal": 2},
            },
        ),
        (
            [Place(("aba", "x"), 1), Place(("ababa", "y"), 2)],
            {
                "domainCount": 2,
                "valuesPerLevel": [
                    {"individual": {"suffix": "aba", "roots": ["", "ab"]}},
                    {"individual": {"roots": ["x", "y"]}},
                ],
                "podCounts": {"individual": [1, 2]},
            },
        ),
    ],
)
def test_what_places_have_in_common_is_written_once(places: list[Place], made: Any) -> None:
    assignment = Assignment(TWO, tuple(places))
    assert packed(assignment) == {"levels": list(TWO), "slices": [made]}
    assert unpacked(packed(assignment)) == assignment


VALUES = st.tuples(st.text("ab", max_size=4), st.text("ab-", max_size=4))


@given(st.lists(st.builds(Place, VALUES, st.integers(1, 3)), max_size=6))
def test_an_assignment_is_read_as_it_was_written(places: list[Place]) -> None:
    assignment = Assignment(TWO, tuple(places))
    assert unpacked(packed(assignment)) == assignment
    assert newer(older(packed(assignment))) == packed(assignment)


@pytest.mark.parametrize(
    "plain",
    [7, {"levels": []}, {"levels": ["a"], "slices": [7]}, {"levels": ["a"], "slices": [{"x": 1}]}],
)
def test_an_assignment_of_any_shape_is_read_or_not(plain: Any) -> None:
    found = unpacked(plain)
    assert found is None or found.places == ()


PREFIX = "kueue.x-k8s.io/podset"


@pytest.mark.parametrize(
    "annotations, request_",
    [
        ({}, None),
        ({f"{PREFIX}-required-topology": RACK}, {"required": RACK}),
        ({f"{PREFIX}-preferred-topology": RACK}, {"preferred": RACK}),
        ({f"{PREFIX}-unconstrained-topology": "true"}, {"unconstrained": True}),
        ({f"{PREFIX}-unconstrained-topology": "maybe"}, None),
        (
            {f"{PREFIX}-slice-required-topology": RACK, f"{PREFIX}-slice-size": "4"},
            {"podSetSliceRequiredTopology": RACK, "podSetSliceSize": 4},
        ),
        (
            {f"{PREFIX}-slice-required-topology-constraints": '[{"topology":"a","size":2}]'},
            {"podsetSliceRequiredTopologyConstraints": [{"topology": "a", "size": 2}]},
        ),
    ],
)
def test_a_template_says_how_near_its_pods_are_to_be(annotations: Any, request_: Any) -> None:
    found = topology_request({"metadata": {"annotations": annotations}})
    assert found == (from_builtins(request_, PodSetTopologyRequest) if request_ else None)
    assert is_placed_by_topology(annotations) == bool(annotations)


# --- who is let go where ---

INDEX, JOB = "index", "job"
FOUR = packed(Assignment((HOST,), (Place(("a",), 2), Place(("b",), 2))))
GATES = [{"name": "kueue.x-k8s.io/topology"}]


def pod(name: str, host: str = "", **labels: str) -> core_v1.Pod:
    """One that waits, or that has been let go to a host."""
    spec: Any = {"nodeSelector": {HOST: host}} if host else {"schedulingGates": GATES}
    return from_builtins({"metadata": {"name": name, "labels": labels}, "spec": spec}, core_v1.Pod)


def let_go(pods: list[core_v1.Pod], **request: Any) -> dict[str, str]:
    asked = from_builtins(request, PodSetTopologyRequest)
    return {one.pod.metadata.name: one.labels[HOST] for one in letting(FOUR, pods, asked)}


def test_ranks_are_near_each_other() -> None:
    pods = [pod(f"p{index}", index=str(index)) for index in (3, 1, 0, 2)]
    expected = {"p0": "a", "p1": "a", "p2": "b", "p3": "b"}
    assert let_go(pods, podIndexLabel=INDEX) == expected


def test_a_pod_that_comes_again_has_the_place_of_its_rank() -> None:
    pods = [pod("p0", "a", index="0"), pod("p3", "b", index="3"), pod("new", index="1")]
    assert let_go(pods, podIndexLabel=INDEX) == {"new": "a"}


def test_workers_that_count_their_leader_begin_at_one() -> None:
    pods = [pod(f"p{index}", index=str(index)) for index in (1, 2, 3, 4)]
    for one in pods:
        one.metadata.annotations[POD_INDEX_OFFSET] = "1"
    expected = {"p1": "a", "p2": "a", "p3": "b", "p4": "b"}
    assert let_go(pods, podIndexLabel=INDEX) == expected


def test_several_jobs_of_a_set_follow_each_other() -> None:
    pods = [
        pod(f"{job}-{index}", index=str(index), job=str(job)) for job in (1, 0) for index in (0, 1)
    ]
    found = let_go(pods, podIndexLabel=INDEX, subGroupIndexLabel=JOB, subGroupCount=2)
    assert found == {"0-0": "a", "0-1": "a", "1-0": "b", "1-1": "b"}


@pytest.mark.parametrize(
    "pods",
    [
        [pod("p0", index="0"), pod("same", index="0")],
        [pod("p0"), pod("p1")],
        [pod("p0", index="9"), pod("p1", index="1")],
        [pod("p0", index="x"), pod("p1", index="1")],
    ],
)
def test_without_ranks_pods_get_what_is_left(pods: list[core_v1.Pod]) -> None:
    here = pod("here", "a", index="7")
    names = [one.metadata.name for one in pods]
    assert let_go([here, *pods], podIndexLabel=INDEX) == dict(zip(names, "ab", strict=True))


def test_pods_beyond_the_places_wait() -> None:
    assert len(let_go([pod(f"p{index}") for index in range(6)])) == 4
