"""What a strategic merge patch may say, and why others are refused."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import core_v1
from tiphys.machinery import patch
from tiphys.machinery.patch import PatchError

POD: dict[str, Any] = {
    "metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}},
    "spec": {
        "containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}],
        "securityContext": {"runAsUser": 1, "fsGroup": 2},
        "nodeSelector": {"k": "v"},
        "volumes": [{"name": "v", "emptyDir": {}}],
    },
}


def patched(change: dict[str, Any]) -> Any:
    return patch.strategic(POD, change, core_v1.Pod)


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ({"metadata": {"labels": {"x": None, "z": "3"}}}, "metadata.labels", {"y": "2", "z": "3"}),
        ({"metadata": {"labels": None}}, "metadata", {"finalizers": ["a", "b"]}),
        ({"metadata": {"finalizers": ["b", "c"]}}, "metadata.finalizers", ["a", "b", "c"]),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b", "z"]}}, "metadata.finalizers", ["a"]),
        ({"metadata": {"$deleteFromPrimitiveList/other": ["b"]}}, "metadata.other", []),
        ({"spec": {"securityContext": {"fsGroup": None, "runAsGroup": 3}}}, "spec.securityContext",
         {"runAsUser": 1, "runAsGroup": 3}),
        ({"spec": {"securityContext": {"$patch": "replace", "fsGroup": 9}}}, "spec.securityContext",
         {"fsGroup": 9}),
        ({"spec": {"securityContext": {"$patch": "delete"}}}, "spec.securityContext", {}),
        ({"spec": {"securityContext": {"$retainKeys": ["fsGroup"], "fsGroup": 9}}},
         "spec.securityContext", {"fsGroup": 9}),
        ({"spec": {"securityContext": {"$retainKeys": ["fsGroup"]}}}, "spec.securityContext",
         {"fsGroup": 2}),
        ({"spec": {"securityContext": {"$retainKeys": ["fsGroup"], "runAsUser": None}}},
         "spec.securityContext", {"fsGroup": 2}),
        ({"spec": {"tolerations": [{"key": "x", "$patch": "delete"}, {"key": "y", "value": None}]}},
         "spec.tolerations", [{"key": "y"}]),
        ({"spec": {"containers": [{"name": "a", "$patch": "replace"}]}}, "spec.containers", []),
        ({"$patch": "delete"}, "", {}),
        ({"$patch": "replace", "a": 1}, "", {"a": 1}),
    ],
)  # fmt: skip
def test_what_a_patch_makes(change: dict[str, Any], path: str, value: Any) -> None:
    made = patched(change)
    for part in filter(None, path.split(".")):
        made = made[part]
    assert made == value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spec": {"securityContext": {"$retainKeys": "x"}}}, "invalid patch format of retainKeys"),
        ({"spec": {"securityContext": {"$retainKeys": ["fsGroup"], "runAsUser": 3}}},
         "invalid patch format of retainKeys"),
        ({"$patch": "merge"}, 'unknown patch type: merge in map: map[$patch:merge]'),
        ({"spec": {"containers": [{"image": "x"}]}},
         "map: map[image:x] does not contain declared merge key: name"),
        ({"spec": {"containers": [{"name": "a"}, "x"]}}, "list element types are not identical: "),
        ({"spec": {"containers": [{"name": ["x"]}]}}, "invalid value of merge key name in list of containers"),
        ({"spec": {"containers": [{"$patch": "merge", "name": "a"}]}},
         "merging lists cannot yet be specified in the patch"),
        ({"spec": {"containers": [{"$patch": "delete"}]}},
         "map: map[$patch:delete] does not contain declared merge key: name"),
        ({"spec": {"containers": [{"$patch": "other", "name": "a"}]}}, "unknown patch type: other in map"),
        ({"metadata": {"finalizers": [["a"]]}}, "list element types are not identical"),
        ({"metadata": {"finalizers": ["a", 7]}}, "list element types are not identical"),
    ],
)  # fmt: skip
def test_what_a_patch_may_not_say(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PatchError) as refused:
        patched(change)
    assert words in str(refused.value)


def test_a_patch_is_an_object_and_changes_nothing_in_place() -> None:
    with pytest.raises(PatchError, match="strategic merge patch must be an object"):
        patch.strategic(POD, [], core_v1.Pod)
    before = str(POD)
    patched({"metadata": {"labels": {"x": None}, "finalizers": ["c"]}, "spec": {"containers": []}})
    assert str(POD) == before


def test_without_a_type_lists_are_replaced_and_objects_merged() -> None:
    target = {"a": {"b": 1, "c": 2}, "l": [1, 2]}
    made = patch.strategic(target, {"a": {"b": None, "d": 3}, "l": [3]}, None)
    assert made == {"a": {"c": 2, "d": 3}, "l": [3]}
    assert patch.strategic(7, {"a": 1}, None) == {"a": 1}
