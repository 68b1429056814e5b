"""An API server, a route server and routers as processes of their own, whose time can be told
apart.

``python -m tests.addons.routeserver.processes`` is the API server: it writes where its kubeconfig
is, and ends with its input.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from tiphys.addons import OPTIONAL, installing
from tiphys.client.client import Client
from tiphys.client.config import load
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port


class Process:
    """A Python module at work. `cpu` is in seconds."""

    def __init__(self, running: asyncio.subprocess.Process) -> None:
        self.running = running

    @classmethod
    async def of(cls, *command: str) -> Process:
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", *command, stdin=pipe, stdout=pipe
            )
        )

    async def line(self) -> str:
        assert self.running.stdout is not None
        return (await self.running.stdout.readline()).decode().strip()

    def cpu(self) -> float:
        threads = Path(f"/proc/{self.running.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    async def kill(self) -> None:
        if self.running.returncode is None:
            self.running.send_signal(signal.SIGKILL)
            await self.running.wait()


class Api:
    """An API server, and a client of its administrator."""

    def __init__(self, process: Process, kubeconfig: Path, client: Client) -> None:
        self.process, self.kubeconfig, self.client = process, kubeconfig, client

    async def lists(self) -> dict[str, int]:
        """How often each resource has been listed."""
        text = (await self.client.request("GET", "/metrics", accept="text/plain")).decode()
        found: dict[str, int] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "apiserver_request_total" and sample.labels["verb"] == "LIST":
                    resource = sample.labels["resource"]
                    found[resource] = found.get(resource, 0) + int(sample.value)
        return found

    async def create(self, path: str, obj: dict[str, Any]) -> None:
        await self.client.request("POST", path, msgspec.json.encode(obj))


@asynccontextmanager
async def api() -> AsyncIterator[Api]:
    process = await Process.of("tests.addons.routeserver.processes")
    try:
        kubeconfig = Path(await process.line())
        async with Client(load(kubeconfig), "test") as client:
            addon = OPTIONAL["routeserver"]
            await installing.enable(client, addon, addon.settings())
            yield Api(process, kubeconfig, client)
    finally:
        await process.kill()


class Server:
    """A route server at one address, which can be killed and started again."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._api, self._folder = api, folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: Process | None = None

    async def start(self) -> None:
        settings = msgspec.json.encode({"port": self.port}).decode()
        kubeconfig = str(self._api.kubeconfig)
        where = ("--kubeconfig", kubeconfig, "--data-dir", str(self._folder))
        what = ("--only", "routeserver", "--settings", settings)
        self.process = await Process.of("tiphys.cli.main", "addons", *where, *what)

    async def kill(self) -> None:
        if self.process is not None:
            await self.process.kill()

    async def is_loaded(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(self.url + "/health") as one:
                return one.status == 204
        except aiohttp.ClientError:
            return False


class RouterProcess:
    """A router in mode Exec."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.port, self._support = free_port(), free_port()
        self._process: Process | None = None

    async def start(self) -> None:
        ports = ("--port", str(self.port), "--support", str(self._support))
        url = ("--routes", f"{self._server.url}/routes")
        self._process = await Process.of("tiphys.addons.routeserver.router", *ports, *url)
        assert await self._process.line()

    async def is_ready(self) -> bool:
        url = f"http://127.0.0.1:{self._support}/ready"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200

    async def kill(self) -> None:
        if self._process is not None:
            await self._process.kill()


async def eventually(check: Any, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.05)


async def _serve() -> None:
    async with LocalCluster() as cluster:
        print(cluster.kubeconfig(), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
