"""Objects that are alike share what they have alike, and stay what they are."""

from __future__ import annotations

import copy

import pytest

from tests.builders import deployment, node, pod
from tiphys.api.base import Struct, decode, encode
from tiphys.client import compaction
from tiphys.client.compaction import compact

NAMED = [
    {
        "name": "c",
        "image": "img",
        "env": [{"name": "A", "value": "b"}],
        "resources": {"requests": {"cpu": "1"}},
    }
]


@pytest.mark.parametrize(
    "obj", [pod("p"), pod("q", containers=NAMED, labels={"app": "x"}), deployment(), node("n")]
)
def test_a_compacted_object_is_the_same(obj: Struct) -> None:
    before, data = copy.deepcopy(obj), encode(obj)
    compact(obj)
    assert obj == before and encode(obj) == data


def test_equal_parts_are_one() -> None:
    made = [
        decode(encode(pod(name, containers=NAMED, labels={"app": "x"})), type(pod()))
        for name in ("a", "b")
    ]
    for one in made:
        compact(one)
    left, right = made
    assert left.metadata.labels is right.metadata.labels
    assert left.spec.containers[0].env is right.spec.containers[0].env
    assert left.spec.containers[0].image is right.spec.containers[0].image
    assert left.spec.containers[0].resources is right.spec.containers[0].resources
    assert left.metadata.annotations is right.metadata.annotations == {}


def test_a_copy_of_what_is_shared_may_be_changed() -> None:
    one = pod("a")
    compact(one)
    changed = copy.deepcopy(one)
    changed.metadata.annotations["x"] = "y"
    assert not one.metadata.annotations


def test_so_many_parts_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_parts", {})
    monkeypatch.setattr(compaction, "_MOST", 3)
    for number in range(10):
        compact(pod(labels={"l": str(number)}))
        assert len(compaction._parts) <= 3
