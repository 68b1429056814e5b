"""A server whose store is encrypted, seen through its API and through the bytes on its disk."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from tests.apiserver.builders import CRONS, call, cron, definition, established
from tests.apiserver.encrypted import PLAIN, files_of, refused, running, secret, stored
from tests.store.configurations import OTHER, keyed
from tiphys.api import core_v1
from tiphys.testing import LocalCluster


@pytest.mark.parametrize("provider", ["secretbox", "aesgcm", "aescbc"])
async def test_a_secret_is_nowhere_on_the_disk_and_whole_in_every_answer(
    tmp_path: Path, provider: str
) -> None:
    encoded = b64encode(PLAIN.encode())
    async with running(tmp_path, keyed(provider)) as cluster:
        made = await cluster.client.create(secret(), "default")
        await cluster.client.patch(
            core_v1.Secret, "s", {"metadata": {"labels": {"a": "b"}}}, "default"
        )
        listed = await cluster.client.list(core_v1.Secret, "default")
        assert PLAIN.encode() == listed.items[0].data["password"] == made.data["password"]
        on_disk = files_of(tmp_path)
    assert b"k8s:enc:" in on_disk and encoded not in on_disk and PLAIN.encode() not in on_disk
    async with running(tmp_path, keyed(provider)) as again:
        assert (await again.client.get(core_v1.Secret, "s", "default")).data[
            "password"
        ] == PLAIN.encode()
        assert encoded not in files_of(tmp_path)


async def test_replacing_an_object_by_itself_seals_it_with_the_new_key(tmp_path: Path) -> None:
    async with running(tmp_path, {"identity": {}}) as cluster:
        await cluster.client.create(secret(), "default")
    assert stored(tmp_path).startswith(b"{")
    async with running(tmp_path, keyed("secretbox"), {"identity": {}}) as cluster:
        found = await cluster.client.get(core_v1.Secret, "s", "default")
        first = await cluster.client.update(found)
        assert stored(tmp_path).startswith(b"k8s:enc:secretbox:v1:one:")
        assert first.metadata.resource_version != found.metadata.resource_version
        second = await cluster.client.update(first)
        assert second.metadata.resource_version == first.metadata.resource_version


async def test_a_secret_whose_key_is_gone_is_named_in_the_error(tmp_path: Path) -> None:
    async with running(tmp_path, keyed("aesgcm")) as cluster:
        await cluster.client.create(secret(), "default")
    async with running(tmp_path, keyed("aesgcm", "two", OTHER), {"identity": {}}) as cluster:
        with refused(500) as one:
            await cluster.client.get(core_v1.Secret, "s", "default")
        assert "data from the storage is not transformable" in one.value.status.message
        assert "/core/secrets/default/s" in one.value.status.message
        with refused(500) as every:
            await cluster.client.list(core_v1.Secret, "default")
        assert every.value.status.reason == "StorageReadError"
        await cluster.client.create(secret("other"), "default")
    async with running(tmp_path, keyed("aesgcm", "two", OTHER), keyed("aesgcm")) as cluster:
        assert len((await cluster.client.list(core_v1.Secret, "default")).items) == 2


async def test_a_server_without_the_configuration_does_not_take_sealed_bytes_for_objects(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, keyed("aesgcm")) as cluster:
        await cluster.client.create(secret(), "default")
    async with LocalCluster(store="sqlite", root=tmp_path) as plain:
        with refused(500) as one:
            await plain.client.get(core_v1.Secret, "s", "default")
    assert "identity transformer tried to read encrypted data" in one.value.status.message


async def test_custom_resources_are_encrypted_like_any_other(tmp_path: Path) -> None:
    async with running(
        tmp_path, keyed("secretbox"), resources=("*.stable.example.com",)
    ) as cluster:
        await established(cluster, definition())
        await call(cluster, "POST", CRONS, cron(spec={"host": PLAIN}))
        assert (await call(cluster, "GET", f"{CRONS}/a"))["spec"]["host"] == PLAIN
        assert PLAIN.encode() not in files_of(tmp_path)
