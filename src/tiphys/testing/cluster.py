"""A cluster in one process: API server, controllers, scheduler, hollow nodes. Starts in a fraction
of a second."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tiphys import addons
from tiphys.api import core_v1
from tiphys.apiserver.main import RunningServer
from tiphys.apiserver.options import Options
from tiphys.client.client import Client
from tiphys.client.config import load
from tiphys.client.tasks import TaskGroup
from tiphys.client.unnamed import leave_servers_unnamed
from tiphys.cluster import kubeconfig
from tiphys.cluster.certificates import Authority, key_pem, new_key, write_private
from tiphys.controllers.main import run_controllers
from tiphys.scheduler.main import Scheduler


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LocalCluster:
    """A whole cluster in the test's own process, as a context manager.

    nodes:       hollow nodes; 0: only the API server, unless `controllers` are wanted
    controllers: whether controllers and scheduler run; by default if there are nodes
    store:       memory, sqlite or etcd endpoints
    addons:      enabled by name, and ready when the cluster is; ``kueue port=0`` has a setting
    machines:    what controllers need where machines join (`controllers.shell.Context`)
    options:     further ones of the API server (`tiphys.apiserver.main.Options`)
    """

    workers = 0  # of the API server, if not said otherwise

    def __init__(
        self,
        nodes: int = 0,
        controllers: bool | None = None,
        store: str = "memory",
        root: Path | None = None,
        addons: Sequence[str] = (),
        machines: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._options = {"workers": self.workers, **options}
        self._addons = addons
        self._machines = machines
        self._nodes = nodes
        self._controllers = bool(nodes) if controllers is None else controllers
        self._store = store
        self._folder = contextlib.ExitStack()
        self.root = root or Path(
            self._folder.enter_context(tempfile.TemporaryDirectory(prefix="tiphys-"))
        )
        self.tasks = TaskGroup("local-cluster")
        self.port = free_port()
        self._clients: list[Client] = []

    async def __aenter__(self) -> LocalCluster:
        leave_servers_unnamed()
        pki = self.root / "pki"
        authority = Authority(pki)
        certificate, key = authority.ensure(
            "apiserver", "kube-apiserver", (), ("localhost", "127.0.0.1"), server=True
        )
        if not (pki / "sa.key").exists():
            write_private(pki / "sa.key", key_pem(new_key()))
        self.authority = authority
        front = Authority(pki / "front-proxy")
        options = Options(
            certificate,
            key,
            authority.path,
            pki / "sa.key",
            self.root,
            "127.0.0.1",
            self.port,
            store=self._store,
            front_proxy=(front.path, *front.ensure("front-proxy-client", "front-proxy-client")),
            **self._options,
        )
        self.server = RunningServer(options, addons.served_groups())
        await self.server.start()
        self.client = self.client_as("kubernetes-admin", ("system:masters",))
        if self._controllers:
            secret = (pki / "ca.key").read_text()
            ca = authority.path.read_text()
            informers = await run_controllers(
                self.client,
                self.tasks,
                ca,
                secret,
                addons.controllers(),
                machines=self._machines,
            )
            self.tasks.start(
                Scheduler(self.client, self.tasks, informers=informers).run(),
                "scheduler",
                vital=True,
            )
        if self._nodes:
            await self._start_nodes()
        if self._addons:
            await self._start_addons()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tasks.stop()
        for client in self._clients:
            await client.close()
        await self.server.stop()
        self._folder.close()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def kubeconfig(
        self, user: str = "kubernetes-admin", groups: tuple[str, ...] = ("system:masters",)
    ) -> Path:
        """A kubeconfig file of a user; the certificate is made for it."""
        stem = user.replace(":", "-").replace("/", "-")
        certificate, key = self.authority.ensure(stem, user, groups)
        path = self.root / f"{stem}.kubeconfig"
        kubeconfig.component(path, self.url, self.authority.path, certificate, key)
        return path

    def client_as(self, user: str, groups: tuple[str, ...] = ()) -> Client:
        """A client with the identity of a user; closed with the cluster."""
        client = Client(load(self.kubeconfig(user, groups)))
        self._clients.append(client)
        return client

    async def _start_addons(self) -> None:
        from tiphys.addons import OPTIONAL, installing, types
        from tiphys.addons.host import Host
        from tiphys.machinery import conditions

        for named in self._addons:
            name, *assignments = named.split()
            addon = OPTIONAL[name]
            settings = installing.settings_of(addon, assignments)
            await installing.enable(self.client, addon, settings)
        host = Host(self.client_as(installing.HOST), OPTIONAL, self.root / "addons", self.tasks)
        host.start()

        async def ready() -> bool:
            listed = (await self.client.list(types.Addon)).items
            return all(conditions.is_true(item.status.conditions, "Ready") for item in listed)

        await self.eventually(ready, 60)

    async def _start_nodes(self) -> None:
        from tiphys.client.informer import Informers
        from tiphys.cluster import hollownodes
        from tiphys.cluster.nodeoptions import NodeProcess

        options = NodeProcess(self.kubeconfig(), "hollow", self.root, nodes=self._nodes)
        informers = Informers(self.client, self.tasks)
        await hollownodes.start(options, self.client, self.client, self.tasks, informers, [])

    async def eventually(self, check: Callable[[], Any], seconds: float = 20.0) -> Any:
        """Calls `check` (plain or async) until it gives something true, and returns that. Raises
        TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                result = check()
                if asyncio.iscoroutine(result):
                    result = await result
                if result:
                    return result
                await asyncio.sleep(0.02)

    async def pods(self, namespace: str = "default", labels: str = "") -> list[core_v1.Pod]:
        return (await self.client.list(core_v1.Pod, namespace, labels=labels)).items
