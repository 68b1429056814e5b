"""Who has to go so that a more important pod fits."""

from __future__ import annotations

from typing import Any

from tests.builders import node
from tests.scheduler.test_placement import asking
from tiphys.api import core_v1
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.api.policy_v1 import PodDisruptionBudget
from tiphys.scheduler import preemption
from tiphys.scheduler.placement import Placer
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


def info(name: str, cpu: int, priority: int, **meta: Any) -> PodInfo:
    made = asking(cpu)
    made.metadata.name = made.metadata.uid = name
    made.metadata.labels = meta
    made.spec.priority = priority
    return PodInfo(made)


def world(**running: list[PodInfo]) -> Snapshot:
    view = Snapshot()
    for name, pods in running.items():
        view.put_node(node(name, "2"))
        for pod in pods:
            view.put_pod(pod, name)
    return view


def victims(view: Snapshot, pod: PodInfo, budgets: list[PodDisruptionBudget] | None = None) -> tuple[str, list[str]]:
    before = view.requested.copy()
    found = preemption.find(view, Placer(view), pod, budgets or []).eviction
    assert (view.requested == before).all(), "the view is as it was"
    return (found.node, sorted(v.uid for v in found.victims)) if found else ("", [])


def test_as_few_as_possible_go_and_the_least_important() -> None:
    view = world(a=[info("x", 1000, 1), info("y", 500, 2), info("z", 500, 3)])
    assert victims(view, info("new", 1000, 10)) == ("a", ["x"])
    assert victims(view, info("new", 2000, 10)) == ("a", ["x", "y", "z"])


def test_the_node_whose_victims_matter_least_is_chosen() -> None:
    view = world(a=[info("x", 2000, 5)], b=[info("y", 2000, 3)], c=[info("z", 2000, 50)])
    assert victims(view, info("new", 1000, 10)) == ("b", ["y"])


def test_nobody_of_equal_importance_goes() -> None:
    view = world(a=[info("x", 2000, 10)])
    outcome = preemption.find(view, Placer(view), info("new", 1000, 10), [])
    assert outcome.eviction is None
    assert outcome.message == "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."


def test_a_taint_cannot_be_preempted() -> None:
    view = world(a=[info("x", 2000, 1)])
    tainted = node("a", "2")
    tainted.spec.taints = [core_v1.Taint(key="k", effect="NoSchedule")]
    view.put_node(tainted)
    outcome = preemption.find(view, Placer(view), info("new", 1000, 10), [])
    assert outcome.message == "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."


def test_budgets_are_kept_where_they_can_be() -> None:
    budget = PodDisruptionBudget(metadata=ObjectMeta(name="b", namespace="default"))
    budget.spec.selector = LabelSelector(match_labels={"app": "kept"})
    view = world(a=[info("x", 2000, 1, app="kept")], b=[info("y", 2000, 2)])
    assert victims(view, info("new", 1000, 10), [budget]) == ("b", ["y"])
