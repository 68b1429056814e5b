"""The add-on in a cluster, and an image on its way: built from files, pushed, pulled."""

from __future__ import annotations

import asyncio
import http.client
import json
from pathlib import Path

import pytest

from tiphys.addons import installing, registry, removing
from tiphys.addons.host import Host
from tiphys.addons.types import Addon
from tiphys.api import core_v1
from tiphys.cluster import images, pushing
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.machinery import conditions
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port


def tar_of(folder: Path, name: str = "redis:7") -> Path:
    file = folder / "image.tar"
    images.build(file, name, {"bin/program": b"\x7fELF" + bytes(100)}, ["/bin/program"])
    return file


@pytest.mark.parametrize(
    "name,short",
    [
        ("redis:7", "redis:7"),
        ("me/redis", "me/redis:latest"),
        ("localhost:5000/a/b:1", "a/b:1"),
        ("registry.tiphys.local/a:1", "a:1"),
        ("tiphys.local/hello:1", "hello:1"),
        ("docker.io/library/redis:7", "redis:7"),
        ("registry.tiphys.local/library/redis:7", "library/redis:7"),
    ],
)
def test_an_image_keeps_its_name_but_for_the_registry(name: str, short: str) -> None:
    assert pushing.short_name(name) == short


async def test_what_is_built_is_pushed_and_pulled(tmp_path: Path) -> None:
    port = free_port()
    async with LocalCluster(root=tmp_path) as cluster:
        settings = registry.Settings(port=port)
        await installing.enable(cluster.client, registry.ADDON, settings)
        host = Host(
            cluster.client_as(installing.HOST),
            {"registry": registry.ADDON},
            tmp_path / "addons",
            cluster.tasks,
        )
        host.start()

        async def ready() -> bool:
            enabled = await cluster.client.get(Addon, "registry")
            return conditions.is_true(enabled.status.conditions, "Ready")

        await cluster.eventually(ready)
        place = Cluster("local", str(tmp_path))
        names = await asyncio.to_thread(pushing.push, place, tar_of(tmp_path))
        assert names == ["registry.tiphys.local/redis:7"]
        again = await asyncio.to_thread(pushing.push, place, tar_of(tmp_path))
        assert again == names
        assert await asyncio.to_thread(entrypoint, port) == ["/bin/program"]
        said = await cluster.client.get(core_v1.ConfigMap, "local-registry-hosting", "kube-public")
        assert f'"localhost:{port}"' in said.data["localRegistryHosting.v1"]
        hosts = pushing.hosts_folder(place)
        assert {one.name for one in hosts.iterdir()} == {registry.NAME, f"localhost:{port}"}
        await removing.disable(cluster.client, registry.ADDON)
        await cluster.eventually(lambda: not hosts.exists())


def entrypoint(port: int) -> list[str]:
    """Of the image, as anybody who pulls it reads it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def get(path: str) -> dict[str, object]:
        connection.request("GET", f"/v2/redis/{path}")
        return json.loads(connection.getresponse().read())  # type: ignore[no-any-return]

    config = get("manifests/7")["config"]["digest"]  # type: ignore[index]
    return get(f"blobs/{config}")["config"]["Entrypoint"]  # type: ignore[index,no-any-return]


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10240])
def test_what_is_no_image_is_not_pushed(tmp_path: Path, content: bytes) -> None:
    place = Cluster("local", str(tmp_path))
    (pushing.hosts_folder(place) / "localhost:1").mkdir(parents=True)
    (pushing.folder(place) / registry.TOKEN_FILE).write_text("secret")
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(ClusterError, match="is no OCI layout"):
        pushing.push(place, tmp_path / "x.tar")


def test_a_cluster_without_a_registry_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="tiphys addon enable registry"):
        pushing.push(Cluster("local", str(tmp_path)), tar_of(tmp_path))
