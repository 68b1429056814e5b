"""A leader and its workers go together. Cases are those of Kueue's own table for grouped pod sets
(pkg/cache/scheduler/tas_cache_test.go)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.addons.kueue.builders import flavor, item, node, queue, state, topology
from tiphys.addons.kueue.core.flavors import assign
from tiphys.addons.kueue.core.leading import Pair, place_pair
from tiphys.addons.kueue.core.placing import PlacingError, Request
from tiphys.addons.kueue.core.state import Item, PodGroup
from tiphys.addons.kueue.core.topology import HOST, Assignment, Nearness, Tree, Used
from tiphys.addons.kueue.jobs.kinds import kind_of
from tiphys.addons.kueue.rules.jobs import of_new_job
from tiphys.api import core_v1

RACK, GPU = "rack", "example.com/gpu"
CPU = {"cpu": 1000}


def tree(*hosts: str, levels: tuple[str, ...] = (RACK, HOST)) -> Tree:
    """Of words like ``rack/host=cpus`` or ``rack/host=cpus+gpus``."""
    made = []
    for word in hosts:
        where, _, room = word.partition("=")
        rack, host = where.split("/")
        cpu, _, gpu = room.partition("+")
        one = node(host, {RACK: rack}, cpu)
        one.status.allocatable[GPU] = gpu or "0"
        made.append(one)
    return Tree("default", levels, made, {}, Used())


def shown(found: Assignment) -> str:
    return " ".join(f"{'/'.join(one.values)}:{one.pods}" for one in found.places)


def placed(
    of: Tree, near: Nearness, leader: dict[str, int], workers: dict[str, int], count: int
) -> Pair:
    request = Request(near, count, workers, core_v1.PodSpec())
    return place_pair(of, request, {**leader, "pods": 1})


REQUIRED, ANY_RACK = Nearness(required=RACK), Nearness(preferred=RACK)
SMALL = ("small/full=300m", "small/free=2800m", "large/whole=6")


@pytest.mark.parametrize(
    "hosts, near, leader, workers, count, where",
    [
        # The leader costs no room that workers need: on h3 a core is left over.
        (("r/h1=2", "r/h2=4", "r/h3=3"), REQUIRED, 1, 2, 4, "h3:1 with h1:1 h2:2 h3:1"),
        # Only beside the leader do the workers not fit.
        (SMALL, REQUIRED, 2.5, 2.5, 1, "whole:1 with whole:1"),
        (SMALL, REQUIRED, 2.5, 0.5, 2, "whole:1 with whole:2"),
        (SMALL, REQUIRED, 1, 1, 1, "free:1 with free:1"),
        # The rack with the least room that is enough for both.
        (("a/x=8", "b/y=5", "c/z=4"), REQUIRED, 1, 1, 4, "y:1 with y:4"),
        # No rack does, and the leader goes where the racks have enough room in all.
        (("a/h1=8", "b/h2=3"), ANY_RACK, 1, 2, 5, "h2:1 with h1:4 h2:1"),
        (("a/x1=3", "a/x2=3", "a/x3=8", "b/x4=11"), ANY_RACK, 5, 1, 7,
         "x3:1 with x1:3 x2:1 x3:3"),
    ],
)  # fmt: skip
def test_the_leader_and_its_workers_are_near_each_other(
    hosts: tuple[str, ...], near: Nearness, leader: float, workers: float, count: int, where: str
) -> None:
    each = [{"cpu": int(cores * 1000)} for cores in (leader, workers)]
    found = placed(tree(*hosts), near, each[0], each[1], count)
    assert f"{shown(found.leader)} with {shown(found.workers)}" == where


def test_a_leader_without_gpus_needs_a_core_beside_the_workers() -> None:
    workers = {**CPU, GPU: 1}
    racks = tree("b1/x=2+2", "b2/y=8+8", "b3/z=2+2", levels=(RACK,))
    found = placed(racks, REQUIRED, CPU, workers, 4)
    assert (shown(found.leader), shown(found.workers)) == ("b2:1", "b2:4")
    with pytest.raises(PlacingError) as refused:
        placed(tree("b1/x=1", "b2/y=4+4", levels=(RACK,)), REQUIRED, CPU, workers, 4)
    assert str(refused.value) == (
        'topology "default" allows to fit only 4 out of 4 pod(s). Total nodes: 2; excluded: '
        f'resource "{GPU}": 1'
    )


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 8),
    st.sampled_from([REQUIRED, ANY_RACK, Nearness(required=HOST), Nearness(preferred=HOST)]),
)
def test_all_workers_and_the_leader_fit_where_they_are_put(
    hosts: list[tuple[str, int]], leader: int, worker: int, count: int, near: Nearness
) -> None:
    words = [f"{rack}/n{index}={cores}" for index, (rack, cores) in enumerate(hosts)]
    try:
        found = placed(tree(*words), near, {"cpu": leader * 1000}, {"cpu": worker * 1000}, count)
    except PlacingError as error:
        assert "unexpected" not in str(error)
        return
    left = {f"n{index}": cores for index, (_, cores) in enumerate(hosts)}
    for assignment, each in ((found.workers, worker), (found.leader, leader)):
        for place in assignment.places:
            left[place.values[-1]] -= each * place.pods
    assert min(left.values()) >= 0
    assert [sum(one.pods for one in part.places) for part in found] == [1, count]
    racks = {hosts[int(one.values[-1][1:])][0] for part in found for one in part.places}
    assert len(racks) == 1 or near.preferred


# --- flavors ---


def pair(**each: dict[str, int]) -> Item:
    """A workload of a leader and three workers in one group."""
    near = Nearness(required=RACK, group="both")
    sets = tuple(
        PodGroup(name, 1 if name == "leader" else 3, of, core_v1.PodSpec(), None, near)
        for name, of in each.items()
    )
    return replace(item("job", "q"), pod_sets=sets)


def made(item_: Item, **gpus: int) -> Any:
    """What it gets in a queue of flavors with so many GPUs, each of a node of its own."""
    flavors = [flavor(name, nodeLabels={"kind": name}, topologyName="t") for name in gpus]
    nodes = [node(name, {RACK: name, "kind": name}, 8) for name in gpus]
    for one in nodes:
        one.status.allocatable[GPU] = "8"
    quotas = {name: {"cpu": 8, GPU: count} for name, count in gpus.items()}
    whole = state([queue("q", quotas)], flavors, topologies=[topology("t", RACK)], nodes=nodes)
    return assign(whole, item_)


def test_a_group_has_one_flavor_even_if_the_leader_alone_would_do_with_another() -> None:
    found = made(pair(leader=CPU, workers={**CPU, GPU: 1}), few=2, many=8)
    assert found.chosen == [{"cpu": "many"}, {"cpu": "many", GPU: "many"}]
    assert [shown(found.topologies[index]) for index in (0, 1)] == ["many:1", "many:3"]


def test_a_leader_that_requests_nothing_is_placed_with_its_workers() -> None:
    found = made(pair(leader={}, workers={**CPU, GPU: 1}), many=8)
    assert found.chosen[0] == {"cpu": "many", GPU: "many"}
    assert shown(found.topologies[0]) == "many:1"
    assert {slot.resource: amount for slot, amount in found.usage.items()} == {
        "cpu": 3000,
        GPU: 3,
    }


# --- rules ---


def job_set(*replicas: int, **annotations: dict[str, str]) -> dict[str, Any]:
    """Of jobs with so many pods; `annotations` of each by its name."""
    jobs = [
        {
            "name": name,
            "template": {
                "spec": {
                    "parallelism": count,
                    "completions": count,
                    "template": {"metadata": {"annotations": of}},
                }
            },
        }
        for count, (name, of) in zip(replicas, annotations.items(), strict=True)
    ]
    return {"metadata": {"name": "set"}, "spec": {"replicatedJobs": jobs}}


def refused(job: dict[str, Any]) -> list[str]:
    kind = kind_of("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert kind is not None
    return [problem.detail for problem in of_new_job(kind, job)]


GROUP = "kueue.x-k8s.io/podset-group-name"
TOGETHER = {GROUP: "g", "kueue.x-k8s.io/podset-required-topology": RACK}
ELSEWHERE = {GROUP: "g", "kueue.x-k8s.io/podset-preferred-topology": RACK}


@pytest.mark.parametrize(
    "job, said",
    [
        (job_set(1, 4, a=TOGETHER, b=TOGETHER), ""),
        (job_set(1, a=TOGETHER), "exactly 2 pod sets, got: 1 pod set(s)"),
        (job_set(2, 4, a=TOGETHER, b=TOGETHER), "only 1 replica, got: 2 replica(s) and 4 replica"),
        (job_set(1, 4, a=TOGETHER, b=ELSEWHERE), "topology consistent with "),
    ],
)
def test_a_group_is_a_leader_and_its_workers(job: dict[str, Any], said: str) -> None:
    problems = refused(job)
    assert bool(problems) == bool(said)
    assert all(said in problem for problem in problems)
