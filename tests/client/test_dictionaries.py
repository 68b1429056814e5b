"""Objects as dictionaries, built-in and custom, go wherever structs go."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import core_v1
from tiphys.client.kinds import UnknownKind
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

SETTINGS: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "default"},
    "data": {"colour": "green"},
}
BACKUPS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "backups.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "backups", "kind": "Backup"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}
BACKUP: dict[str, Any] = {
    "apiVersion": "example.com/v1",
    "kind": "Backup",
    "metadata": {"name": "nightly", "namespace": "default"},
    "spec": {"at": "03:00"},
}


async def test_a_dictionary_is_created_read_changed_and_deleted(server: LocalCluster) -> None:
    client = server.client
    created = await client.create(SETTINGS)
    created["data"]["colour"] = "blue"
    await client.update(created)
    assert (await client.get(core_v1.ConfigMap, "settings", "default")).data == {"colour": "blue"}
    await client.patch(SETTINGS, "settings", {"data": {"size": "3"}})
    assert (await client.get(SETTINGS))["data"] == {"colour": "blue", "size": "3"}
    await client.delete(SETTINGS)
    assert not [
        item
        for item in (await client.list(SETTINGS, "default")).items
        if item["metadata"]["name"] == "settings"
    ]


async def test_custom_resources_are_found_by_discovery(server: LocalCluster) -> None:
    client = server.client
    await client.create(BACKUPS)
    await server.eventually(lambda: _is_served(server))
    assert (await client.create(BACKUP))["spec"] == {"at": "03:00"}
    page = await client.list({"apiVersion": "example.com/v1", "kind": "Backup"})
    assert [item["metadata"]["name"] for item in page.items] == ["nightly"]
    async for event in client.watch(BACKUP, "default", revision="0"):
        assert (event.kind, event.obj["spec"]) == ("ADDED", {"at": "03:00"})
        break


async def test_both_forms_are_applied_and_conflicts_are_told(server: LocalCluster) -> None:
    await server.client.apply(SETTINGS, manager="one")
    mine = core_v1.ConfigMap(data={"colour": "red"})
    mine.metadata.name = "settings"
    with pytest.raises(StatusError, match="conflict"):
        await server.client.apply(mine, manager="two")
    assert (await server.client.apply(mine, manager="two", force=True)).data == {"colour": "red"}


async def test_a_misspelt_field_of_a_dictionary_is_refused(server: LocalCluster) -> None:
    with pytest.raises(StatusError, match='unknown field "dta"'):
        await server.client.create({**SETTINGS, "dta": {}})


async def test_what_names_no_kind_or_no_object_is_told_before_anything_is_sent(
    server: LocalCluster,
) -> None:
    with pytest.raises(ValueError, match="apiVersion and kind"):
        await server.client.create({"metadata": {"name": "x"}})
    with pytest.raises(UnknownKind, match='no matches for kind "Nothing" in version "v1"'):
        await server.client.create({"apiVersion": "v1", "kind": "Nothing"})
    with pytest.raises(ValueError, match="no name"):
        await server.client.delete(core_v1.ConfigMap)


async def _is_served(server: LocalCluster) -> bool:
    found = await server.client.get(BACKUPS)
    conditions = found.get("status", {}).get("conditions", [])
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
