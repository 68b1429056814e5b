"""Whose the fields are that a patch changes, by the registry's own ways to find out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.registry.builders import registry
from tests.builders import pod
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.core_v1 import Pod
from tiphys.apiserver.registry.changes import Patched, whole_object
from tiphys.apiserver.registry.kinds import FieldValidation
from tiphys.apiserver.registry.patches import read_patch
from tiphys.apiserver.registry.writes import Write

PODS = resource_of(Pod)
MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"


async def fields_after(media: str, text: bytes, manager: str) -> dict[str, Any]:
    """What each manager has after a patch of a pod that "maker" has made."""
    async with registry() as objects:
        obj = pod("a")
        obj.metadata.labels = {"made": "so"}
        namespace = obj.metadata.namespace
        await objects.create(Write(PODS, namespace, manager="maker"), obj)
        write = Write(PODS, namespace, "a", manager=manager)
        change = Patched(
            write, read_patch(media, text, Pod), whole_object, FieldValidation("Warn"), []
        )
        written = await objects.update(write, change)
    entries = decode(written.entry.data, Pod).metadata.managed_fields
    return {entry.manager: entry.fields_v1 for entry in entries}


@pytest.mark.parametrize(
    ("media", "text"),
    [
        (MERGE, b'{"metadata":{"labels":{"n":"1"}},"status":{"phase":"Running"}}'),
        (JSON, b'[{"op":"add","path":"/metadata/labels/n","value":"1"}]'),
    ],
)
async def test_a_patch_takes_what_it_changes_within_its_reach(media: str, text: bytes) -> None:
    fields = await fields_after(media, text, "patcher")
    assert fields["patcher"] == {"f:metadata": {"f:labels": {"f:n": {}}}}
    assert fields["maker"]["f:metadata"]["f:labels"] == {".": {}, "f:made": {}}
    assert "f:spec" in fields["maker"] and "f:status" not in fields["maker"]


async def test_who_patches_its_own_object_has_one_entry_in_order() -> None:
    fields = await fields_after(MERGE, b'{"metadata":{"labels":{"a":"1","z":"1"}}}', "maker")
    assert list(fields) == ["maker"]
    assert list(fields["maker"]["f:metadata"]["f:labels"]) == [".", "f:a", "f:made", "f:z"]


async def test_what_a_patch_takes_from_another_is_not_the_others_any_more() -> None:
    fields = await fields_after(MERGE, b'{"metadata":{"labels":{"made":"new"}}}', "patcher")
    assert fields["patcher"] == {"f:metadata": {"f:labels": {"f:made": {}}}}
    assert fields["maker"]["f:metadata"]["f:labels"] == {}  # the labels themselves
