"""Whether a node has room, and how full it would be."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.builders import node, pod
from tests.scheduler.builders import (
    feasible_nodes,
    framework,
    requesting,
    scores_of,
    snapshot_of,
)
from tests.scheduler.device_builders import class_of
from tiphys.api.resource_v1 import DeviceClass
from tiphys.machinery.extendedresources import ExtendedResources
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.configuration import (
    ConfigurationError,
    Profile,
)
from tiphys.scheduler.plugins.balanced_allocation import BalancedAllocation
from tiphys.scheduler.plugins.node_resources_fit import NodeResourcesFit
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


def asking(name: str = "p", **requests: str) -> PodInfo:
    return PodInfo(requesting(name, requests))


def scores(strategy: dict[str, Any], snapshot: Snapshot, info: PodInfo) -> list[int]:
    plugin = NodeResourcesFit(1, {"scoringStrategy": strategy})
    found = plugin.score(snapshot, info, snapshot.alive)
    assert found is not None
    return [int(found[snapshot.row_of[name]]) for name in sorted(snapshot.row_of)]


@pytest.mark.parametrize(
    "strategy",
    [
        {"type": "Fullest"},
        {"type": "RequestedToCapacityRatio"},
        {
            "type": "RequestedToCapacityRatio",
            "requestedToCapacityRatio": {"shape": [{"utilization": 0, "score": 11}]},
        },
        {
            "type": "RequestedToCapacityRatio",
            "requestedToCapacityRatio": {
                "shape": [{"utilization": 50, "score": 1}, {"utilization": 50, "score": 2}],
            },
        },
    ],
)
def test_a_strategy_must_make_sense(strategy: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        NodeResourcesFit(1, {"scoringStrategy": strategy})


def test_the_strategies_score_as_upstream_documents() -> None:
    """Numbers worked out by hand from the formulas of the scheduler's configuration reference."""
    snapshot = snapshot_of(node("a", cpu="4", memory="8Gi"), node("b", cpu="4", memory="8Gi"))
    snapshot.put_pod(asking("there", cpu="2", memory="2Gi"), "a")
    info = asking(cpu="1", memory="2Gi")
    # a: 3 of 4 cpu, 4 of 8 GiB; b: 1 of 4 cpu, 2 of 8 GiB
    assert scores({"type": "LeastAllocated"}, snapshot, info) == [(25 + 50) // 2, 75]
    assert scores({"type": "MostAllocated"}, snapshot, info) == [(75 + 50) // 2, 25]
    weighed = [{"name": "cpu", "weight": 3}, {"name": "memory", "weight": 1}]
    assert scores({"type": "MostAllocated", "resources": weighed}, snapshot, info) == [
        (3 * 75 + 50) // 4,
        25,
    ]
    shape = [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]
    ratio = {"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {"shape": shape}}
    assert scores(ratio, snapshot, info) == [round((75 + 50) / 2), 25]
    bent = [{"utilization": 50, "score": 10}, {"utilization": 100, "score": 0}]
    ratio["requestedToCapacityRatio"] = {"shape": bent}
    assert scores(ratio, snapshot, info) == [(50 + 100) // 2, 100]


def test_a_resource_counts_for_pods_that_ask_for_it() -> None:
    equipped = node("a")
    equipped.status.allocatable["example.org/gpu"] = "4"  # type: ignore[assignment]
    snapshot = snapshot_of(equipped, node("b"))
    most = {"type": "MostAllocated", "resources": [{"name": "example.org/gpu", "weight": 1}]}
    assert scores(most, snapshot, asking(**{"example.org/gpu": "1"})) == [25, 0]
    assert scores(most, snapshot, asking(cpu="1")) == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "fits"),
    [
        ({}, False),
        ({"ignoredResources": ["example.org/gpu"]}, True),
        ({"ignoredResourceGroups": ["example.org"]}, True),
        ({"ignoredResourceGroups": ["example.com"], "ignoredResources": ["gpu"]}, False),
    ],
)
def test_resources_can_be_ignored(arguments: dict[str, Any], fits: bool) -> None:
    profile = Profile(arguments={"NodeResourcesFit": arguments})
    placement = framework(snapshot_of(node("a")), profile).place(asking(**{"example.org/gpu": "1"}))
    assert bool(placement.node) is fits


def test_hints_about_room() -> None:
    snapshot = snapshot_of(node("a", cpu="2"))
    plugin = NodeResourcesFit()
    pod = asking(cpu="1")

    def resized(**requests: str) -> ClusterEvent:
        old = asking("q", cpu="1", memory="1Gi")
        return ClusterEvent(EventKind.POD_REQUESTS, pod=asking("q", **requests), old_pod=old)

    assert plugin.queueing_hint(resized(cpu="500m", memory="1Gi"), snapshot, pod)
    assert not plugin.queueing_hint(resized(cpu="1", memory="500Mi"), snapshot, pod)
    assert not plugin.queueing_hint(resized(cpu="2", memory="500Mi"), snapshot, pod)
    changed = EventKind.NODE_ALLOCATABLE
    grown = ClusterEvent(changed, node=node("a", cpu="2"), old_node=node("a", cpu="1"))
    shrunk = ClusterEvent(changed, node=node("a", cpu="2"), old_node=node("a", cpu="3"))
    assert plugin.queueing_hint(grown, snapshot, pod)
    assert not plugin.queueing_hint(shrunk, snapshot, pod)
    assert not plugin.queueing_hint(grown, snapshot, asking(cpu="3")), "it is still too small"


def test_hints_about_classes() -> None:
    plugin = NodeResourcesFit()
    gpu = "example.com/gpu"
    plain, named = class_of("gpu"), class_of("gpu", extendedResourceName=gpu)
    snapshot = snapshot_of(node("a"))

    def helps(old: DeviceClass | None, new: DeviceClass | None, resource: str) -> bool:
        event = ClusterEvent(EventKind.DEVICE_CLASS, obj=new, old_obj=old)
        return plugin.queueing_hint(event, snapshot, asking(**{resource: "1"}))

    assert helps(None, named, gpu)
    assert helps(plain, named, gpu)
    assert helps(None, plain, "deviceclass.resource.kubernetes.io/gpu")
    assert not helps(named, copy.deepcopy(named), gpu)
    assert not helps(None, plain, gpu)
    assert not helps(named, None, gpu)


def test_a_node_helps_that_has_none_of_what_a_class_stands_for() -> None:
    gpu = "example.com/gpu"
    plugin = NodeResourcesFit(
        classes=ExtendedResources([class_of("gpu", extendedResourceName=gpu)])
    )
    snapshot = snapshot_of(node("a", cpu="2"))
    added = ClusterEvent(EventKind.NODE_ADDED, node=node("a", cpu="2"))
    assert plugin.queueing_hint(added, snapshot, asking(cpu="1", **{gpu: "1"}))
    assert not plugin.queueing_hint(added, snapshot, asking(cpu="3", **{gpu: "1"}))
    assert not plugin.queueing_hint(added, snapshot, asking(**{"example.com/other": "1"}))


def test_where_no_node_has_it_devices_of_a_class_stand_for_it() -> None:
    gpu = "example.com/gpu"
    classes = ExtendedResources([class_of("gpu", extendedResourceName=gpu)])
    snapshot = snapshot_of(node("a", cpu="2"))
    for known, fits in ((classes, True), (ExtendedResources([]), False)):
        plugin = NodeResourcesFit(classes=known)
        verdicts = plugin.filter(snapshot, asking(cpu="1", **{gpu: "1"}), snapshot.alive)
        row = snapshot.row_of["a"]
        assert all(verdict.rows[row] for verdict in verdicts) is fits


def test_balanced_allocation_is_bounded_by_full_nodes() -> None:
    """Cpu is overcommitted by far, memory is full: both shares count as one."""
    snapshot = snapshot_of(node("a", cpu="1", memory="1Gi"), node("b", cpu="2", memory="4Gi"))
    plugin = BalancedAllocation(1)
    full = plugin.score(snapshot, asking(cpu="4", memory="1Gi"), snapshot.alive)
    assert scores_of(snapshot, full)["a"] == 100
    half = plugin.score(snapshot, asking(cpu="1", memory="1Gi"), snapshot.alive)
    assert scores_of(snapshot, half)["b"] == 87  # 100 less half of 50 % less 25 %
    assert plugin.score(snapshot, PodInfo(pod()), snapshot.alive) is None


def test_three_shares_are_compared_by_their_deviation() -> None:
    equipped = node("a", cpu="4", memory="4Gi")
    equipped.status.allocatable["example.org/gpu"] = "4"  # type: ignore[assignment]
    names = ("cpu", "memory", "example.org/gpu")
    plugin = BalancedAllocation(1, {"resources": [{"name": name} for name in names]})
    snapshot = snapshot_of(equipped)
    pod = asking(cpu="1", memory="1Gi", **{"example.org/gpu": "4"})
    raw = plugin.score(snapshot, pod, snapshot.alive)
    assert scores_of(snapshot, raw) == {"a": 64}


@pytest.mark.parametrize("amount", ["10P", "9E", "9000E"])
def test_a_pod_may_ask_for_more_than_64_bits_and_fits_nowhere(amount: str) -> None:
    snapshot = snapshot_of(node("n1"), node("n2"))
    greedy = requesting("greedy", {"cpu": amount, "memory": amount})
    assert not feasible_nodes(snapshot, PodInfo(greedy))
    snapshot.put_pod(PodInfo(greedy), "n1")  # somebody has bound it by hand
    assert feasible_nodes(snapshot, PodInfo(requesting("modest", {"cpu": "1"}))) == {"n2"}


def test_a_node_may_say_that_it_has_more_than_64_bits() -> None:
    snapshot = snapshot_of(node("n1", cpu="9000E"))
    assert feasible_nodes(snapshot, PodInfo(requesting("modest", {"cpu": "1"}))) == {"n1"}
