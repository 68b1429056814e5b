"""SIGKILL at any moment during writes: no acknowledged write is lost, no revision is given twice, no watcher that
resumes misses an event. Fifty times on SQLite and on etcd, with the real server process."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

import pytest

from tests.builders import config_map
from tests.store.test_engines import etcd  # noqa: F401 (a fixture)
from tiphys.api import core_v1
from tiphys.client.client import Client, Unreachable
from tiphys.client.config import load
from tiphys.cluster import kubeconfig
from tiphys.cluster.certificates import Authority, key_pem, new_key, write_private
from tiphys.machinery.errors import StatusError
from tiphys.testing.cluster import free_port

ROUNDS = 50


class Killed:
    """A server process that is killed and started again, with its files."""

    def __init__(self, root: Path, store: str) -> None:
        self.root, self.store, self.port = root, store, free_port()
        authority = Authority(root / "pki")
        authority.ensure("apiserver", "kube-apiserver", (), ("127.0.0.1",), server=True)
        write_private(root / "pki" / "sa.key", key_pem(new_key()))
        certificate, key = authority.ensure("admin", "admin", ("system:masters",))
        kubeconfig.component(root / "kubeconfig", f"https://127.0.0.1:{self.port}", authority.path, certificate, key)

    async def start(self) -> Client:
        command = [sys.executable, "-m", "tiphys.cli.main", "apiserver", "--pki", str(self.root / "pki"), "--data-dir", str(self.root),
                   "--port", str(self.port), "--bind", "127.0.0.1", "--store", self.store]  # fmt: skip
        self.process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        client = Client(load(self.root / "kubeconfig"))
        async with asyncio.timeout(30):
            while True:
                try:
                    await client.request("GET", "/readyz", timeout=2)
                    return client
                except (Unreachable, StatusError):
                    await asyncio.sleep(0.02)

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


async def _write_until_killed(client: Client, writer: int, round_: int, acknowledged: dict[str, str]) -> None:
    for number in range(10_000):
        name = f"w{writer}-{round_}-{number}"
        try:
            made = await client.create(config_map(name, round=str(round_)))
            acknowledged[name] = made.metadata.resource_version
            if number % 3 == 0:
                made.data["changed"] = "yes"
                made = await client.update(made)
                acknowledged[name] = made.metadata.resource_version
        except (Unreachable, StatusError, asyncio.CancelledError):
            return


@pytest.mark.parametrize("engine", ["sqlite", "etcd"])
async def test_sigkill_loses_nothing(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = "sqlite" if engine == "sqlite" else "http://" + request.getfixturevalue("etcd")
    server = Killed(tmp_path, store)
    client = await server.start()
    seen_from = (await client.list(core_v1.ConfigMap, "default")).revision
    watched: dict[str, list[str]] = {}
    acknowledged: dict[str, str] = {}
    revisions: set[str] = set()
    chance = random.Random(7)
    for round_ in range(ROUNDS):
        before = set(acknowledged)
        writers = [asyncio.create_task(_write_until_killed(client, w, round_, acknowledged)) for w in range(4)]
        await asyncio.sleep(chance.uniform(0.005, 0.06))
        await server.kill()
        await asyncio.gather(*writers)
        await client.close()
        client = await server.start()
        fresh = [acknowledged[name] for name in acknowledged.keys() - before]
        assert not revisions.intersection(fresh), "a revision was given twice"
        revisions.update(fresh)
        seen_from = await _resume(client, seen_from, watched)
    stored = {
        c.metadata.name: c.metadata.resource_version for c in (await client.list(core_v1.ConfigMap, "default")).items
    }
    assert acknowledged.keys() <= stored.keys(), "an acknowledged write was lost"
    late = [name for name, version in acknowledged.items() if int(stored[name]) < int(version)]
    assert not late, "an acknowledged update was lost"
    if engine == "sqlite":
        missed = [name for name, version in acknowledged.items() if version not in watched.get(name, [])]
        assert not missed, "a watcher that resumed missed an event"
    assert len(acknowledged) > ROUNDS
    await client.close()
    await server.kill()


async def _resume(client: Client, revision: str, watched: dict[str, list[str]]) -> str:
    """Watches on from where the last server left us, up to what is there now; lists anew when told to."""
    latest = (await client.list(core_v1.ConfigMap, "default")).revision
    try:
        async for event in client.watch(core_v1.ConfigMap, "default", revision=revision, timeout=1):
            if event.kind != "BOOKMARK":
                watched.setdefault(event.obj.metadata.name, []).append(event.obj.metadata.resource_version)
            if int(event.obj.metadata.resource_version) >= int(latest):
                break
    except StatusError as error:
        assert error.code == 410
    return latest
