"""One step of a daemon set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node
from tests.controllers.builders import NOW, ago, ended, leaving, running
from tiphys.api import core_v1
from tiphys.api.apps_v1 import DaemonSet, DaemonSetSpec
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers import daemons

LABEL = "controller-revision-hash"
K8S = "node.kubernetes.io/"
NODES = [node("a"), node("b"), node("c")]


def daemon(unavailable: int | str = 1, surge: int | str = 0, **spec: Any) -> DaemonSet:
    rolling = {"maxUnavailable": unavailable, "maxSurge": surge}
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": rolling})
    meta = ObjectMeta(name="d", namespace="default")
    return DaemonSet(metadata=meta, spec=from_builtins(spec, DaemonSetSpec))


def on(where: str, revision: str = "new", ready: bool = True, age: float = 0) -> core_v1.Pod:
    made = running(f"{where}-{revision}", ready, labels={LABEL: revision}, nodeName=where)
    made.metadata.creation_timestamp = ago(age)
    return made


def tainted(name: str, key: str, effect: str) -> core_v1.Node:
    made = node(name)
    made.spec.taints = [core_v1.Taint(key=key, effect=effect)]
    return made


def step(
    owner: DaemonSet, nodes: list[core_v1.Node], *pods: core_v1.Pod
) -> tuple[list[str], list[str]]:
    """Where pods are created, and which are deleted."""
    todo = daemons.plan(owner, nodes, list(pods), "new", NOW)
    return todo.create, [pod.metadata.name for pod in todo.delete]


@pytest.mark.parametrize(
    ("spec", "where", "fit"),
    [
        ({}, node("n"), (True, True)),
        ({"nodeName": "n"}, node("n"), (True, True)),
        ({"nodeName": "other"}, node("n"), (False, False)),
        ({"nodeSelector": {"disk": "ssd"}}, node("n"), (False, False)),
        ({"nodeSelector": {"disk": "ssd"}}, node("n", disk="ssd"), (True, True)),
        ({}, tainted("n", "mine", "NoSchedule"), (False, True)),
        ({}, tainted("n", "mine", "NoExecute"), (False, False)),
        ({}, tainted("n", "mine", "PreferNoSchedule"), (True, True)),
        ({"tolerations": [{"operator": "Exists"}]}, tainted("n", "x", "NoExecute"), (True, True)),
        ({}, tainted("n", K8S + "unreachable", "NoExecute"), (True, True)),
        ({}, tainted("n", K8S + "disk-pressure", "NoSchedule"), (True, True)),
        ({}, tainted("n", K8S + "network-unavailable", "NoSchedule"), (False, True)),
        (
            {"hostNetwork": True},
            tainted("n", K8S + "network-unavailable", "NoSchedule"),
            (True, True),
        ),
    ],
)
def test_a_daemon_runs_where_it_fits(
    spec: dict[str, Any], where: core_v1.Node, fit: tuple[bool, bool]
) -> None:
    assert daemons.fit_of(from_builtins(spec, core_v1.PodSpec), where) == fit


def test_every_node_that_fits_has_a_pod() -> None:
    nodes = [node("a"), node("b"), tainted("c", "x", "NoSchedule")]
    gone = on("gone")
    assert step(daemon(), nodes, on("a"), gone) == (["b"], ["gone-new"])
    assert step(daemon(), [tainted("a", "x", "NoExecute")], on("a")) == ([], ["a-new"])
    assert step(daemon(), [tainted("a", "x", "NoSchedule")], on("a")) == ([], [])


def test_of_several_pods_on_a_node_the_oldest_stays() -> None:
    pods = [on("a", age=1), on("a", "old", age=3)]
    owner = daemon(updateStrategy={"type": "OnDelete"})
    assert step(owner, NODES[:1], *pods) == ([], ["a-new"])


@pytest.mark.parametrize(
    ("phase", "failed", "deleted"), [("Failed", ["x"], []), ("Succeeded", [], ["x"])]
)
def test_what_has_finished_gives_its_place_up(
    phase: str, failed: list[str], deleted: list[str]
) -> None:
    finished = ended("x", phase)
    finished.spec.node_name = "a"
    todo = daemons.plan(daemon(), NODES[:1], [finished], "new", NOW)
    assert [pod.metadata.name for pod in todo.failed] == failed
    assert [pod.metadata.name for pod in todo.delete] == deleted
    again = daemons.plan(daemon(), NODES[:1], [leaving(finished)], "new", NOW)
    assert not again.failed and not again.delete and not again.create


@pytest.mark.parametrize(
    ("unavailable", "pods", "deleted"),
    [
        (1, [on("a", "old"), on("b", "old"), on("c", "old")], ["a-old"]),
        (2, [on("a", "old"), on("b", "old"), on("c", "old")], ["a-old", "b-old"]),
        ("34%", [on("a", "old"), on("b", "old"), on("c", "old")], ["a-old", "b-old"]),
        (0, [on("a", "old"), on("b", "old"), on("c", "old")], ["a-old"]),
        (1, [on("a", "old"), on("b", "old"), on("c", ready=False)], []),
        (1, [on("a", "old"), on("b", "old", ready=False), on("c")], ["b-old"]),
        (1, [on("a", "old"), leaving(on("b", "old")), on("c")], []),
        (1, [on("a"), on("b"), on("c")], []),
    ],
)
def test_old_pods_are_replaced_within_the_bounds(
    unavailable: int | str, pods: list[core_v1.Pod], deleted: list[str]
) -> None:
    assert step(daemon(unavailable), NODES, *pods) == ([], deleted)


@pytest.mark.parametrize(
    ("pods", "created", "deleted"),
    [
        ([on("a", "old"), on("b", "old"), on("c", "old")], ["a", "b"], []),
        ([on("a", "old"), on("a", ready=False), on("b", "old"), on("c", "old")], ["b"], []),
        ([on("a", "old"), on("a"), on("b"), on("c")], [], ["a-old"]),
        (
            [*(on(n, "old") for n in "abc"), *(on(n, ready=False) for n in "ab")],
            [],
            [],
        ),
    ],
)
def test_with_a_surge_the_new_pod_comes_first(
    pods: list[core_v1.Pod], created: list[str], deleted: list[str]
) -> None:
    assert step(daemon(0, 2), NODES, *pods) == (created, deleted)


def test_on_delete_nothing_rolls_by_itself() -> None:
    owner = daemon(updateStrategy={"type": "OnDelete"})
    assert step(owner, NODES[:1], on("a", "old")) == ([], [])


def test_a_set_that_is_deleted_does_nothing_more() -> None:
    owner = daemon()
    owner.metadata.deletion_timestamp = "x"
    assert step(owner, NODES) == ([], [])


def test_the_status_counts_nodes() -> None:
    nodes = [*NODES, tainted("d", "x", "NoSchedule"), tainted("e", "x", "NoSchedule")]
    owner = daemon(minReadySeconds=30)
    young = on("c")
    young.status.conditions[0].last_transition_time = ago(10)
    pods = [on("a", "old"), on("b", ready=False), young, on("d")]
    todo = daemons.plan(owner, nodes, pods, "new", NOW)
    status = todo.status
    assert (status.desired_number_scheduled, status.current_number_scheduled) == (3, 3)
    assert (status.number_ready, status.number_available, status.number_unavailable) == (2, 1, 2)
    assert (status.updated_number_scheduled, status.number_misscheduled) == (2, 1)
    assert todo.wake == 20


def test_a_pod_has_one_node_to_go_to() -> None:
    requirement = {"key": "disk", "operator": "Exists"}
    terms = [{"matchExpressions": [requirement]}, {"matchExpressions": []}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    plain = daemons.new_pod(daemon(), "n1", "r")
    picky = daemons.new_pod(
        daemon(template={"spec": {"containers": [], "affinity": {"nodeAffinity": required}}}),
        "n1",
        "r",
    )
    for pod in (plain, picky):
        assert daemons.node_of(pod) == "n1" and pod.metadata.labels[LABEL] == "r"
    assert daemons.node_of(running("x")) == "" and daemons.node_of(on("a")) == "a"
