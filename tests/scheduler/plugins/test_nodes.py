"""The plugins that look at what a node is: its name, labels, taints, ports, and whether it is
cordoned."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node
from tests.scheduler.builders import feasible_nodes, info, scores_of, snapshot_of
from tiphys.api import core_v1
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.plugins.image_locality import with_tag
from tiphys.scheduler.plugins.node_name import NodeName
from tiphys.scheduler.plugins.node_ports import NodePorts
from tiphys.scheduler.plugins.node_unschedulable import NodeUnschedulable
from tiphys.scheduler.plugins.taint_toleration import TaintToleration
from tiphys.scheduler.podinfo import PodInfo


def tainted(name: str, *taints: tuple[str, str]) -> core_v1.Node:
    """`taints` are (key, effect)."""
    made = node(name)
    made.spec.taints = [core_v1.Taint(key=key, effect=effect) for key, effect in taints]
    return made


def cordoned(name: str) -> core_v1.Node:
    made = node(name)
    made.spec.unschedulable = True
    return made


def with_port(number: int, **more: Any) -> PodInfo:
    port = {"containerPort": 80, "hostPort": number, **more}
    return info(containers=[{"name": "c", "image": "i", "ports": [port]}])


def test_a_cordoned_node_takes_pods_that_tolerate_it_alone() -> None:
    snapshot = snapshot_of(node("a"), cordoned("b"))
    toleration = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
    assert feasible_nodes(snapshot, info()) == {"a"}
    assert feasible_nodes(snapshot, info(tolerations=[toleration])) == {"a", "b"}


def test_a_pod_that_names_a_node_can_be_on_no_other() -> None:
    snapshot = snapshot_of(node("a"), node("b"))
    assert feasible_nodes(snapshot, info(nodeName="b")) == {"b"}
    assert feasible_nodes(snapshot, info(nodeName="c")) == set()


@pytest.mark.parametrize(
    ("effect", "feasible"),
    [("NoSchedule", {"b"}), ("NoExecute", {"b"}), ("PreferNoSchedule", {"a", "b"})],
)
def test_taints_keep_pods_off_by_their_effect(effect: str, feasible: set[str]) -> None:
    snapshot = snapshot_of(tainted("a", ("k", effect)), node("b"))
    assert feasible_nodes(snapshot, info()) == feasible


def test_every_taint_must_be_tolerated() -> None:
    snapshot = snapshot_of(tainted("a", ("k", "NoSchedule"), ("l", "NoSchedule")))
    one = [{"key": "k", "operator": "Exists"}]
    assert feasible_nodes(snapshot, info(tolerations=one)) == set()
    assert feasible_nodes(snapshot, info(tolerations=[{"operator": "Exists"}])) == {"a"}


@pytest.mark.parametrize(
    ("toleration", "scores"),
    [
        ({"key": "k", "operator": "Exists", "effect": "NoSchedule"}, {"a": 0, "b": 50, "c": 100}),
        ({"key": "k", "operator": "Exists"}, {"a": 0, "b": 100, "c": 100}),
    ],
)
def test_preferred_taints_are_counted(toleration: Any, scores: dict[str, float]) -> None:
    """A toleration of another effect does not count."""
    soft = "PreferNoSchedule"
    snapshot = snapshot_of(
        tainted("a", ("k", soft), ("l", soft)), tainted("b", ("k", soft)), node("c")
    )
    pod = info(tolerations=[toleration])
    plugin = TaintToleration(1)
    raw = plugin.score(snapshot, pod, snapshot.alive)
    assert scores_of(snapshot, plugin.normalize(raw, snapshot.alive)) == scores


@pytest.mark.parametrize(
    ("other", "clashes"),
    [
        (with_port(80), True),
        (with_port(81), False),
        (with_port(80, protocol="UDP"), False),
        (with_port(80, hostIP="10.0.0.1"), True),
    ],
)
def test_host_ports_clash_by_number_protocol_and_address(other: PodInfo, clashes: bool) -> None:
    snapshot = snapshot_of(node("a"))
    other.uid = "other"
    snapshot.put_pod(other, "a")
    assert feasible_nodes(snapshot, with_port(80)) == (set() if clashes else {"a"})


def test_one_clash_among_several_ports_is_enough() -> None:
    snapshot = snapshot_of(node("a"))
    ports = [{"containerPort": 80, "hostPort": number} for number in (80, 81)]
    snapshot.put_pod(info("two", containers=[{"name": "c", "image": "i", "ports": ports}]), "a")
    other = with_port(90)
    other.uid = "other"
    snapshot.put_pod(other, "a")
    assert feasible_nodes(snapshot, with_port(81)) == set()


def test_hints_about_nodes() -> None:
    snapshot = snapshot_of(node("a"))
    closed = ClusterEvent(EventKind.NODE_TAINTS, node=cordoned("a"), old_node=node("a"))
    opened = ClusterEvent(EventKind.NODE_TAINTS, node=node("a"), old_node=cordoned("a"))
    still_open = ClusterEvent(EventKind.NODE_TAINTS, node=node("a"), old_node=node("a"))
    hints = [
        NodeUnschedulable().queueing_hint(event, snapshot, info())
        for event in (closed, opened, still_open)
    ]
    assert hints == [False, True, False]
    added = ClusterEvent(EventKind.NODE_ADDED, node=node("b"))
    assert NodeName().queueing_hint(added, snapshot, info(nodeName="b"))
    assert not NodeName().queueing_hint(added, snapshot, info(nodeName="c"))
    for number, helps in ((80, True), (81, False)):
        deleted = ClusterEvent(EventKind.POD_DELETED, pod=with_port(number))
        assert NodePorts().queueing_hint(deleted, snapshot, with_port(80)) is helps


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("app", "app:latest"),
        ("app:1", "app:1"),
        ("host:5000/app", "host:5000/app:latest"),
        ("host:5000/app:1", "host:5000/app:1"),
        ("app@sha256:0", "app@sha256:0"),
    ],
)
def test_images_are_compared_with_their_tag(image: str, name: str) -> None:
    assert with_tag(image) == name
