"""Pods that are assumed on a node count there until they are forgotten."""

from __future__ import annotations

from tests.builders import node
from tests.scheduler.builders import info, snapshot_of
from tiphys.scheduler.cache import Cache


def test_an_assumed_pod_is_confirmed() -> None:
    snapshot = snapshot_of(node("a"))
    cache = Cache(snapshot)
    cache.assume(info("p"), "a")
    assert cache.is_assumed("p") and "p" in snapshot.pods
    cache.confirm(info("p"), "a")
    assert not cache.is_assumed("p") and "p" in snapshot.pods


def test_a_forgotten_pod_is_on_no_node() -> None:
    snapshot = snapshot_of(node("a"))
    cache = Cache(snapshot)
    cache.assume(info("p"), "a")
    cache.forget("p")
    assert not cache.is_assumed("p") and "p" not in snapshot.pods
