"""The graph of owners, and what becomes of dependents."""

from __future__ import annotations

import pytest

from tiphys.api import core_v1
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.controllers.ownership import (
    FOREGROUND,
    ORPHAN,
    Action,
    Graph,
    OwnerState,
    decide,
    policy_of,
)

RESOURCE = resource_of(core_v1.ConfigMap)


def meta(uid: str, *owners: str, blocks: bool = False, deleting: str = "") -> ObjectMeta:
    """`owners` are uids; `deleting` is the finalizer that says how it is deleted, or any other."""
    made = ObjectMeta(name=uid, namespace="d", uid=uid)
    for owner in owners:
        ref = OwnerReference(uid=owner, name=owner, kind="ConfigMap", api_version="v1")
        ref.block_owner_deletion = blocks
        made.owner_references.append(ref)
    if deleting:
        made.deletion_timestamp = "2026-01-01T00:00:00Z"
        made.finalizers = [deleting]
    return made


def graph(*metas: ObjectMeta) -> Graph:
    made = Graph()
    for each in metas:
        made.put(RESOURCE, each)
    return made


def test_an_owner_that_goes_leads_to_its_dependents() -> None:
    made = graph(meta("owner"))
    assert made.put(RESOURCE, meta("child", "owner")) == {"child"}
    assert made.remove(meta("owner")) == {"child"}
    assert made.known("owner") is None
    made.remove(meta("child", "owner"))
    assert made.nodes == {}


def test_an_owner_that_was_only_heard_of_is_looked_for() -> None:
    made = Graph()
    assert made.put(RESOURCE, meta("child", "unseen")) == {"child"}
    assert made.put(RESOURCE, meta("child", "unseen")) == {"child"}, "still unsure"
    made.put(RESOURCE, meta("unseen"))
    assert made.put(RESOURCE, meta("child", "unseen")) == set()


def test_a_dropped_owner_is_looked_at_again() -> None:
    made = graph(meta("one"), meta("two"), meta("child", "one", "two"))
    assert made.put(RESOURCE, meta("child", "two")) == {"child", "one"}
    assert made.nodes["one"].dependents == set()


@pytest.mark.parametrize(
    ("child", "again"),
    [
        (meta("child", "owner", blocks=True, deleting="other"), {"owner"}),
        (meta("child", "owner", blocks=False, deleting="other"), {"owner"}),
        (meta("child", "owner", blocks=False), {"owner"}),
        (meta("child", "owner", blocks=True), set()),
    ],
)
def test_an_owner_is_looked_at_when_what_blocks_it_changes(
    child: ObjectMeta, again: set[str]
) -> None:
    made = graph(meta("owner"), meta("child", "owner", blocks=True))
    if not child.owner_references[0].block_owner_deletion and child.deletion_timestamp:
        again = set()  # it blocks nothing any more, but it did before: only a running one frees
    assert made.put(RESOURCE, child) == again


def test_a_dependent_that_blocks_nothing_leads_nowhere_when_it_is_deleted() -> None:
    made = graph(meta("owner"), meta("child", "owner"))
    assert made.put(RESOURCE, meta("child", "owner", deleting="other")) == set()


def test_deletion_in_the_foreground_leads_to_the_dependents_once() -> None:
    made = graph(meta("owner"), meta("child", "owner"))
    going = meta("owner", deleting=FOREGROUND)
    assert made.put(RESOURCE, going) == {"owner", "child"}
    assert made.put(RESOURCE, going) == {"owner"}
    assert made.nodes["owner"].waits_for_dependents and not made.nodes["owner"].orphans


def test_what_orphans_its_dependents_is_looked_at_alone() -> None:
    made = graph(meta("owner"), meta("child", "owner"))
    assert made.put(RESOURCE, meta("owner", deleting=ORPHAN)) == {"owner"}
    assert made.nodes["owner"].orphans


SOLID, WAITING, DANGLING = OwnerState.SOLID, OwnerState.WAITING, OwnerState.DANGLING


@pytest.mark.parametrize(
    ("states", "has_dependents", "action"),
    [
        ([], True, Action.KEEP),
        ([SOLID], False, Action.KEEP),
        ([SOLID, DANGLING], False, Action.DROP_OWNERS),
        ([SOLID, WAITING], True, Action.DROP_OWNERS),
        ([DANGLING], True, Action.DELETE),
        ([WAITING], False, Action.DELETE),
        ([WAITING], True, Action.DELETE_FOREGROUND),
        ([WAITING, DANGLING], True, Action.DELETE_FOREGROUND),
    ],
)
def test_one_solid_owner_keeps_a_dependent(
    states: list[OwnerState], has_dependents: bool, action: Action
) -> None:
    assert decide(states, has_dependents) is action


@pytest.mark.parametrize(
    ("finalizers", "policy"),
    [
        ([], "Background"),
        (["other"], "Background"),
        ([FOREGROUND], "Foreground"),
        ([ORPHAN], "Orphan"),
        ([FOREGROUND, ORPHAN], "Orphan"),
    ],
)
def test_a_dependent_goes_as_its_finalizers_say(finalizers: list[str], policy: str) -> None:
    assert policy_of(finalizers) == policy
