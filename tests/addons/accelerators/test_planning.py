"""What a fleet comes to, at one time and another."""

from __future__ import annotations

from typing import Any

from tiphys.addons.accelerators.demo import demo
from tiphys.addons.accelerators.planning import Plan, capacity_changes, node_changes, plan_of
from tiphys.addons.accelerators.types import FleetSpec, Pool
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
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
    node.status.capacity = {"nvidia.com/gpu": "8"}
    assert (node_changes(node, one), capacity_changes(node, one)) == ({}, {})
