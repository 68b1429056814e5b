"""What the deletion of a namespace waits for."""

from __future__ import annotations

from collections import Counter

import pytest

from tiphys.controllers.namespace import Remains, deletion_conditions

NOTHING = {
    "NamespaceDeletionDiscoveryFailure": "ResourcesDiscovered",
    "NamespaceDeletionGroupVersionParsingFailure": "ParsedGroupVersions",
    "NamespaceDeletionContentFailure": "ContentDeleted",
    "NamespaceContentRemaining": "ContentRemoved",
    "NamespaceFinalizersRemaining": "ContentHasNoFinalizers",
}


@pytest.mark.parametrize(
    ("remains", "kind", "reason", "message", "wait"),
    [
        (
            Remains(stale=["example.com/v1"]),
            "NamespaceDeletionDiscoveryFailure",
            "DiscoveryFailed",
            "Discovery failed for some groups, 1 failing: example.com/v1",
            3.0,
        ),
        (
            Remains(failures=["no", "never"]),
            "NamespaceDeletionContentFailure",
            "ContentDeletionFailed",
            "Failed to delete all resource types, 2 remaining: no; never",
            3.0,
        ),
        (
            Remains(objects={"pods": 2, "configmaps": 1}),
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            "Some resources are remaining: configmaps has 1 resource instances, "
            "pods has 2 resource instances",
            0.3,
        ),
        (
            Remains(finalizers=Counter(["x", "x"])),
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: x in 2 resource instances",
            None,
        ),
    ],
)
def test_each_thing_that_is_waited_for_has_its_condition(
    remains: Remains, kind: str, reason: str, message: str, wait: float | None
) -> None:
    found = {condition.type: condition for condition in deletion_conditions(remains)}
    assert (found[kind].status, found[kind].message) == ("True", message)
    reasons = {each.type: each.reason for each in found.values()}
    assert reasons == NOTHING | {kind: reason} and remains.wait == wait
    assert [each.type for each in found.values() if each.status == "True"] == [kind]


def test_when_nothing_is_left_nothing_is_waited_for() -> None:
    assert Remains().wait is None
    found = deletion_conditions(Remains())
    assert {each.type: each.reason for each in found} == NOTHING
    assert all(each.status == "False" for each in found)
