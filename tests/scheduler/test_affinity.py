"""With whom pods are put: namespaces by their labels, several terms at once, weights of what is there already."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node, pod
from tiphys.scheduler.configuration import ConfigurationError
from tiphys.scheduler.placement import Placer
from tiphys.scheduler.plugins.interpod import InterPodAffinity
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
    view = Snapshot()
    for name in ("n1", "n2", "n3"):
        view.put_node(node(name))
    view.namespaces = {"default": {}, "team-a": {"team": "a"}, "team-b": {"team": "b"}}
    for one, where in placed:
        view.put_pod(one, where)
    return view


def fitting(view: Snapshot, one: PodInfo) -> set[str]:
    _, rows, _ = Placer(view).survey(one)
    return {name for name, row in view.row.items() if rows[row]}


def test_a_namespace_selector_chooses_namespaces_by_their_labels() -> None:
    view = cluster(
        (info("a", "team-a", {"app": "db"}), "n1"), (info("b", "team-b", {"app": "db"}), "n2")
    )
    wanted = term({"app": "db"}, namespaceSelector={"matchLabels": {"team": "b"}})
    assert fitting(view, info("p", affinity=near(wanted))) == {"n2"}
    assert fitting(view, info("p", affinity=away(wanted))) == {"n1", "n3"}
    named = {**wanted, "namespaces": ["team-a"]}
    assert fitting(view, info("p", affinity=near(named))) == {"n1", "n2"}
    nobody = term({"app": "db"}, namespaceSelector={"matchLabels": {"team": "c"}})
    assert fitting(view, info("p", affinity=near(nobody))) == set()
    view.namespaces["team-a"] = {"team": "c"}
    assert fitting(view, info("p", affinity=near(nobody))) == {"n1"}


def test_pods_that_are_there_keep_others_away_by_the_labels_of_their_namespaces() -> None:
    lonely = info(
        "l",
        "team-a",
        {},
        affinity=away(term({"app": "x"}, namespaceSelector={"matchLabels": {"team": "b"}})),
    )
    view = cluster((lonely, "n1"))
    assert fitting(view, info("p", "team-b", {"app": "x"})) == {"n2", "n3"}
    assert fitting(view, info("p", "default", {"app": "x"})) == {"n1", "n2", "n3"}
    view.remove_pod("l")
    assert fitting(view, info("p", "team-b", {"app": "x"})) == {"n1", "n2", "n3"}


def test_only_a_pod_that_all_terms_are_about_counts() -> None:
    view = cluster(
        (info("a", labels={"app": "x"}), "n1"), (info("b", labels={"app": "x", "tier": "t"}), "n2")
    )
    assert fitting(view, info("p", affinity=near(term({"app": "x"}), term({"tier": "t"})))) == {
        "n2"
    }


def test_required_terms_draw_later_pods_with_the_weight_of_the_profile() -> None:
    holder = info("h", labels={"app": "x"}, affinity=near(term({"app": "y"})))
    view, later = cluster((holder, "n2")), info("p", labels={"app": "y"})
    points = InterPodAffinity(1).score(view, later, view.alive)
    assert points is not None and points[view.row["n2"]] == 100 and points[view.row["n1"]] == 0
    assert InterPodAffinity(1, {"hardPodAffinityWeight": 0}).score(view, later, view.alive) is None


def test_preferences_of_pods_that_are_there_can_be_ignored() -> None:
    wish = {"weight": 10, "podAffinityTerm": term({"app": "y"})}
    liking = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}
    view, later = cluster((info("h", affinity=liking), "n3")), info("p", labels={"app": "y"})
    assert InterPodAffinity(1).score(view, later, view.alive) is not None
    assert (
        InterPodAffinity(1, {"ignorePreferredTermsOfExistingPods": True}).score(
            view, later, view.alive
        )
        is None
    )


def test_a_weight_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"not in valid range \[0-100\]"):
        InterPodAffinity(1, {"hardPodAffinityWeight": 101})


def test_counts_are_right_after_pods_come_change_and_go() -> None:
    view = cluster()
    one = info("p", affinity=away(term({"app": "x"})))
    assert fitting(view, one) == {"n1", "n2", "n3"}
    view.put_pod(info("a", labels={"app": "x"}), "n1")
    assert fitting(view, one) == {"n2", "n3"}
    view.put_pod(info("a", labels={"app": "z"}), "n1")
    assert fitting(view, one) == {"n1", "n2", "n3"}
    view.put_pod(info("a", labels={"app": "x"}), "n2")
    assert fitting(view, one) == {"n1", "n3"}
    view.remove_pod("a")
    assert fitting(view, one) == {"n1", "n2", "n3"}
