"""Who has to go so that a more important pod fits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node, pod
from tests.scheduler.builders import framework, requesting
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.api.policy_v1 import PodDisruptionBudget
from tiphys.scheduler import preemption
from tiphys.scheduler.nominator import Nominator
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


def info(name: str, cpu: int, priority: int, **meta: Any) -> PodInfo:
    made = requesting(name, {"cpu": f"{cpu}m"})
    made.metadata.name = made.metadata.uid = name
    made.metadata.labels = meta
    made.spec.priority = priority
    return PodInfo(made)


def world(**running: list[PodInfo]) -> Snapshot:
    snapshot = Snapshot()
    for name, pods in running.items():
        snapshot.put_node(node(name, "2"))
        for one in pods:
            snapshot.put_pod(one, name)
    return snapshot


def outcome(
    snapshot: Snapshot, pod: PodInfo, budgets: list[PodDisruptionBudget] | None = None
) -> preemption.PreemptionResult:
    scheduling = framework(snapshot)
    placement = scheduling.evaluate(pod).placement
    result = preemption.PreemptionResult(node_count=placement.node_count)
    preemptor = preemption.Preemptor(snapshot, scheduling)
    for _ in preemptor.dry_run(pod, placement, budgets or [], result):
        pass
    return result


def victims(
    snapshot: Snapshot, pod: PodInfo, budgets: list[PodDisruptionBudget] | None = None
) -> tuple[str, list[str]]:
    before = snapshot.requested.copy()
    found = outcome(snapshot, pod, budgets).best
    assert (snapshot.requested == before).all(), "the snapshot is as it was"
    return (found.node_name, sorted(v.uid for v in found.victims)) if found else ("", [])


def test_as_few_as_possible_go_and_the_least_important() -> None:
    snapshot = world(a=[info("x", 1000, 1), info("y", 500, 2), info("z", 500, 3)])
    assert victims(snapshot, info("new", 1000, 10)) == ("a", ["x"])
    assert victims(snapshot, info("new", 2000, 10)) == ("a", ["x", "y", "z"])


def test_the_node_whose_victims_matter_least_is_chosen() -> None:
    snapshot = world(a=[info("x", 2000, 5)], b=[info("y", 2000, 3)], c=[info("z", 2000, 50)])
    assert victims(snapshot, info("new", 1000, 10)) == ("b", ["y"])


def test_nobody_of_equal_importance_goes() -> None:
    snapshot = world(a=[info("x", 2000, 10)])
    found = outcome(snapshot, info("new", 1000, 10))
    assert found.best is None
    assert (
        found.message
        == "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )


def test_a_taint_cannot_be_preempted() -> None:
    snapshot = world(a=[info("x", 2000, 1)])
    tainted = node("a", "2")
    tainted.spec.taints = [core_v1.Taint(key="k", effect="NoSchedule")]
    snapshot.put_node(tainted)
    found = outcome(snapshot, info("new", 1000, 10))
    assert (
        found.message
        == "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )


def test_budgets_are_kept_where_they_can_be() -> None:
    budget = PodDisruptionBudget(metadata=ObjectMeta(name="b", namespace="default"))
    budget.spec.selector = LabelSelector(match_labels={"app": "kept"})
    snapshot = world(a=[info("x", 2000, 1, app="kept")], b=[info("y", 2000, 2)])
    assert victims(snapshot, info("new", 1000, 10), [budget]) == ("b", ["y"])


def test_the_message_tells_apart_what_was_tried_and_what_is_hopeless() -> None:
    """One node has nobody less important, one is too small for ever, on one a pod as important
    stays."""
    snapshot = world(a=[info("x", 2000, 10)], b=[], c=[info("y", 1000, 1), info("z", 1500, 10)])
    snapshot.put_node(node("b", "1"))
    found = outcome(snapshot, info("new", 1500, 10))
    assert found.message == (
        "preemption: 0/3 nodes are available: 1 Insufficient cpu, 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )


def test_a_pod_that_can_be_nowhere_makes_nobody_go() -> None:
    snapshot = world(a=[info("x", 2000, 1)])
    lost = info("new", 1000, 10)
    lost.pod.spec.volumes = from_builtins(
        [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}], list[core_v1.Volume]
    )
    found = outcome(snapshot, lost)
    assert not found.candidates
    assert (
        found.message
        == "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )


def test_budgets_that_are_about_nobody_are_not_broken() -> None:
    empty = PodDisruptionBudget(metadata=ObjectMeta(name="b", namespace="default"))
    empty.spec.selector = LabelSelector()
    already = PodDisruptionBudget(metadata=ObjectMeta(name="d", namespace="default"))
    already.spec.selector = LabelSelector(match_labels={"app": "kept"})
    already.status.disrupted_pods = {"x": "2026-01-01T00:00:00Z"}
    snapshot = world(a=[info("x", 2000, 1, app="kept")])
    found = outcome(snapshot, info("new", 1000, 10), [empty, already]).best
    assert found is not None and found.pdb_violations == 0


ANTI = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "x"}},
            }
        ]
    }
}
WITH = {
    "podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "nobody"}},
            }
        ]
    }
}
SPREAD = {
    "maxSkew": 1,
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": {"app": "x"}},
}


@pytest.mark.parametrize(
    ("spec", "helps"),
    [
        ({"nodeSelector": {"no": "where"}}, False),
        (
            {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "3"}}}]},
            False,
        ),
        (
            {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]},
            True,
        ),
        (
            {
                "containers": [
                    {"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]}
                ]
            },
            True,
        ),
        ({"affinity": ANTI}, True),
        ({"affinity": WITH}, False),
        ({"topologySpreadConstraints": [SPREAD | {"topologyKey": "missing"}]}, False),
        (
            {
                "labels": {"app": "x"},
                "topologySpreadConstraints": [SPREAD | {"topologyKey": "zone"}],
            },
            True,
        ),
    ],
    ids=["labels", "too large", "full", "ports", "anti-affinity", "affinity", "no label", "skew"],
)
def test_which_refusals_others_can_mend(spec: dict[str, Any], helps: bool) -> None:
    """As upstream's plugins tell Unschedulable from UnschedulableAndUnresolvable."""
    snapshot = Snapshot()
    snapshot.put_node(node("a", "2", zone="1"))
    snapshot.put_node(node("empty", "0", zone="2"))
    there = pod(
        "there",
        labels={"app": "x"},
        containers=[
            {
                "name": "c",
                "image": "i",
                "ports": [{"containerPort": 80, "hostPort": 80}],
                "resources": {"requests": {"cpu": "2"}},
            }
        ],
    )
    snapshot.put_pod(PodInfo(there), "a")
    wanted = pod("wanted", **({"containers": [{"name": "c", "image": "i"}]} | spec))
    placement, feasible, _ = framework(snapshot).evaluate(PodInfo(wanted))
    assert not feasible[snapshot.row_of["a"]]
    assert bool(placement.resolvable_rows(snapshot)[snapshot.row_of["a"]]) == helps


def started(name: str, priority: int, at: str, cpu: int = 2000) -> PodInfo:
    pod = info(name, cpu, priority)
    pod.pod.status.start_time = at
    return pod


def budget_for(app: str, allowed: int = 0, namespace: str = "default") -> PodDisruptionBudget:
    budget = PodDisruptionBudget(metadata=ObjectMeta(name="b", namespace=namespace))
    budget.spec.selector = LabelSelector(match_labels={"app": app})
    budget.status.disruptions_allowed = allowed
    return budget


EARLY = "2026-01-01T00:00:00Z"
LATE = "2026-01-02T00:00:00Z"


def candidate(violations: int, *victims: PodInfo) -> preemption.Candidate:
    return preemption.Candidate("n", list(victims), violations)


@pytest.mark.parametrize(
    ("cheaper", "dearer"),
    [
        (candidate(0, started("x", 9, EARLY)), candidate(1, started("y", 1, EARLY))),
        (candidate(0, started("x", 1, EARLY)), candidate(0, started("y", 2, EARLY))),
        (
            candidate(0, started("x", 5, EARLY), started("v", 1, EARLY)),
            candidate(0, started("y", 5, EARLY), started("w", 2, EARLY)),
        ),
        (
            candidate(0, started("x", 5, EARLY)),
            candidate(0, started("y", 5, EARLY), started("w", -5, EARLY)),
        ),
        (candidate(0, started("x", 5, LATE)), candidate(0, started("y", 5, EARLY))),
        (candidate(0, started("x", 5, "")), candidate(0, started("y", 5, LATE))),
    ],
    ids=["budgets", "highest", "sum", "number", "start", "not started"],
)
def test_the_order_of_costs(cheaper: preemption.Candidate, dearer: preemption.Candidate) -> None:
    assert cheaper.cost() < dearer.cost()


def test_of_equal_priority_the_pod_that_started_first_is_reprieved() -> None:
    young = started("young", 1, LATE, 1000)
    snapshot = world(a=[young, started("old", 1, EARLY, 1000)])
    assert victims(snapshot, info("new", 1000, 10)) == ("a", ["young"])


def test_a_budget_allows_so_many_disruptions_of_its_namespace() -> None:
    pods = [info("x", 1000, 1, app="kept"), info("y", 1000, 1, app="kept")]
    for budget, violations in (
        (budget_for("kept", 2), 0),
        (budget_for("kept", 1), 1),
        (budget_for("kept", 0), 2),
        (budget_for("kept", 0, namespace="other"), 0),
        (budget_for("other", 0), 0),
    ):
        best = outcome(world(a=pods), info("new", 2000, 10), [budget]).best
        assert best is not None and best.pdb_violations == violations


def test_pods_whose_disruption_violates_a_budget_are_reprieved_first() -> None:
    """Although the other one has the higher priority."""
    snapshot = world(a=[info("kept", 1000, 1, app="kept"), info("other", 1000, 5)])
    assert victims(snapshot, info("new", 1000, 10), [budget_for("kept")]) == ("a", ["other"])


def test_room_of_nominated_pods_is_no_victim() -> None:
    snapshot = world(a=[])
    Nominator(snapshot).nominate(info("nominated", 2000, 1), "a")
    assert victims(snapshot, info("new", 1000, 10)) == ("", [])


@pytest.mark.parametrize(
    ("deleted", "status", "reason", "terminating"),
    [
        (True, "True", "PreemptionByScheduler", True),
        (False, "True", "PreemptionByScheduler", False),
        (True, "False", "PreemptionByScheduler", False),
        (True, "True", "EvictionByEvictionAPI", False),
    ],
)
def test_who_is_a_terminating_victim(
    deleted: bool, status: str, reason: str, terminating: bool
) -> None:
    pod = info("p", 1, 1)
    pod.pod.metadata.deletion_timestamp = EARLY if deleted else None
    condition = core_v1.PodCondition(type="DisruptionTarget", status=status, reason=reason)
    pod.pod.status.conditions = [condition]
    assert preemption.is_terminating_victim(pod) is terminating
    pod.pod.status.conditions = []
    assert not preemption.is_terminating_victim(pod)
