"""With whom pods are put: namespaces by their labels, several terms at once, weights of what is
there already."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node, pod
from tests.scheduler.builders import framework, scores_of
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.configuration import ConfigurationError
from tiphys.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


def info(
    name: str, namespace: str = "default", labels: dict[str, str] | None = None, **spec: Any
) -> PodInfo:
    made = pod(name, **spec)
    made.metadata.uid, made.metadata.namespace, made.metadata.labels = name, namespace, labels or {}
    return PodInfo(made)


def term(labels: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": labels},
        **more,
    }


def near(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def away(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def cluster(*placed: tuple[PodInfo, str]) -> Snapshot:
    snapshot = Snapshot()
    for name in ("n1", "n2", "n3"):
        snapshot.put_node(node(name))
    snapshot.namespaces = {"default": {}, "team-a": {"team": "a"}, "team-b": {"team": "b"}}
    for one, where in placed:
        snapshot.put_pod(one, where)
    return snapshot


def fitting(snapshot: Snapshot, one: PodInfo) -> set[str]:
    _, rows, _ = framework(snapshot).evaluate(one)
    return {name for name, row in snapshot.row_of.items() if rows[row]}


def test_a_namespace_selector_chooses_namespaces_by_their_labels() -> None:
    snapshot = cluster(
        (info("a", "team-a", {"app": "db"}), "n1"), (info("b", "team-b", {"app": "db"}), "n2")
    )
    wanted = term({"app": "db"}, namespaceSelector={"matchLabels": {"team": "b"}})
    assert fitting(snapshot, info("p", affinity=near(wanted))) == {"n2"}
    assert fitting(snapshot, info("p", affinity=away(wanted))) == {"n1", "n3"}
    named = {**wanted, "namespaces": ["team-a"]}
    assert fitting(snapshot, info("p", affinity=near(named))) == {"n1", "n2"}
    nobody = term({"app": "db"}, namespaceSelector={"matchLabels": {"team": "c"}})
    assert fitting(snapshot, info("p", affinity=near(nobody))) == set()
    snapshot.namespaces["team-a"] = {"team": "c"}
    assert fitting(snapshot, info("p", affinity=near(nobody))) == {"n1"}


def test_pods_that_are_there_keep_others_away_by_the_labels_of_their_namespaces() -> None:
    lonely = info(
        "l",
        "team-a",
        {},
        affinity=away(term({"app": "x"}, namespaceSelector={"matchLabels": {"team": "b"}})),
    )
    snapshot = cluster((lonely, "n1"))
    assert fitting(snapshot, info("p", "team-b", {"app": "x"})) == {"n2", "n3"}
    assert fitting(snapshot, info("p", "default", {"app": "x"})) == {"n1", "n2", "n3"}
    snapshot.remove_pod("l")
    assert fitting(snapshot, info("p", "team-b", {"app": "x"})) == {"n1", "n2", "n3"}


def test_only_a_pod_that_all_terms_are_about_counts() -> None:
    snapshot = cluster(
        (info("a", labels={"app": "x"}), "n1"), (info("b", labels={"app": "x", "tier": "t"}), "n2")
    )
    assert fitting(snapshot, info("p", affinity=near(term({"app": "x"}), term({"tier": "t"})))) == {
        "n2"
    }


def test_required_terms_draw_later_pods_with_the_weight_of_the_profile() -> None:
    holder = info("h", labels={"app": "x"}, affinity=near(term({"app": "y"})))
    snapshot, later = cluster((holder, "n2")), info("p", labels={"app": "y"})
    points = InterPodAffinity(1).score(snapshot, later, snapshot.alive)
    assert (
        points is not None
        and points[snapshot.row_of["n2"]] == 100
        and points[snapshot.row_of["n1"]] == 0
    )
    assert (
        InterPodAffinity(1, {"hardPodAffinityWeight": 0}).score(snapshot, later, snapshot.alive)
        is None
    )


def test_preferences_of_pods_that_are_there_can_be_ignored() -> None:
    wish = {"weight": 10, "podAffinityTerm": term({"app": "y"})}
    liking = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}
    snapshot, later = cluster((info("h", affinity=liking), "n3")), info("p", labels={"app": "y"})
    assert InterPodAffinity(1).score(snapshot, later, snapshot.alive) is not None
    assert (
        InterPodAffinity(1, {"ignorePreferredTermsOfExistingPods": True}).score(
            snapshot, later, snapshot.alive
        )
        is None
    )


def test_a_weight_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"not in valid range \[0-100\]"):
        InterPodAffinity(1, {"hardPodAffinityWeight": 101})


def test_counts_are_right_after_pods_come_change_and_go() -> None:
    snapshot = cluster()
    one = info("p", affinity=away(term({"app": "x"})))
    assert fitting(snapshot, one) == {"n1", "n2", "n3"}
    snapshot.put_pod(info("a", labels={"app": "x"}), "n1")
    assert fitting(snapshot, one) == {"n2", "n3"}
    snapshot.put_pod(info("a", labels={"app": "z"}), "n1")
    assert fitting(snapshot, one) == {"n1", "n2", "n3"}
    snapshot.put_pod(info("a", labels={"app": "x"}), "n2")
    assert fitting(snapshot, one) == {"n1", "n3"}
    snapshot.remove_pod("a")
    assert fitting(snapshot, one) == {"n1", "n2", "n3"}


def test_pods_of_other_namespaces_do_not_count_unless_named() -> None:
    snapshot = cluster((info("a", "team-a", {"app": "db"}), "n1"))
    assert fitting(snapshot, info("p", affinity=away(term({"app": "db"})))) == {"n1", "n2", "n3"}
    named = term({"app": "db"}, namespaces=["team-a"])
    assert fitting(snapshot, info("p", affinity=away(named))) == {"n2", "n3"}
    everywhere = term({"app": "db"}, namespaceSelector={})
    assert fitting(snapshot, info("p", affinity=away(everywhere))) == {"n2", "n3"}


def test_the_first_of_a_group_may_be_anywhere_and_others_join_it() -> None:
    together = near(term({"app": "x"}))
    member = info("p", labels={"app": "x"}, affinity=together)
    snapshot = cluster()
    assert fitting(snapshot, member) == {"n1", "n2", "n3"}
    assert fitting(snapshot, info("p", labels={"app": "y"}, affinity=together)) == set()
    snapshot.put_pod(info("first", labels={"app": "x"}), "n2")
    assert fitting(snapshot, member) == {"n2"}


def test_values_of_its_own_labels_narrow_a_term() -> None:
    snapshot = cluster(
        (info("old", labels={"app": "x", "version": "1"}), "n1"),
        (info("new", labels={"app": "x", "version": "2"}), "n2"),
    )
    labels = {"app": "x", "version": "2"}
    same = term({"app": "x"}, matchLabelKeys=["version"])
    assert fitting(snapshot, info("p", labels=labels, affinity=away(same))) == {"n1", "n3"}
    other = term({"app": "x"}, mismatchLabelKeys=["version"])
    assert fitting(snapshot, info("p", labels=labels, affinity=away(other))) == {"n2", "n3"}


@pytest.mark.parametrize(
    ("labels", "near_helps", "away_helps"),
    [({"app": "x"}, True, True), ({"app": "y"}, False, False)],
)
def test_hints_about_pods(labels: dict[str, str], near_helps: bool, away_helps: bool) -> None:
    snapshot = cluster()
    other = info("other", labels=labels)
    wanted = term({"app": "x"})
    for kind, spec, helps in (
        (EventKind.POD_ASSIGNED, near(wanted), near_helps),
        (EventKind.POD_ASSIGNED, away(wanted), False),
        (EventKind.POD_DELETED, near(wanted), near_helps),
        (EventKind.POD_DELETED, away(wanted), away_helps),
    ):
        event = ClusterEvent(kind, pod=other)
        hint = InterPodAffinity().queueing_hint(event, snapshot, info("p", affinity=spec))
        assert hint is helps, kind


def test_a_pod_that_repels_others_helps_when_it_is_deleted() -> None:
    lonely = info("lonely", affinity=away(term({"app": "x"})))
    event = ClusterEvent(EventKind.POD_DELETED, pod=lonely)
    for app, helps in (("x", True), ("y", False)):
        pod = info("p", labels={"app": app})
        assert InterPodAffinity().queueing_hint(event, cluster(), pod) is helps


def test_the_own_preferences_count_even_if_those_of_others_do_not() -> None:
    wish = {"weight": 10, "podAffinityTerm": term({"app": "y"})}
    affinity = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}
    snapshot = cluster((info("h", labels={"app": "y"}), "n3"))
    plugin = InterPodAffinity(1, {"ignorePreferredTermsOfExistingPods": True})
    raw = plugin.score(snapshot, info("p", affinity=affinity), snapshot.alive)
    assert scores_of(snapshot, raw) == {"n1": 0, "n2": 0, "n3": 100}
