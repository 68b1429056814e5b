from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api import core_v1
from tiphys.machinery import patch
from tiphys.machinery.mergepatch import replacing
from tiphys.machinery.patch import PatchError

JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=2), c, max_size=3),
    max_leaves=8,
)


def test_merge_patch_as_in_rfc_7386() -> None:
    cases = [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]
    for target, change, wanted in cases:
        assert patch.merge(target, change) == wanted


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ({"a": 1}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": None}),
        ({"a": {"b": [1], "c": 2}}, {"a": {"c": 2}}, {"a": {"b": None, "c": 2}}),
        ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}, {"a": [{"c": 1}]}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_what_is_gone_has_a_null_in_the_patch_that_replaces(
    before: object, after: object, change: object
) -> None:
    assert replacing(before, after) == change


WITHOUT_NULLS = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=2), c, max_size=3),
    max_leaves=8,
)


@given(WITHOUT_NULLS, WITHOUT_NULLS)
def test_merging_what_replaces_gives_what_is_wanted(before: object, after: object) -> None:
    assert patch.merge(before, replacing(before, after)) == after


@given(JSON, st.dictionaries(st.text(max_size=2), JSON, max_size=3))
def test_merge_patch_twice_is_once(target: object, change: dict[str, object]) -> None:
    once = patch.merge(target, change)
    assert patch.merge(once, change) == once


def test_json_patch_operations() -> None:
    doc = {"a": [1, 2], "b": {"c": 1}}
    ops = [
        {"op": "test", "path": "/a/0", "value": 1},
        {"op": "add", "path": "/a/-", "value": 3},
        {"op": "remove", "path": "/a/0"},
        {"op": "replace", "path": "/b/c", "value": 2},
        {"op": "copy", "from": "/b", "path": "/d"},
        {"op": "move", "from": "/b/c", "path": "/e~1f"},
    ]
    assert patch.json_patch(doc, ops) == {"a": [2, 3], "b": {}, "d": {"c": 2}, "e/f": 2}
    assert doc == {"a": [1, 2], "b": {"c": 1}}


@pytest.mark.parametrize(
    "op",
    [
        {"op": "remove", "path": "/x"},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/x/y", "value": None},
        {"op": "replace", "path": "/x/y", "value": 1},
        {"op": "replace", "path": "/a/y", "value": 1},
        {"op": "replace", "path": "/l/0", "value": 1},
        {"op": "copy", "from": "/x/y", "path": "/b"},
        {"op": "add", "path": "/l/9", "value": 1},
        {"op": "move", "path": "/l"},
        {"op": "copy", "path": "/l", "from": 5},
    ],
)
def test_json_patch_that_does_not_fit(op: dict[str, object]) -> None:
    with pytest.raises(PatchError):
        patch.json_patch({"a": 1, "l": []}, [op])


def test_json_patch_takes_what_an_object_lacks_for_a_null() -> None:
    ops = [
        {"op": "test", "path": "/x", "value": None},
        {"op": "replace", "path": "/x", "value": {"a": "b"}},
        {"op": "copy", "from": "/y", "path": "/z"},
    ]
    assert patch.json_patch({}, ops) == {"x": {"a": "b"}, "z": None}


def test_json_patch_tests_a_whole_document() -> None:
    same = {"op": "test", "path": "", "value": {"a": 1}}
    assert patch.json_patch({"a": 1}, [same]) == {"a": 1}
    with pytest.raises(PatchError, match="test failed"):
        patch.json_patch({"a": 2}, [same])


def test_what_one_patch_copies_has_a_limit() -> None:
    """3 MiB in all, as upstream: each copy of everything doubles the document."""
    copies = [{"op": "copy", "from": "/a", "path": f"/{name}"} for name in "bcd"]
    document = {"a": "x" * ((1 << 20) - 2)}
    assert len(patch.json_patch(document, copies)) == 4
    with pytest.raises(PatchError, match="accumulated size increase of copy is 3145731, exceeding"):
        patch.json_patch({"a": document["a"] + "x"}, copies)


def test_strategic_merges_lists_by_their_key() -> None:
    spec = {
        "containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}],
        "tolerations": [{"key": "x"}],
    }
    change = {
        "containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}],
        "tolerations": [{"key": "y"}],
    }
    made = patch.strategic(spec, change, core_v1.PodSpec)
    assert [(c["name"], c["image"]) for c in made["containers"]] == [
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
    ]
    assert made["tolerations"] == [{"key": "y"}]


def test_strategic_directives() -> None:
    spec = {
        "containers": [{"name": "a"}, {"name": "b"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }
    gone = patch.strategic(
        spec, {"containers": [{"name": "a", "$patch": "delete"}]}, core_v1.PodSpec
    )
    assert gone["containers"] == [{"name": "b"}]
    swapped = patch.strategic(
        spec,
        {
            "volumes": [
                {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}
            ]
        },
        core_v1.PodSpec,
    )
    assert swapped["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]
    ordered = patch.strategic(
        spec, {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}, core_v1.PodSpec
    )
    assert [c["name"] for c in ordered["containers"]] == ["b", "a"]
    meta = patch.strategic(
        {"finalizers": ["a", "b"]},
        {"$deleteFromPrimitiveList/finalizers": ["a"]},
        type(core_v1.Pod().metadata),
    )
    assert meta["finalizers"] == ["b"]


def test_strategic_lists_stand_as_the_patch_names_them() -> None:
    spec = {"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
    change = {"containers": [{"name": "c"}, {"name": "new"}, {"name": "a"}]}
    assert [c["name"] for c in patch.strategic(spec, change, core_v1.PodSpec)["containers"]] == [
        "b",
        "c",
        "new",
        "a",
    ]
    replaced = {
        "containers": [{"$patch": "replace"}, {"name": "x"}, {"name": "a", "$patch": "delete"}]
    }
    assert patch.strategic(spec, replaced, core_v1.PodSpec)["containers"] == [{"name": "x"}]


def test_strategic_order_has_to_agree_with_the_patch() -> None:
    spec = {"containers": [{"name": "a"}, {"name": "b"}]}
    order = {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}]}
    with pytest.raises(PatchError, match="doesn't match"):
        patch.strategic(
            spec, {**order, "containers": [{"name": "b"}, {"name": "a"}]}, core_v1.PodSpec
        )
    gone = {**order, "containers": [{"name": "z", "$patch": "delete"}, {"name": "b", "image": "2"}]}
    made = patch.strategic(spec, gone, core_v1.PodSpec)
    assert made["containers"] == [{"name": "a"}, {"name": "b", "image": "2"}]


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"finalizers": [{"a": 1}]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": 5}},
        {"metadata": {"$setElementOrder/finalizers": 5}},
        {"spec": {"$setElementOrder/containers": 5, "containers": [{"name": "a"}]}},
        {"spec": {"containers": [5]}},
        {"spec": {"containers": [{"name": {}}]}},
    ],
)
def test_strategic_patches_of_the_wrong_shape_are_refused(change: dict[str, object]) -> None:
    pod = {"metadata": {"finalizers": ["a"]}, "spec": {"containers": [{"name": "a"}]}}
    with pytest.raises(PatchError):
        patch.strategic(pod, change, core_v1.Pod)


def test_an_order_of_items_that_have_no_name_changes_nothing() -> None:
    """Items of a list that is replaced as a whole cannot be told apart."""
    target = {"spec": {"tolerations": [{"key": "a"}, {"key": "b"}]}}
    wanted = {"spec": {"$setElementOrder/tolerations": [{"key": "b"}, {"key": "a"}]}}
    assert patch.strategic(target, wanted, core_v1.Pod) == target


@pytest.mark.parametrize("directive", ["merge", "", "Replace", 3])
def test_a_directive_that_there_is_not_is_refused(directive: Any) -> None:
    with pytest.raises(patch.PatchError):
        patch.strategic({"a": 1}, {"$patch": directive, "a": 2}, None)
