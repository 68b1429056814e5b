"""One client's view: what all share, and what is its own."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2

from tiphys.network.xds.cache import CLUSTER, Cache, View


def put(cache: Cache, *names: str) -> None:
    cache.update({CLUSTER: {name: cluster_pb2.Cluster(name=name) for name in names}})


def test_a_view_has_what_is_shared_and_its_own() -> None:
    shared = Cache()
    first, second = View(shared), View(shared)
    put(shared, "all")
    put(first, "own")
    assert set(first.all(CLUSTER)) == {"all", "own"} and set(second.all(CLUSTER)) == {"all"}
    assert first.get(CLUSTER, "own") and not second.get(CLUSTER, "own")
    assert [one.name for one in first.select(CLUSTER, ["own", "all"])] == ["own", "all"]
    assert set(shared.all(CLUSTER)) == {"all"}


def test_a_view_hears_of_both_until_it_is_told_not_to() -> None:
    shared = Cache()
    view = View(shared)
    heard: list[Any] = []
    forget = view.listen(lambda type_url, names: heard.append(names))
    put(shared, "all")
    put(view, "own")
    put(View(shared), "anothers")
    forget()
    put(shared, "later")
    put(view, "later own")
    assert heard == [frozenset({"all"}), frozenset({"own"})]


def test_replacing_what_is_its_own_leaves_what_is_shared() -> None:
    shared = Cache()
    view = View(shared)
    put(shared, "all")
    put(view, "old")
    view.replace(CLUSTER, {"new": cluster_pb2.Cluster(name="new")})
    assert set(view.all(CLUSTER)) == {"all", "new"}


def test_what_is_made_of_everything_is_made_for_each_view() -> None:
    shared = Cache()
    first, second = View(shared), View(shared)
    put(shared, "all")
    put(first, "own")
    assert first.once(CLUSTER, sorted) == ["all", "own"]
    assert second.once(CLUSTER, sorted) == ["all"]
