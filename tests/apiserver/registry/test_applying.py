"""What server-side apply makes of an object, whose the fields are then, and who may take them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import config_map
from tiphys.api.base import from_builtins, to_builtins
from tiphys.api.catalog import resource_of
from tiphys.api.core_v1 import ConfigMap
from tiphys.api.meta_v1 import ManagedFieldsEntry
from tiphys.apiserver.registry.ownership import (
    LAST_APPLIED,
    Author,
    apply,
    created,
    same_but_for_times,
    updated,
)
from tiphys.machinery.errors import StatusError

MAPS = resource_of(ConfigMap)
NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def config(data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    meta = {"name": "c", "namespace": "n", **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data or {}}


def live(manager: str = "maker", applied: Any = None, **data: str) -> ConfigMap:
    """An object that somebody has created; `applied` is what kubectl applied client-side."""
    made = config_map("c", "n", **data)
    if applied is not None:
        made.metadata.annotations[LAST_APPLIED] = applied if isinstance(applied, str) else json.dumps(applied)  # fmt: skip
    made.metadata.managed_fields = created(MAPS, made, manager, NOW)
    return made


def outcome(obj: ConfigMap | None, body: dict[str, Any], manager: str = "me", force: bool = False) -> Any:  # fmt: skip
    """The data after an apply, or the code it is refused with."""
    try:
        return apply(MAPS, obj, body, Author(manager, force=force), LATER).obj.get("data")
    except StatusError as error:
        return error.code


@pytest.mark.parametrize(
    ("obj", "body", "force", "after"),
    [
        (None, config({"a": "1"}), False, {"a": "1"}),
        (live(a="1"), config({"a": "1"}), False, {"a": "1"}),
        (live(a="1"), config({"b": "2"}), False, {"a": "1", "b": "2"}),
        (live(a="1"), config({"a": "2"}), False, 409),
        (live(a="1"), config({"a": "2"}), True, {"a": "2"}),
        (live(a="1"), {**config(), "data": 5}, False, 400),
    ],
)
def test_who_applies_does_not_take_from_others(
    obj: ConfigMap | None, body: dict[str, Any], force: bool, after: Any
) -> None:
    assert outcome(obj, body, force=force) == after


SAME = config({"a": "1"})


@pytest.mark.parametrize(
    ("manager", "applied", "after"),
    [
        ("kubectl", SAME, {"a": "2"}),
        ("other", SAME, 409),
        ("kubectl", None, 409),
        ("kubectl", "{", 409),
        ("kubectl", [], 409),
        ("kubectl", config({"z": "1"}), 409),
    ],
)
def test_kubectl_takes_what_it_applied_before(manager: str, applied: Any, after: Any) -> None:
    made = live("kubectl-client-side-apply", applied, a="1")
    assert outcome(made, config({"a": "2"}), manager) == after


@pytest.mark.parametrize(
    ("manager", "applied", "noted"),
    [("kubectl", SAME, True), ("kubectl", None, False), ("other", SAME, False)],
)
def test_kubectls_note_goes_on_where_there_is_one(manager: str, applied: Any, noted: bool) -> None:
    made = live("x", applied, a="1")
    body = config({"a": "1"})
    merged = apply(MAPS, made, body, Author(manager, force=True), LATER).obj
    text = (merged["metadata"].get("annotations") or {}).get(LAST_APPLIED, "")
    assert (text == json.dumps(body, separators=(",", ":")) + "\n") == noted


def test_a_body_that_does_not_fit_names_its_object() -> None:
    with pytest.raises(StatusError) as error:
        apply(MAPS, None, {**config(), "data": 5}, Author("me"), LATER)
    assert str(error.value).startswith(
        "failed to create typed patch object (n/c; v1, Kind=ConfigMap):"
    )


# --- updates ---


def taken(**kept: Any) -> list[ManagedFieldsEntry]:
    """The entries after "me" has added a key; `kept` are those that the request brings."""
    old = live(a="1")
    new = from_builtins(to_builtins(old), ConfigMap)
    new.data["b"] = "2"
    new.metadata.managed_fields = kept.get("given", old.metadata.managed_fields)
    return updated(MAPS, old, new, Author("me"), LATER)


def test_an_update_takes_what_it_changes() -> None:
    by = {entry.manager: entry.fields_v1 for entry in taken()}
    assert by["me"] == {"f:data": {"f:b": {}}} and "f:a" in by["maker"]["f:data"]


def test_who_sends_an_empty_entry_begins_afresh() -> None:
    entries = taken(given=[ManagedFieldsEntry()])
    assert [entry.manager for entry in entries] == ["me"]


def test_who_brings_other_entries_has_them() -> None:
    given = ManagedFieldsEntry(manager="x", operation="Update", api_version="v1", fields_type="FieldsV1", fields_v1={"f:data": {"f:z": {}, "f:a": {}}})  # fmt: skip
    entries = {entry.manager: entry.fields_v1 for entry in taken(given=[given])}
    assert set(entries) == {"x", "me"} and "f:a" in entries["x"]["f:data"]


def test_who_brings_none_keeps_those_that_are_there() -> None:
    assert {entry.manager for entry in taken(given=[])} == {"maker", "me"}


# --- the same again ---


def again(**changes: Any) -> bool:
    """Whether a write is as good as none; `changes` are of the copy's metadata."""
    old = live(a="1")
    new = from_builtins(to_builtins(old), ConfigMap)
    for entry in new.metadata.managed_fields:
        entry.time = changes.get("time", LATER)
        entry.manager = changes.get("manager", entry.manager)
    new.metadata.resource_version = "9"
    new.metadata.labels = changes.get("labels", {})
    new.data["a"] = changes.get("data", "1")
    if changes.get("entries"):
        new.metadata.managed_fields.append(ManagedFieldsEntry())
    return same_but_for_times(new, old)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"time": NOW}, True),
        ({"manager": "other"}, False),
        ({"labels": {"a": "b"}}, False),
        ({"data": "2"}, False),
        ({"entries": True}, False),
    ],
)
def test_a_write_that_changes_nothing_but_times(changes: dict[str, Any], same: bool) -> None:
    assert again(**changes) == same


def test_the_same_entries_are_no_other_write() -> None:
    old = live(a="1")
    assert not same_but_for_times(old, old)
