"""What pods want of their nodes: a new one, peace, an end in time, and a place elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.karpenter.builders import pod
from tiphys.addons.karpenter import podstates
from tiphys.addons.karpenter.names import DO_NOT_DISRUPT
from tiphys.api import core_v1, policy_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.machinery import mergepatch

GOING = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
DISRUPTED = [{"key": "karpenter.sh/disrupted", "operator": "Exists"}]
NOW = 1000.0


def but(*changes: Any, node: str = "n") -> core_v1.Pod:
    """A pod that runs on a node, with merge patches."""
    plain = to_builtins(pod("p", node=node))
    for change in changes:
        plain = mergepatch.merge(plain, change)
    made: core_v1.Pod = from_builtins(plain, core_v1.Pod)
    return made


def owned(kind: str) -> dict[str, Any]:
    owner = {"apiVersion": "v1", "kind": kind, "name": "o", "uid": "o"}
    return {"metadata": {"ownerReferences": [owner]}}


def phase(text: str) -> dict[str, Any]:
    return {"status": {"phase": text}}


def scheduled(status: str = "False", reason: str = "Unschedulable") -> dict[str, Any]:
    row = {"type": "PodScheduled", "status": status, "reason": reason}
    return {"status": {"conditions": [row], "phase": "Pending"}}


PEACE = {"metadata": {"annotations": {DO_NOT_DISRUPT: "true"}}}


@pytest.mark.parametrize(
    ("one", "needs"),
    [
        (but(scheduled(), node=""), True),
        (but(scheduled()), False),
        (but(node=""), False),
        (but(scheduled("True"), node=""), False),
        (but(scheduled(reason="SchedulingGated"), node=""), False),
        (but(scheduled(), GOING, node=""), False),
        (but(scheduled(), phase("Failed"), node=""), False),
        (but(scheduled(), {"status": {"nominatedNodeName": "n"}}, node=""), False),
        (but(scheduled(), owned("DaemonSet"), node=""), False),
        (but(scheduled(), owned("Node"), node=""), False),
        (but(scheduled(), owned("ReplicaSet"), node=""), True),
    ],
)
def test_a_pod_that_has_no_node_may_need_one(one: core_v1.Pod, needs: bool) -> None:
    assert podstates.needs_node(one) is needs


@pytest.mark.parametrize(
    ("one", "moves"),
    [
        (but(), True),
        (but(GOING), False),
        (but(GOING, owned("StatefulSet")), True),
        (but(GOING, owned("StatefulSet"), phase("Succeeded")), False),
        (but(GOING, owned("ReplicaSet")), False),
        (but(phase("Succeeded")), False),
        (but(owned("DaemonSet")), False),
        (but(owned("Node")), False),
    ],
)
def test_a_pod_needs_room_elsewhere_when_its_node_goes(one: core_v1.Pod, moves: bool) -> None:
    assert podstates.is_reschedulable(one) is moves


@pytest.mark.parametrize(
    ("one", "peace", "stays", "evictable"),
    [
        (but(), False, False, True),
        (but(PEACE), True, False, False),
        (but({"metadata": {"annotations": {DO_NOT_DISRUPT: "yes"}}}), False, False, True),
        (but(PEACE, GOING), False, False, False),
        (but(PEACE, phase("Succeeded")), False, False, False),
        (but(PEACE, owned("DaemonSet")), True, False, False),
        (but({"spec": {"tolerations": DISRUPTED}}), False, True, False),
        (but({"spec": {"tolerations": [{"operator": "Exists"}]}}), False, True, False),
        (but(owned("Node")), False, True, False),
    ],
)
def test_a_pod_goes_stays_or_wants_peace(
    one: core_v1.Pod, peace: bool, stays: bool, evictable: bool
) -> None:
    assert podstates.asks_for_peace(one) is peace
    assert podstates.stays(one) is stays
    assert podstates.is_evictable(one) is evictable


@pytest.mark.parametrize(
    ("one", "ends", "waited"),
    [
        (but(), None, True),
        (but(), NOW - 60, True),
        (but(), NOW - 61, False),
        (but(phase("Failed")), None, False),
        (but(owned("Node")), None, False),
    ],
)
def test_a_drained_node_waits_for_pods_but_not_for_ever(
    one: core_v1.Pod, ends: float | None, waited: bool
) -> None:
    assert podstates.is_waited_for(one, ends, NOW) is waited


def test_daemons_go_after_others_and_critical_pods_last() -> None:
    critical = {"spec": {"priorityClassName": "system-cluster-critical"}}
    node_critical = {"spec": {"priorityClassName": "system-node-critical"}}
    daemon = owned("DaemonSet")
    a, b, c, d = but(), but(daemon), but(critical), but(node_critical, daemon)
    assert podstates.in_order([d, c, b, a]) == [[a], [b], [c], [d]]
    assert podstates.in_order([c, a]) == [[a], [c]]
    high = but({"spec": {"priorityClassName": "high"}})
    assert podstates.in_order([high, a]) == [[high, a]]


def grace(seconds: int | None) -> core_v1.Pod:
    return but({"spec": {"terminationGracePeriodSeconds": seconds}})


@pytest.mark.parametrize(
    ("one", "ends", "node_ends", "forced"),
    [
        (grace(30), None, None, False),
        (grace(30), None, NOW + 30, False),
        (grace(30), None, NOW + 29, True),
        (grace(None), None, NOW, False),
        (grace(0), None, NOW, False),
        (grace(0), None, NOW - 1, True),
        (grace(30), NOW + 10, NOW + 10, False),
        (grace(30), NOW + 11, NOW + 10, True),
        (grace(30), NOW + 5, NOW + 10, False),
    ],
)
def test_a_pod_is_ended_in_time_to_have_its_grace(
    one: core_v1.Pod, ends: float | None, node_ends: float | None, forced: bool
) -> None:
    assert podstates.must_be_deleted(one, ends, node_ends, NOW) is forced


def budget(
    name: str = "b", allowed: int = 0, selector: Any = None, namespace: str = "default", **spec: Any
) -> policy_v1.PodDisruptionBudget:
    wanted = {"matchLabels": {"app": "p"}} if selector is None else selector
    made: policy_v1.PodDisruptionBudget = from_builtins(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": wanted, **spec},
            "status": {"disruptionsAllowed": allowed},
        },
        policy_v1.PodDisruptionBudget,
    )
    return made


READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
ALWAYS = {"unhealthyPodEvictionPolicy": "AlwaysAllow"}
BLOCKED = "pdb prevents pod evictions (PodDisruptionBudget=default/b)"


@pytest.mark.parametrize(
    ("one", "budgets", "text"),
    [
        (but(), [], ""),
        (but(), [budget()], BLOCKED),
        (but(), [budget(allowed=1)], ""),
        (but(), [budget(namespace="other")], ""),
        (but(), [budget(selector={"matchLabels": {"app": "q"}})], ""),
        (but(), [budget(selector={})], BLOCKED),
        (but(READY), [budget(**ALWAYS)], BLOCKED),
        (but(), [budget(**ALWAYS)], ""),
        (but(), [budget(unhealthyPodEvictionPolicy="IfHealthyBudget")], BLOCKED),
        (but(owned("Node")), [budget()], ""),
        (but(PEACE), [budget()], ""),
        (
            but(),
            [budget(allowed=1), budget("c", allowed=1)],
            "eviction does not support multiple PDBs (PodDisruptionBudget(s)=default/b, default/c)",
        ),
    ],
)
def test_budgets_keep_pods_where_they_are(
    one: core_v1.Pod, budgets: list[policy_v1.PodDisruptionBudget], text: str
) -> None:
    assert podstates.blocking_budget([one], budgets) == text


def cost(told: str = "", priority: int | None = None) -> core_v1.Pod:
    annotations = {"controller.kubernetes.io/pod-deletion-cost": told} if told else {}
    return but({"metadata": {"annotations": annotations}, "spec": {"priority": priority}})


@pytest.mark.parametrize(
    ("one", "costs"),
    [
        (cost(), 1.0),
        (cost(str(2**27)), 2.0),
        (cost(str(-(2**27))), 0.0),
        (cost(priority=2**25), 2.0),
        (cost("much", 2**24), 1.5),
        (cost(str(2**31 - 1)), 10.0),
        (cost(priority=-(2**31)), -10.0),
    ],
)
def test_a_pod_costs_more_or_less_to_move(one: core_v1.Pod, costs: float) -> None:
    """Upstream's `EvictionCost`."""
    assert podstates.eviction_cost(one) == costs
