"""Deletion of one object, of that very object, or of a version of it."""

from __future__ import annotations

import pytest

from tests.apiserver.builders import refused
from tests.builders import config_map
from tiphys.api import core_v1
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found
from tiphys.testing import LocalCluster

CM = core_v1.ConfigMap


@pytest.mark.parametrize("which", ["uid", "revision"])
async def test_another_object_of_the_name_stays(server: LocalCluster, which: str) -> None:
    created = await server.client.create(config_map("a"))
    meta = created.metadata
    own = {"uid": meta.uid, "revision": meta.resource_version}
    other = {"uid": "another", "revision": "1"}
    error = await refused(server.client.delete(CM, "a", "default", **{which: other[which]}))
    assert is_conflict(error)
    await server.client.delete(CM, "a", "default", **{which: own[which]})
    with pytest.raises(StatusError) as gone:
        await server.client.get(CM, "a", "default")
    assert is_not_found(gone.value)


async def test_without_either_whatever_is_there_goes(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    await server.client.delete(CM, "a", "default")
    assert (await server.client.list(CM, "default")).items == []


async def test_a_manifest_names_itself(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    await server.client.delete({**manifest, "metadata": {"name": "a", "namespace": "default"}})
    assert (await server.client.list(CM, "default")).items == []
