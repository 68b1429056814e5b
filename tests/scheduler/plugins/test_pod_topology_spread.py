"""How pods of one kind are spread."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node, pod
from tests.scheduler.builders import (
    feasible_nodes,
    info,
    scores_of,
    snapshot_of,
)
from tiphys.api import core_v1
from tiphys.machinery.selectors import Requirement, Selector
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.configuration import (
    ConfigurationError,
)
from tiphys.scheduler.plugins.pod_topology_spread import PodTopologySpread
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


def spread_over(snapshot: Snapshot, arguments: dict[str, Any] | None = None) -> list[int]:
    """Points of each node, by name, for one more pod of a set."""
    alike = Selector((Requirement("app", "=", ("x",)),))
    plugin = PodTopologySpread(1, arguments, lambda pod: alike)
    one = pod("one")
    one.metadata.uid, one.metadata.labels = "one", {"app": "x"}
    found = plugin.score(snapshot, PodInfo(one), snapshot.alive)
    assert found is not None
    return [int(found[snapshot.row_of[name]]) for name in sorted(snapshot.row_of)]


def test_pods_of_a_set_are_spread_although_they_say_nothing_of_it() -> None:
    snapshot = snapshot_of(node("a"), node("b"))
    there = pod("there")
    there.metadata.uid, there.metadata.labels = "there", {"app": "x"}
    snapshot.put_pod(PodInfo(there), "a")
    first, second = spread_over(snapshot)
    assert first < second
    plugin = PodTopologySpread(1, {"defaultingType": "List"}, lambda pod: Selector())
    assert plugin.score(snapshot, PodInfo(there), snapshot.alive) is None


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"defaultingType": "Other"}, "defaultingType"),
        ({"defaultConstraints": [{"maxSkew": 1}]}, "defaultConstraints"),
        (
            {
                "defaultingType": "List",
                "defaultConstraints": [{"maxSkew": 1, "labelSelector": {"a": 1}}],
            },
            "labelSelector",
        ),
    ],
)
def test_wrong_default_constraints_are_refused(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError, match=field):
        PodTopologySpread(1, arguments)


ZONE = "zone"
HOST = "kubernetes.io/hostname"


def rule(key: str = ZONE, skew: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "maxSkew": skew,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "x"}},
        **more,
    }


def member(name: str = "p", *rules: dict[str, Any], **spec: Any) -> PodInfo:
    return info(name, labels={"app": "x"}, topologySpreadConstraints=list(rules), **spec)


def zones(*names: str) -> Snapshot:
    """A node in each zone, named like it."""
    return snapshot_of(*(node(name, zone=name) for name in names))


@pytest.mark.parametrize(
    ("min_domains", "feasible"),
    [(None, {"a", "b"}), (1, {"a", "b"}), (2, {"a", "b"}), (3, set())],
)
def test_too_few_domains_count_as_an_empty_one(min_domains: int | None, feasible: set[str]) -> None:
    snapshot = zones("a", "b")
    for name in ("a", "b"):
        snapshot.put_pod(member(f"in-{name}"), name)
    pod = member("p", rule(minDomains=min_domains))
    assert feasible_nodes(snapshot, pod) == feasible


@pytest.mark.parametrize(("policy", "feasible"), [("Honor", {"a"}), ("Ignore", set())])
def test_nodes_that_the_pod_cannot_be_on_count_by_policy(policy: str, feasible: set[str]) -> None:
    """Zone b is empty; only if it counts, zone a has one pod too many."""
    snapshot = zones("a", "b")
    snapshot.put_pod(member("there"), "a")
    pod = member("p", rule(nodeAffinityPolicy=policy), nodeSelector={"zone": "a"})
    assert feasible_nodes(snapshot, pod) == feasible


@pytest.mark.parametrize(("policy", "feasible"), [("Honor", {"a"}), ("Ignore", set())])
def test_tainted_nodes_count_by_policy(policy: str, feasible: set[str]) -> None:
    snapshot = zones("a")
    closed = node("b", zone="b")
    closed.spec.taints = [core_v1.Taint(key="k", effect="NoSchedule")]
    snapshot.put_node(closed)
    snapshot.put_pod(member("there"), "a")
    assert feasible_nodes(snapshot, member("p", rule(nodeTaintsPolicy=policy))) == feasible


def test_a_pod_that_its_constraint_does_not_count_adds_nothing() -> None:
    snapshot = zones("a", "b")
    snapshot.put_pod(member("there"), "a")
    stranger = info("p", labels={"app": "y"}, topologySpreadConstraints=[rule()])
    assert feasible_nodes(snapshot, member("p", rule())) == {"b"}
    assert feasible_nodes(snapshot, stranger) == {"a", "b"}
    assert feasible_nodes(snapshot, member("p", rule(skew=2))) == {"a", "b"}


def test_a_greater_skew_weighs_less() -> None:
    """Upstream's scoreForCount: maxSkew - 1 is added to what each domain has."""
    snapshot = zones("a", "b")
    for number in range(4):
        snapshot.put_pod(member(f"there-{number}"), "a")
    plugin = PodTopologySpread(1)
    scores = []
    for skew in (1, 5):
        pod = member("p", rule(skew=skew, whenUnsatisfiable="ScheduleAnyway"))
        raw = plugin.score(snapshot, pod, snapshot.alive)
        scores.append(scores_of(snapshot, raw))
    # log(4) for each of four pods, 6 in sum; with a skew of 5 it is 10 to 4.
    assert scores == [{"a": 0, "b": 100}, {"a": 40, "b": 100}]


@pytest.mark.parametrize(
    ("namespace", "app", "helps"),
    [("default", "x", True), ("default", "y", False), ("other", "x", False)],
)
def test_hints_about_pods_that_are_counted(namespace: str, app: str, helps: bool) -> None:
    other = info("other", namespace=namespace, labels={"app": app})
    pod = member("p", rule())
    for event in (
        ClusterEvent(EventKind.POD_DELETED, pod=other),
        ClusterEvent(EventKind.POD_LABELS, pod=info("other", labels={"app": "z"}), old_pod=other),
    ):
        assert PodTopologySpread().queueing_hint(event, snapshot_of(), pod) is helps


def test_hints_about_nodes() -> None:
    plugin = PodTopologySpread()
    pod = member("p", rule(), rule(HOST))

    def labels(**new: str) -> ClusterEvent:
        old = node("a", zone="a")
        return ClusterEvent(EventKind.NODE_LABELS, node=node("a", **new), old_node=old)

    assert plugin.queueing_hint(labels(zone="b"), snapshot_of(), pod)
    assert not plugin.queueing_hint(labels(zone="a", disk="ssd"), snapshot_of(), pod)
    selective = member("p", rule(), nodeSelector={"disk": "ssd"})
    assert plugin.queueing_hint(labels(zone="a", disk="ssd"), snapshot_of(), selective)
    for added, helps in ((node("b", zone="b"), True), (node("b"), False)):
        event = ClusterEvent(EventKind.NODE_ADDED, node=added)
        assert plugin.queueing_hint(event, snapshot_of(), pod) is helps
    tainted = ClusterEvent(EventKind.NODE_TAINTS, node=node("a"), old_node=node("a"))
    for policy, helps in (("Honor", True), ("Ignore", False)):
        pod = member("p", rule(nodeTaintsPolicy=policy))
        assert plugin.queueing_hint(tainted, snapshot_of(), pod) is helps
