"""A cluster with two pools of nodes, a shop of which a part runs beside it, and production."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from tiphys.addons import installing, loadtest, types
from tiphys.addons.host import Host
from tiphys.addons.loadtest.types import LoadTest
from tiphys.addons.optional import NAMESPACE
from tiphys.api import apps_v1, core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

_ENDS = ("Completed", "Failed", "Refused")
VERSION = "loadtest.tiphys.dev/v1alpha1"
LOCUSTFILE = """
from locust import HttpUser, constant, task


class Customer(HttpUser):
    wait_time = constant(1)

    @task
    def order(self):
        self.client.post("/orders")
"""


def deployment(image: str, replicas: int) -> dict[str, Any]:
    container = {"name": "web", "image": image, "resources": {"requests": {"cpu": "100m"}}}
    labels = {"app": "shop"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


class World:
    """`port` is where the local service `checkout` listens, `state` is what it keeps of a test."""

    def __init__(self, cluster: LocalCluster, folder: Path, settings: loadtest.Settings) -> None:
        self.cluster, self.client = cluster, cluster.client
        self.folder, self.settings = folder, settings
        self.port, self.state = free_port(), folder / "state"
        self._conductor: asyncio.subprocess.Process | None = None

    def write_folder(self) -> None:
        """What the machine's administrator says."""
        shop = str(Path(__file__).with_name("shop.py"))
        environment = {"PORT": str(self.port), "STATE": str(self.state)}
        versions = {version: [sys.executable, shop] for version in ("1", "2")}
        service = {"versions": versions, "environment": environment}
        (self.folder / "checkout.json").write_text(json.dumps(service))
        (self.folder / "customers.py").write_text(LOCUSTFILE)

    # --- the conductor, a process that can be killed ---

    async def conduct(self) -> None:
        kubeconfig = self.cluster.kubeconfig(installing.HOST)
        command = [sys.executable, "-m", "tiphys.cli.main", "addons"]
        where = ["--kubeconfig", str(kubeconfig), "--data-dir", str(self.folder / "data")]
        log = (self.folder / "conductor.log").open("ab")
        self._conductor = await asyncio.create_subprocess_exec(
            *command, *where, stdout=log, stderr=log
        )

        async def ready() -> bool:
            found = await self.client.get(types.Addon, "loadtest")
            return conditions.is_true(found.status.conditions, "Ready")

        await self.cluster.eventually(ready, 60)

    async def kill(self) -> None:
        assert self._conductor is not None
        self._conductor.send_signal(signal.SIGKILL)
        await self._conductor.wait()
        patch = {"status": {"conditions": []}}
        await self.client.patch(
            types.Addon,
            "loadtest",
            patch,
            subresource="status",
            media="application/merge-patch+json",
        )

    async def end(self) -> None:
        if self._conductor is not None and self._conductor.returncode is None:
            self._conductor.terminate()
            await self._conductor.wait()

    # --- tests ---

    def test(self, name: str = "evening", **spec: Any) -> dict[str, Any]:
        generator = {
            "substrate": "Process",
            "locustfile": "customers.py",
            "host": f"http://127.0.0.1:{self.port}",
            "initialUsers": 2,
            "maxUsers": 200,
        }
        return {
            "apiVersion": VERSION,
            "kind": "LoadTest",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "targetOrdersPerMinute": 900,
                "plateauMinutes": 1,
                "periodSeconds": 4,
                "applications": [
                    {"name": "shop"},
                    {"name": "checkout", "substrate": "Process", "replicas": 1},
                ],
                "orders": {"url": f"http://127.0.0.1:{self.port}/metrics"},
                "generator": generator,
                "pools": {"load": {"pool": "load"}, "system": {"pool": "system"}},
                "cleanup": [{"url": f"http://127.0.0.1:{self.port}/orders"}],
                **spec,
            },
        }

    async def get(self, name: str = "evening") -> LoadTest:
        return await self.client.get(LoadTest, name, "default")

    async def until(self, phase: str, seconds: float = 60, name: str = "evening") -> LoadTest:
        async def there() -> LoadTest | None:
            found = await self.get(name)
            if found.status.phase == phase:
                return found
            assert found.status.phase not in _ENDS, found.status
            return None

        found: LoadTest = await self.cluster.eventually(there, seconds)
        return found

    async def gone(self, name: str = "evening") -> bool:
        try:
            await self.get(name)
        except StatusError as error:
            return is_not_found(error)
        return False

    async def as_it_is(self) -> tuple[bytes, dict[str, str]]:
        """The spec of the Deployment, to the byte, and the state of local services."""
        kind = {"apiVersion": "apps/v1", "kind": "Deployment"}
        found = await self.client.get(kind, "shop", "default")
        state = await self.client.get(core_v1.ConfigMap, loadtest.PROCESSES, NAMESPACE)
        return json.dumps(found["spec"]).encode(), state.data


@asynccontextmanager
async def world(tmp_path: Path, nodes: int = 4, inside: bool = False) -> AsyncIterator[World]:
    """With `inside`, the conductor is in this process: it cannot be killed, and starts at once."""
    folder = tmp_path / "services"
    folder.mkdir(parents=True)
    settings = loadtest.Settings(folder=str(folder), local=True)
    async with LocalCluster(nodes=nodes) as cluster:
        made = World(cluster, folder, settings)
        made.write_folder()
        listed = (await made.client.list(core_v1.Node)).items
        for number, node in enumerate(listed):
            labels = {"pool": "load" if number % 2 else "system"}
            patch = {"metadata": {"labels": labels}}
            await made.client.patch(core_v1.Node, node.metadata.name, patch)
        await made.client.create(deployment("shop:2", 2))
        await installing.enable(made.client, loadtest.ADDON, settings)
        try:
            if inside:
                host = cluster.client_as(installing.HOST)
                offered = {"loadtest": loadtest.ADDON}
                Host(host, offered, folder / "data", cluster.tasks).start()
            else:
                await made.conduct()
            yield made
        finally:
            await made.end()


@asynccontextmanager
async def production(made: World) -> AsyncIterator[LocalCluster]:
    """A second cluster: the shop at version 1 with three replicas, and one checkout of version 1.
    A Secret says where it is."""
    async with LocalCluster(nodes=0) as other:
        await other.client.create(deployment("shop:1", 3))
        namespace = core_v1.Namespace(metadata=ObjectMeta(name=NAMESPACE))
        await other.client.create(namespace)
        meta = ObjectMeta(name=loadtest.PROCESSES, namespace=NAMESPACE)
        state = {"checkout": '{"replicas": 1, "version": "1"}'}
        await other.client.create(core_v1.ConfigMap(metadata=meta, data=state))
        meta = ObjectMeta(name="production", namespace="default")
        data = {"kubeconfig": inlined(other.kubeconfig())}
        await made.client.create(core_v1.Secret(metadata=meta, data=data))
        yield other


def inlined(path: Path) -> bytes:
    """A kubeconfig that holds what its files hold."""
    import base64

    content = yaml.safe_load(path.read_text())
    for plural, one in (("clusters", "cluster"), ("users", "user")):
        part = content[plural][0][one]
        for name in ("certificate-authority", "client-certificate", "client-key"):
            if name in part:
                data = (path.parent / part.pop(name)).read_bytes()
                part[f"{name}-data"] = base64.b64encode(data).decode()
    return yaml.safe_dump(content).encode()


def has_locust() -> bool:
    return Path(sys.executable).with_name("locust").exists() and os.name == "posix"


__all__ = ["LoadTest", "World", "apps_v1", "deployment", "has_locust", "production", "world"]
