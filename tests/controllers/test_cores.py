"""The other controllers' cores."""

from __future__ import annotations

import pytest

from tests.builders import node, pod
from tiphys.api import core_v1
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.controllers import endpoints, nodelifecycle, podgc, replicaset
from tiphys.controllers.garbage import Graph
from tiphys.controllers.nodelifecycle import eviction_rate, wanted_taints
from tiphys.controllers.pods import FailureBackoff, refusal_wait
from tiphys.machinery import timestamps


def test_pods_that_are_worth_least_are_deleted_first() -> None:
    running, pending, costly = (
        pod("running", nodeName="n"),
        pod("pending"),
        pod("costly", nodeName="n"),
    )
    for one in (running, costly):
        one.status.phase = "Running"
        one.status.conditions = [
            core_v1.PodCondition(
                type="Ready", status="True", last_transition_time="2026-01-01T00:00:00Z"
            )
        ]
    costly.metadata.annotations["controller.kubernetes.io/pod-deletion-cost"] = "100"
    made = replicaset.plan(1, [costly, running, pending], 0.0)
    assert [p.metadata.name for p in made.delete] == ["pending", "running"]
    assert replicaset.plan(5, [running], 0.0).create == 4


def test_target_ports_are_resolved_by_name_for_each_pod() -> None:
    service = core_v1.Service(metadata=ObjectMeta(name="s", namespace="default"))
    service.spec.ports = [
        core_v1.ServicePort(name="http", port=80, target_port="web", protocol="TCP")
    ]
    pods = []
    for name, number in (("a", 8080), ("b", 9090)):
        one = pod(
            name,
            containers=[
                {
                    "name": "c",
                    "image": "i",
                    "ports": [{"name": "web", "containerPort": number, "protocol": "TCP"}],
                }
            ],
        )
        one.status.pod_ip = f"10.0.0.{number % 7}"
        pods.append(one)
    made = endpoints.desired_slices(service, pods, {})
    assert sorted(ports[0].port for ports, _ in made) == [8080, 9090]
    assert all(not e.conditions.ready for _, group in made for e in group)


def test_a_silent_node_is_tainted_and_its_pods_leave_when_their_patience_ends() -> None:
    silent = node("n")
    silent.status.conditions = [core_v1.NodeCondition(type="Ready", status="Unknown")]
    taints = nodelifecycle.retaint(silent, "2026-01-01T00:00:00Z")
    assert [(t.key, t.effect) for t in taints or []] == [
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    ]
    patient = pod(
        tolerations=[
            {
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }
        ]
    )
    start = nodelifecycle.timestamps.parse("2026-01-01T00:00:00Z")
    assert nodelifecycle.eviction_time(patient, taints or [], start) == start + 300
    assert nodelifecycle.eviction_time(pod(), taints or [], start) == start
    assert (
        nodelifecycle.eviction_time(pod(tolerations=[{"operator": "Exists"}]), taints or [], start)
        is None
    )


def test_a_taint_without_a_time_counts_from_when_it_was_seen() -> None:
    patient = pod(
        tolerations=[
            {"key": "bad", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 6}
        ]
    )
    taint = core_v1.Taint(key="bad", value="y", effect="NoExecute")
    seen = {("bad", "y"): 100.0}
    assert nodelifecycle.eviction_time(patient, [taint], 105.0, seen) == 106.0
    patient.metadata.creation_timestamp = timestamps.rfc3339(200)  # it came later
    assert nodelifecycle.eviction_time(patient, [taint], 205.0, seen) == 206.0


def test_pods_of_missing_nodes_go_after_the_quarantine() -> None:
    lost, missing = pod("lost", nodeName="gone"), dict[str, float]()
    assert podgc.collect([lost], {}, missing, 0.0) == []
    assert podgc.collect([lost], {}, missing, 41.0) == [podgc.Lost(lost, orphaned=True)]
    assert podgc.collect([lost], {"gone": node("gone")}, missing, 99.0) == [] and missing == {}


def test_pods_on_their_way_out_do_not_wait_for_a_node_out_of_service() -> None:
    leaving, silent = pod("leaving", nodeName="n"), node("n")
    leaving.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    assert podgc.collect([leaving], {"n": silent}, {}, 0.0) == []
    silent.spec.taints = [core_v1.Taint(key=podgc.OUT_OF_SERVICE, effect="NoExecute")]
    assert podgc.collect([leaving, pod("stays", nodeName="n")], {"n": silent}, {}, 0.0) == [
        podgc.Lost(leaving)
    ]
    silent.status.conditions = [core_v1.NodeCondition(type="Ready", status="True")]
    assert podgc.collect([leaving], {"n": silent}, {}, 0.0) == []


def test_the_graph_names_what_to_look_at_when_an_owner_goes() -> None:
    graph, resource = Graph(), resource_of(core_v1.ConfigMap)
    owner = ObjectMeta(name="o", namespace="d", uid="1")
    child = ObjectMeta(
        name="c",
        namespace="d",
        uid="2",
        owner_references=[OwnerReference(uid="1", name="o", kind="ConfigMap", api_version="v1")],
    )
    assert graph.put(resource, owner) == set()
    assert graph.put(resource, child) == {"2"}
    assert graph.remove(owner) == {"2"}
    graph.remove(child)
    assert graph.nodes == {}


def _nodes(*ready: str, zone: str = "a") -> list[core_v1.Node]:
    made = []
    for number, state in enumerate(ready):
        made.append(node(f"{zone}{number}"))
        made[-1].metadata.labels["topology.kubernetes.io/zone"] = zone
        made[-1].status.conditions = [core_v1.NodeCondition(type="Ready", status=state)]
    return made


def test_a_zone_is_emptied_as_slowly_as_it_is_unwell() -> None:
    well, half = _nodes("True", "True", "Unknown"), _nodes("True", "Unknown", "Unknown", "Unknown")
    silent, other = _nodes("Unknown"), _nodes("True", zone="b")
    assert eviction_rate(well, other) == 0.1
    assert eviction_rate(half, other) == 0.0
    assert eviction_rate(half * 20, other) == 0.01
    assert eviction_rate(silent, []) == 0.0, "when nobody is heard, it may be us"
    assert eviction_rate(silent, other) == 0.1
    assert ("node.kubernetes.io/unreachable", "NoExecute") not in wanted_taints(
        silent[0], emptying=False
    )


def test_failures_in_one_place_wait_longer_each_time() -> None:
    now = 1000.0
    backoff = FailureBackoff(lambda: now, 10.0)
    waited = []
    for _ in range(6):
        waited.append(wait := backoff.wait("set", "node"))
        if wait:
            now += wait
            assert backoff.wait("set", "node") == 0.0
    assert waited == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert backoff.wait("set", "other") == 0.0
    now += 3600
    assert backoff.wait("set", "node") == 0.0
    assert backoff.wait("set", "node") == 1.0, "it began anew"


def test_pods_that_nodes_refuse_are_not_made_again_at_once() -> None:
    def refused(reason: str) -> core_v1.Pod:
        made = pod()
        made.status.phase, made.status.reason = "Failed", reason
        made.status.start_time = "1970-01-01T00:01:40Z"
        return made

    assert refusal_wait([refused("Evicted")], 100.0) == 0.0
    assert refusal_wait([refused("OutOfcpu")], 100.0) == pytest.approx(0.2)
    assert refusal_wait([refused("NodePorts")] * 4, 100.0) == pytest.approx(1.6)
    assert refusal_wait([refused("NodePorts")] * 400, 100.0) == 30.0
    assert refusal_wait([refused("NodePorts")] * 4, 102.0) == 0.0
