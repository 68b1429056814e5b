"""Entries of managed fields: what updates take, how many are kept apart, and how conflicts are
told."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ManagedFieldsEntry
from tiphys.machinery.errors import StatusError
from tiphys.machinery.managed import APPLY, UPDATE, Managed, Manager, apply, updated
from tiphys.machinery.typed import node_of

NODE = node_of(core_v1.ConfigMap)
ME = Manager("me", UPDATE, "v1")
NOW = "2026-01-01T00:00:09Z"


def config(_labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata = {"name": "x", "uid": "u"} | ({"labels": _labels} if _labels else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def of(*names: str) -> dict[str, Any]:
    return {"f:data": {f"f:{name}": {} for name in names}}


def entry(
    name: str, *fields: str, operation: str = UPDATE, second: int = 1, subresource: str = ""
) -> ManagedFieldsEntry:
    return ManagedFieldsEntry(
        manager=name,
        operation=operation,
        api_version="v1",
        time=f"2026-01-01T00:00:{second:02}Z",
        fields_type="FieldsV1",
        fields_v1=of(*fields),
        subresource=subresource,
    )


def shown(entries: list[ManagedFieldsEntry] | None) -> list[tuple[str, str, Any]]:
    return [(one.manager, (one.time or "")[-3:-1], one.fields_v1) for one in entries or []]


# --- entries ---


def test_entries_of_one_manager_are_one_and_what_is_none_is_left_out() -> None:
    rows = [
        entry("a", "x"),
        entry("a", "y", second=2),
        entry("b", "x", operation="Guess"),
        ManagedFieldsEntry(manager="c", operation=UPDATE, api_version="v1"),
    ]
    assert shown(Managed.decode(rows).encode()) == [("a", "02", of("x", "y"))]


def test_entries_come_by_operation_time_and_name() -> None:
    rows = [
        entry("a", "x", second=2),
        entry("c", "y", second=1),
        entry("b", "z", second=1),
        entry("d", "z", operation=APPLY, second=9),
        entry("b", "w", second=1, subresource="status"),
    ]
    order = [(one.manager, one.subresource) for one in Managed.decode(rows).encode()]
    assert order == [("d", ""), ("b", ""), ("b", "status"), ("c", ""), ("a", "")]


def test_a_manager_without_fields_is_none() -> None:
    assert Managed({ME: {}}, {}).encode() == []


def test_an_entry_that_did_not_change_is_published_as_it_was() -> None:
    [row] = rows = [entry("a", "x")]
    assert Managed.decode(rows).encode(in_order=True)[0] is row
    assert Managed.decode(rows).encode()[0] is not row


def test_an_applier_is_the_same_at_every_version_and_an_updater_is_not() -> None:
    rows = [entry("a", "x", operation=APPLY), entry("a", "y", operation=APPLY)]
    rows[1].api_version = "v2"
    [one] = Managed.decode(rows).encode()
    assert (one.api_version, one.fields_v1) == ("v2", of("x", "y"))
    rows = [entry("a", "x"), entry("a", "y")]
    rows[1].api_version = "v2"
    assert len(Managed.decode(rows).encode()) == 2


@pytest.mark.parametrize(("count", "kept"), [(9, 9), (10, 10), (11, 10), (13, 10)])
def test_ten_updates_are_kept_apart(count: int, kept: int) -> None:
    rows = [entry(f"m{number:02}", f"k{number}", second=number) for number in range(count)]
    rows.append(entry("applier", "a", operation=APPLY))
    entries = Managed.decode(rows).encode()
    updates = [one for one in entries if one.operation == UPDATE]
    assert len(updates) == kept and len(entries) == kept + 1
    if kept == count:
        return
    merged = count - kept + 1  # the oldest are one, with the time of the newest of them
    assert shown(updates)[0] == (
        "ancient-changes",
        f"{merged - 1:02}",
        of(*(f"k{number}" for number in range(merged))),
    )


def test_ancient_changes_stay_ancient() -> None:
    rows = [entry("ancient-changes", "k", second=0)]
    rows += [entry(f"m{number:02}", f"k{number}", second=number + 1) for number in range(10)]
    [ancient, *others] = Managed.decode(rows).encode()
    assert shown([ancient]) == [("ancient-changes", "01", of("k", "k0"))] and len(others) == 9


# --- updates ---


def test_who_changes_a_field_takes_it_and_who_removes_one_leaves_it_to_nobody() -> None:
    managed = Managed.decode([entry("a", "x", "y", "z")])
    entries = updated(
        managed, config(x="1", y="1", z="1"), config(x="2", z="1", w="1"), NODE, ME, NOW
    )
    assert shown(entries) == [("a", "01", of("z")), ("me", "09", of("w", "x"))]


def test_who_has_a_field_already_keeps_it_with_what_comes() -> None:
    managed = Managed.decode([entry("me", "x")])
    entries = updated(managed, config(x="1"), config(x="1", y="1"), NODE, ME, NOW)
    assert shown(entries) == [("me", "09", of("x", "y"))]


def test_who_only_removes_gets_no_entry() -> None:
    managed = Managed.decode([entry("a", "x", "y")])
    assert shown(updated(managed, config(x="1", y="1"), config(y="1"), NODE, ME, NOW)) == [
        ("a", "01", of("y"))
    ]


@pytest.mark.parametrize(
    ("new", "reset"),
    [
        (config(x="1"), ()),
        (config(x="1") | {"kind": "Secret", "apiVersion": "v2"}, ()),
        ({**config(x="1"), "metadata": {"name": "y", "uid": "w", "generation": 7}}, ()),
        (config(x="2"), ("f:data",)),
    ],
)
def test_what_nobody_manages_changes_nobodys_fields(
    new: dict[str, Any], reset: tuple[str, ...]
) -> None:
    managed = Managed.decode([entry("a", "x")])
    assert updated(managed, config(x="1"), new, NODE, ME, NOW, reset) is None


def test_labels_are_managed_and_names_are_not() -> None:
    entries = updated(Managed({}, {}), config(), config({"l": "v"}), NODE, ME, NOW)
    assert shown(entries) == [("me", "09", {"f:metadata": {"f:labels": {".": {}, "f:l": {}}}})]


# --- applies ---


def applied(
    managed: Managed, live: dict[str, Any], given: dict[str, Any], version: str = "v1", **how: Any
) -> Any:
    manager = Manager("me", APPLY, version)
    force, reset = how.get("force", False), how.get("reset", ())
    return apply(managed, live, given, NODE, manager, force, NOW, reset)


def test_who_forces_takes_fields_from_others_and_what_goes_goes_for_all() -> None:
    managed = Managed.decode([entry("a", "x", "y"), entry("me", "x", "z", operation=APPLY)])
    live = config(x="1", y="1", z="1")
    result = applied(managed, live, config(x="2"), force=True)
    assert result.obj["data"] == {"x": "2", "y": "1"}
    assert shown(result.entries) == [("me", "09", of("x")), ("a", "01", of("y"))]


def test_the_same_again_keeps_the_time_unless_the_version_is_another() -> None:
    rows = [entry("me", "x", operation=APPLY)]
    same = applied(Managed.decode(rows), config(x="1"), config(x="1"))
    assert shown(same.entries) == [("me", "01", of("x"))]
    moved = applied(Managed.decode(rows), config(x="1"), config(x="1"), "v2")
    assert shown(moved.entries) == [("me", "09", of("x"))] and moved.entries[0].api_version == "v2"
    first = applied(Managed({}, {}), config(x="1"), config(x="1"))
    assert shown(first.entries) == [("me", "09", of("x"))]


def test_what_a_path_resets_is_not_applied() -> None:
    result = applied(Managed({}, {}), config(x="1"), config(x="2"), reset=("f:data",))
    assert result.obj["data"] == {"x": "1"} and result.entries == []


def conflict(*rows: ManagedFieldsEntry, **values: str) -> StatusError:
    live = config(**dict.fromkeys(values, "1"))
    with pytest.raises(StatusError) as refused:
        applied(Managed.decode(list(rows)), live, config(**values))
    return refused.value


def test_conflicts_name_who_has_what() -> None:
    error = conflict(
        entry("b", "x", "y"), entry("a", "x", operation=APPLY), entry("b", "x", subresource="status"),
        x="2", y="2",
    )  # fmt: skip
    assert str(error) == (
        "Apply failed with 4 conflicts: "
        'conflicts with "a":\n- .data.x\n'
        'conflicts with "b" using v1:\n- .data.x\n- .data.y\n'
        'conflicts with "b" with subresource "status" using v1:\n- .data.x'
    )
    details = error.status.details
    assert (error.code, error.reason) == (409, "Conflict") and details is not None
    assert [(cause.reason, cause.field) for cause in details.causes][:2] == [
        ("FieldManagerConflict", ".data.x"),
        ("FieldManagerConflict", ".data.x"),
    ]
    assert details.causes[0].message == 'conflict with "a"'


def test_conflicts_that_do_not_fit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiphys.machinery.managed.MOST_TEXT", 20)
    error = conflict(entry("a", "k1", "k2", "k3", "k4"), k1="2", k2="2", k3="2", k4="2")
    assert str(error).startswith("Apply failed with 4 conflicts: ")
    assert error.status.details is not None
    causes = error.status.details.causes
    assert [cause.field for cause in causes] == [".data.k1", ".data.k2", ".data.k3", ""]
    assert causes[-1].message == "too many conflicts, the list is truncated"
