"""What a placement says of a pod that fits nowhere."""

from __future__ import annotations

import numpy as np
import pytest

from tests.builders import node
from tests.scheduler.builders import framework, info, requesting, snapshot_of
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.placement import Placement, fit_error
from tiphys.scheduler.plugins.base import Plugin, Verdict
from tiphys.scheduler.podinfo import PodInfo


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement(), "no nodes available to schedule pods"),
        (Placement(node_count=2, error="broken"), "broken"),
        (Placement(node_count=2), "0/2 nodes are available:"),
        (
            Placement(node_count=3, reasons={"b": 1, "a": 2}),
            "0/3 nodes are available: 1 b, 2 a.",
        ),
        (
            Placement(node_count=1, reasons={"a": 1}, post_filter_message="preemption: no."),
            "0/1 nodes are available: 1 a. preemption: no.",
        ),
        (
            Placement(node_count=1, reasons={"a": 1}, pre_filter_message="no claim"),
            "0/1 nodes are available: no claim.",
        ),
    ],
)
def test_messages_are_upstreams(placement: Placement, message: str) -> None:
    assert placement.message == message


def test_reasons_are_sorted_as_text() -> None:
    assert fit_error(12, {"b": 10, "a": 2}) == "0/12 nodes are available: 10 b, 2 a."


def test_rows_are_unresolvable_by_their_verdicts() -> None:
    snapshot = snapshot_of(node("a"), node("b"), node("c"))
    placement = Placement()
    rejected = snapshot.rows_named(["a", "b"])
    for verdict in (
        Verdict(~rejected, "resolvable"),
        Verdict(~rejected, "partly", snapshot.rows_named(["b", "c"])),
    ):
        placement.reject(Plugin(), verdict, rejected, 2)
    assert {snapshot.names[row] for row in np.flatnonzero(placement.unresolvable_rows)} == {"b"}
    resolvable = np.flatnonzero(placement.resolvable_rows(snapshot))
    assert {snapshot.names[row] for row in resolvable} == {"a", "c"}
    placement.reject(Plugin(), Verdict(~rejected, "all", True), rejected, 2)
    resolvable = np.flatnonzero(placement.resolvable_rows(snapshot))
    assert {snapshot.names[row] for row in resolvable} == {"c"}


def test_nothing_is_resolvable_when_pre_filter_rejects() -> None:
    snapshot = snapshot_of(node("a"))
    assert Placement().resolvable_rows(snapshot).any()
    assert not Placement(pre_filter_message="no").resolvable_rows(snapshot).any()


def test_a_copy_has_reasons_of_its_own() -> None:
    first = Placement(reasons={"a": 1})
    first.copy().reasons["b"] = 1
    assert first.reasons == {"a": 1}


def test_only_the_plugins_that_rejected_the_pod_give_hints() -> None:
    snapshot = snapshot_of(node("a"))
    pod = info(nodeSelector={"disk": "ssd"})
    hint = framework(snapshot).place(pod).queueing_hint(snapshot, pod)
    assert hint is not None
    assert hint(ClusterEvent(EventKind.NODE_ADDED, node=node("b", disk="ssd")))
    assert not hint(ClusterEvent(EventKind.NODE_ADDED, node=node("b")))
    assert not hint(ClusterEvent(EventKind.POD_DELETED, pod=info("other")))
    assert Placement().queueing_hint(snapshot, pod) is None


def test_a_nominated_node_is_taken_only_if_the_pod_fits() -> None:
    snapshot = snapshot_of(node("empty", cpu="8"), node("used", cpu="8"), node("small", cpu="1"))
    snapshot.put_pod(PodInfo(requesting("there", {"cpu": "4"})), "used")
    pod = PodInfo(requesting("p", {"cpu": "2"}))
    scheduling = framework(snapshot)
    assert scheduling.place(pod).node == "empty"
    assert scheduling.place(pod, nominated_node="used").node == "used"
    assert scheduling.place(pod, nominated_node="small").node == "empty"
    assert scheduling.place(pod, nominated_node="deleted").node == "empty"
