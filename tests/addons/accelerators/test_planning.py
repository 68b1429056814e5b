"""What a fleet comes to, at one time and another."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.accelerators.demo import demo
from tiphys.addons.accelerators.planning import (
    INTERRUPTION,
    Plan,
    capacity_changes,
    node_changes,
    plan_of,
    slice_of,
)
from tiphys.addons.accelerators.types import FleetSpec, Pool
from tiphys.api import core_v1
from tiphys.api.base import Quantity, from_builtins
from tiphys.api.meta_v1 import ObjectMeta

NAMES = [f"hollow-{number}" for number in range(12)]


def plan(age: float = 0, names: list[str] = NAMES, **events: Any) -> Plan:
    spec = from_builtins(events, FleetSpec)
    spec.pools = demo().spec.pools
    return plan_of(spec, names, age)


def test_the_demo_has_64_gpus_of_three_kinds_in_four_zones() -> None:
    found = plan()
    assert (found.gpus, found.healthy, found.missing, len(found.nodes)) == (64, 64, 0, 10)
    assert len({one.labels["nvidia.com/gpu.product"] for one in found.nodes}) == 3
    assert len({one.labels["topology.kubernetes.io/zone"] for one in found.nodes}) == 4


def test_nodes_are_taken_in_their_order_as_people_count() -> None:
    assert [one.node for one in plan().nodes] == NAMES[:10]
    assert plan(names=NAMES[:3]).missing == 7


def test_a_domain_is_in_one_zone() -> None:
    zones: dict[str, set[str]] = {}
    for one in plan().nodes[:4]:
        domain = one.devices[0].attributes["nvlinkDomain"].string or ""
        zones.setdefault(domain, set()).add(one.labels["topology.kubernetes.io/zone"])
    assert zones == {"h100-0": {"zone-a"}, "h100-1": {"zone-b"}}


def test_a_gpu_fails_and_is_repaired() -> None:
    failure = [{"pool": "h100", "node": 1, "device": 3, "after": 10, "repairedAfter": 5}]
    assert [plan(age, failures=failure).healthy for age in (9, 10, 14, 15)] == [64, 63, 63, 64]
    failed = plan(12, failures=failure)
    (taint,) = failed.nodes[1].devices[3].taints
    assert (taint.value, taint.effect, failed.again) == ("XID-79", "NoExecute", 3)


def test_an_interrupted_node_gets_a_notice_goes_and_comes_back() -> None:
    event = [{"pool": "l4", "node": 0, "after": 10, "notice": 5, "returnsAfter": 20}]
    seen = []
    for age in (9, 10, 15, 35):
        one = plan(age, interruptions=event).nodes[6]
        seen.append((one.taint.effect if one.taint else "", one.healthy))
    assert seen == [("", 4), ("NoSchedule", 4), ("NoExecute", 0), ("", 4)]


def test_a_node_that_is_as_planned_is_left_alone() -> None:
    (one,) = plan_of(FleetSpec(pools=[Pool(name="p", product="X")]), ["n"], 0).nodes
    node = core_v1.Node(metadata=ObjectMeta(name="n", labels={"mine": "yes"}))
    node.spec.taints = [core_v1.Taint(key="other", effect="NoSchedule")]
    changes: Any = node_changes(node, one)
    assert "spec" not in changes and "mine" not in changes["metadata"]["labels"]
    node.metadata.labels |= one.labels
    node.status.capacity = {"nvidia.com/gpu": Quantity("8")}
    assert (node_changes(node, one), capacity_changes(node, one)) == ({}, {})


# --- pool by pool ---


def one_pool(nodes: int = 2, names: list[str] | None = None, age: float = 0, **more: Any) -> Plan:
    """A pool `p` of nodes with two GPUs; failures and interruptions are of it."""
    events = {
        kind: [{"pool": "p", **row} for row in more.pop(kind, ())]
        for kind in ("failures", "interruptions")
    }
    pool = {"name": "p", "nodes": nodes, "gpus": 2, "product": "NVIDIA-X", **more}
    spec = from_builtins({"pools": [pool], **events}, FleetSpec)
    return plan_of(spec, ["a", "b"] if names is None else names, age)


@pytest.mark.parametrize(
    ("names", "taken", "missing"),
    [
        (["b", "a", "c"], ["a", "b"], 0),
        (["n-10", "n-9"], ["n-9", "n-10"], 0),
        (["10", "9", "x"], ["9", "10"], 0),
        (["a"], ["a"], 1),
        ([], [], 2),
        (["1" * 19, "2"], ["1" * 19, "2"], 0),
    ],
)
def test_a_pool_takes_as_many_nodes_as_there_are(
    names: list[str], taken: list[str], missing: int
) -> None:
    found = one_pool(names=names)
    assert ([one.node for one in found.nodes], found.missing) == (taken, missing)
    assert found.gpus == 2 * len(taken)


def test_pools_take_what_others_have_left() -> None:
    pools = [{"name": name, "nodes": 2, "product": "X"} for name in ("p", "q")]
    found = plan_of(from_builtins({"pools": pools}, FleetSpec), ["a", "b", "c"], 0)
    assert [(one.node, one.pool.name, one.index) for one in found.nodes] == [
        ("a", "p", 0),
        ("b", "p", 1),
        ("c", "q", 0),
    ]
    assert found.missing == 1


@pytest.mark.parametrize(
    ("domain", "zones", "where"),
    [
        (0, ["x"], [("x", ""), ("x", ""), ("x", ""), ("x", "")]),
        (0, ["x", "y"], [("x", ""), ("y", ""), ("x", ""), ("y", "")]),
        (1, ["x", "y"], [("x", "p-0"), ("y", "p-1"), ("x", "p-2"), ("y", "p-3")]),
        (2, ["x", "y"], [("x", "p-0"), ("x", "p-0"), ("y", "p-1"), ("y", "p-1")]),
        (4, ["x", "y"], [("x", "p-0")] * 4),
    ],
)
def test_domains_go_to_the_zones_in_turn(
    domain: int, zones: list[str], where: list[tuple[str, str]]
) -> None:
    found = one_pool(4, list("abcd"), domain=domain, zones=zones)
    rows = [
        (
            one.labels["topology.kubernetes.io/zone"],
            one.labels.get("nvidia.com/gpu.clique", "").removesuffix(".0"),
        )
        for one in found.nodes
    ]
    assert rows == where
    shown = [one.devices[0].attributes.get("nvlinkDomain") for one in found.nodes]
    assert [each.string if each else "" for each in shown] == [domain for _, domain in where]


def test_a_node_is_labelled_as_nvidias_discovery_does() -> None:
    (one,) = one_pool(1, memory="40Gi", architecture="Ampere").nodes
    assert one.labels == {
        "accelerators.tiphys.dev/pool": "p",
        "accelerators.tiphys.dev/capacity-type": "on-demand",
        "topology.kubernetes.io/zone": "zone-a",
        "node.kubernetes.io/instance-type": "p",
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": "NVIDIA-X",
        "nvidia.com/gpu.count": "2",
        "nvidia.com/gpu.memory": "40960",
        "nvidia.com/gpu.family": "ampere",
        "nvidia.com/gpu.clique": "p-0.0",
    }
    named = one_pool(1, instanceType="big").nodes[0]
    assert named.labels["node.kubernetes.io/instance-type"] == "big"


def test_devices_are_those_that_nvidias_driver_publishes() -> None:
    (one,) = one_pool(1).nodes
    first, second = one.devices
    assert (first.name, second.name) == ("gpu-0", "gpu-1")
    assert second.attributes["index"].int_ == 1
    assert first.attributes["productName"].string == "NVIDIA X"
    uuids = [each.attributes["uuid"].string or "" for each in one.devices]
    assert [len(part) for part in uuids[0].split("-")] == [3, 8, 4, 4, 4, 12]
    assert uuids[0] != uuids[1]
    assert uuids == [each.attributes["uuid"].string for each in one_pool(1).nodes[0].devices]
    assert str(first.capacity["memory"].value) == "80Gi" and first.taints == []


@pytest.mark.parametrize(
    ("failure", "age", "healthy", "again"),
    [
        ({"after": 10}, 9, 4, 1),
        ({"after": 10}, 10, 3, None),
        ({"after": 10, "repairedAfter": 5}, 12, 3, 3),
        ({"after": 10, "repairedAfter": 5}, 15, 4, None),
        ({"after": 0, "device": 1}, 0, 3, None),
        ({"after": 0, "device": 2}, 0, 4, None),
        ({"after": 0, "node": 1}, 0, 3, None),
        ({"after": 0, "node": 2}, 0, 4, None),
        ({"after": 0, "pool": "q"}, 0, 4, None),
    ],
)
def test_a_failure_is_of_one_device_for_a_while(
    failure: Any, age: float, healthy: int, again: float | None
) -> None:
    found = one_pool(age=age, failures=[failure])
    assert (found.healthy, found.again) == (healthy, again)


GOES = {"after": 10, "notice": 5}


@pytest.mark.parametrize(
    ("event", "age", "taint", "healthy", "again"),
    [
        (GOES, 9, None, 4, 1),
        (GOES, 10, ("notice", "NoSchedule"), 4, 5),
        (GOES, 14, ("notice", "NoSchedule"), 4, 1),
        (GOES, 15, ("gone", "NoExecute"), 2, None),
        ({**GOES, "returnsAfter": 20}, 34, ("gone", "NoExecute"), 2, 1),
        ({**GOES, "returnsAfter": 20}, 35, None, 4, None),
        ({"after": 10, "notice": 0}, 10, ("gone", "NoExecute"), 2, None),
        ({**GOES, "pool": "q"}, 15, None, 4, None),
        ({**GOES, "node": 1}, 15, None, 2, None),
    ],
)
def test_a_node_is_interrupted_after_a_notice(
    event: Any, age: float, taint: tuple[str, str] | None, healthy: int, again: float | None
) -> None:
    found = one_pool(age=age, interruptions=[event])
    first = found.nodes[0]
    assert (first.taint and (first.taint.value, first.taint.effect)) == taint
    assert (found.healthy, found.again) == (healthy, again)
    assert first.is_gone is (taint is not None and taint[0] == "gone")
    assert bool(slice_of(first).spec.devices) is not first.is_gone


def test_of_two_interruptions_the_one_that_holds_counts() -> None:
    events = [{**GOES, "returnsAfter": 1}, {"after": 30, "notice": 5}]
    found = one_pool(age=32, interruptions=events)
    taint = found.nodes[0].taint
    assert taint is not None and taint.value == "notice" and found.again == 3


def test_a_node_with_another_taint_of_ours_is_put_right() -> None:
    (one,) = one_pool(1, ["a"], age=12, interruptions=[GOES]).nodes
    node = core_v1.Node(metadata=ObjectMeta(name="a", labels=dict(one.labels)))
    other = core_v1.Taint(key="other", effect="NoSchedule")
    own = core_v1.Taint(key=INTERRUPTION, value="gone", effect="NoExecute")
    node.spec.taints = [own, other]
    changes: Any = node_changes(node, one)
    assert [(t.key, t.value) for t in changes["spec"]["taints"]] == [
        ("other", ""),
        (INTERRUPTION, "notice"),
    ]
    assert "metadata" not in changes
    node.spec.taints = changes["spec"]["taints"]
    assert node_changes(node, one) == {}
    node.status.capacity = {"nvidia.com/gpu": Quantity("1")}
    both = {"nvidia.com/gpu": Quantity("2")}
    assert capacity_changes(node, one) == {"status": {"capacity": both, "allocatable": both}}


def test_a_slice_is_its_nodes() -> None:
    (one,) = one_pool(1, ["a"]).nodes
    made = slice_of(one)
    assert made.metadata.name == "a-gpu.nvidia.com"
    assert (made.spec.node_name, made.spec.driver) == ("a", "gpu.nvidia.com")
    pool = made.spec.pool
    assert (pool.name, pool.generation, pool.resource_slice_count) == ("a", 1, 1)
