"""Which events a change of a node or a pod means."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.builders import node
from tests.scheduler.builders import requesting
from tiphys.api import core_v1
from tiphys.scheduler.cluster_events import EventKind, node_events, pod_events

Change = Callable[[core_v1.Node], None]


def on_node(phase: str = "Running", node_name: str = "a") -> core_v1.Pod:
    pod = requesting("p", {"cpu": "1"}, nodeName=node_name)
    pod.status.phase = phase
    return pod


def cordon(changed: core_v1.Node) -> None:
    changed.spec.unschedulable = True


def taint(changed: core_v1.Node) -> None:
    changed.spec.taints = [core_v1.Taint(key="k", effect="NoSchedule")]


def label(changed: core_v1.Node) -> None:
    changed.metadata.labels["k"] = "v"


def shrink(changed: core_v1.Node) -> None:
    changed.status.allocatable = {"cpu": "1"}  # type: ignore[dict-item]


def report(changed: core_v1.Node) -> None:
    changed.status.node_info.kubelet_version = "v1"


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (cordon, [EventKind.NODE_TAINTS]),
        (taint, [EventKind.NODE_TAINTS]),
        (label, [EventKind.NODE_LABELS]),
        (shrink, [EventKind.NODE_ALLOCATABLE]),
        (report, []),
    ],
)
def test_a_change_of_a_node(change: Change, kinds: list[EventKind]) -> None:
    changed = copy.deepcopy(node("a"))
    change(changed)
    events = list(node_events(node("a"), changed))
    assert [event.kind for event in events] == kinds
    assert all(event.node is changed and event.old_node is not None for event in events)


def test_nodes_come_and_go() -> None:
    assert [e.kind for e in node_events(None, node("a"))] == [EventKind.NODE_ADDED]
    assert [e.kind for e in node_events(node("a"), None)] == [EventKind.NODE_DELETED]


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        (None, on_node(), [EventKind.POD_ASSIGNED]),
        (on_node(node_name=""), on_node(), [EventKind.POD_ASSIGNED]),
        (None, on_node(node_name=""), []),
        (on_node(), on_node(), []),
        (on_node(), None, [EventKind.POD_DELETED]),
        (on_node(), on_node("Succeeded"), [EventKind.POD_DELETED]),
        (on_node("Failed"), on_node("Failed"), []),
        (on_node("Failed"), None, []),
        (on_node(node_name=""), None, []),
        (None, on_node("Succeeded"), [EventKind.POD_DELETED]),
    ],
)
def test_a_change_of_a_pod(
    old: core_v1.Pod | None, new: core_v1.Pod | None, kinds: list[EventKind]
) -> None:
    assert [event.kind for event in pod_events(old, new)] == kinds


def test_labels_and_requests_of_a_pod() -> None:
    labelled = on_node()
    labelled.metadata.labels = {"k": "v"}
    assert [e.kind for e in pod_events(on_node(), labelled)] == [EventKind.POD_LABELS]
    resized = on_node()
    resized.spec.containers[0].resources.requests = {"cpu": "2"}  # type: ignore[dict-item]
    assert [e.kind for e in pod_events(on_node(), resized)] == [EventKind.POD_REQUESTS]
