"""A real server process that is killed while it is written to, and what its clients may rely on
afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.builders import config_map
from tiphys.api import core_v1
from tiphys.client.client import Client, Unreachable
from tiphys.client.config import load
from tiphys.cluster import kubeconfig
from tiphys.cluster.certificates import Authority, key_pem, new_key, write_private
from tiphys.machinery.errors import StatusError
from tiphys.testing.cluster import free_port

_WRITES = (1, 1, 2, 5, 20, 60)  # that are acknowledged before a kill
_TOLD = 50  # kills after which a long run says how far it is


class Killed:
    """A server process that is killed and started again, with its files."""

    def __init__(self, root: Path, store: str, *options: str) -> None:
        self.root, self.store, self.port = root, store, free_port()
        self.options = options
        self._forking: asyncio.subprocess.Process | None = None
        self._server = 0  # its process id
        authority = Authority(root / "pki")
        authority.ensure("apiserver", "kube-apiserver", (), ("127.0.0.1",), server=True)
        write_private(root / "pki" / "sa.key", key_pem(new_key()))
        certificate, key = authority.ensure("admin", "admin", ("system:masters",))
        kubeconfig.component(
            root / "kubeconfig", f"https://127.0.0.1:{self.port}", authority.path, certificate, key
        )

    async def start(self) -> Client:
        """Starts the server, and returns when it is ready."""
        if self._forking is None:
            self._forking = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "tests.store.forking"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        stdin, stdout = self._forking.stdin, self._forking.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(self._command()).encode() + b"\n")
        self._server = int(await stdout.readline())
        client = Client(load(self.root / "kubeconfig"))
        async with asyncio.timeout(300):
            while True:
                try:
                    await client.request("GET", "/readyz", timeout=20)
                    return client
                except (Unreachable, StatusError):
                    await asyncio.sleep(0.02)

    def _command(self) -> list[str]:
        return [
            *("apiserver", "--pki", str(self.root / "pki"), "--data-dir", str(self.root)),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--store", self.store),
            *self.options,
        ]

    async def kill(self) -> None:
        """Returns once it is gone."""
        assert self._forking is not None and self._forking.stdout is not None
        os.kill(self._server, signal.SIGKILL)
        await self._forking.stdout.readline()
        self._server = 0

    async def end(self) -> None:
        """Kills it for the last time, if it runs."""
        forking = self._forking
        if forking is None:
            return
        assert forking.stdin is not None
        forking.stdin.close()
        if self._server:
            await self.kill()
        await forking.wait()


@dataclass
class Acknowledged:
    """What clients were told is done: the version of what was written, None of what was deleted."""

    objects: dict[str, str | None] = field(default_factory=dict)
    revisions: list[int] = field(default_factory=list)
    _told: asyncio.Event = field(default_factory=asyncio.Event)  # somebody was told something

    def note(self, name: str, version: str, deleted: bool = False) -> None:
        self.objects[name] = None if deleted else version
        self.revisions.append(int(version))
        self._told.set()

    async def more(self, count: int) -> None:
        """Returns when so many more writes are acknowledged."""
        enough = len(self.revisions) + count
        while len(self.revisions) < enough:
            self._told.clear()
            await self._told.wait()

    def check(self, stored: dict[str, str]) -> None:
        assert len(set(self.revisions)) == len(self.revisions), "a revision was given twice"
        there = {name: version for name, version in self.objects.items() if version is not None}
        assert there.keys() <= stored.keys(), "an acknowledged write was lost"
        late = [name for name, version in there.items() if int(stored[name]) < int(version)]
        assert not late, "an acknowledged update was lost"
        back = [
            name for name, version in self.objects.items() if version is None and name in stored
        ]
        assert not back, "an acknowledged deletion was lost"


class Follower:
    """A watch that goes on from where the last server left it. `seen` are revisions since the last
    list."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.seen: list[int] = []
        self.relisted = 0

    async def follow(self, client: Client, until: int | None = None) -> None:
        """Until the server is gone, or has shown everything up to `until`."""
        try:
            async for event in client.watch(
                core_v1.ConfigMap, "default", revision=self.revision, timeout=60
            ):
                if event.kind == "BOOKMARK":
                    continue
                self.revision = event.obj.metadata.resource_version
                self.seen.append(int(self.revision))
                if until is not None and self.seen[-1] >= until:
                    return
        except Unreachable:
            return
        except StatusError as error:
            assert error.code == 410
            with contextlib.suppress(Unreachable):
                self.revision = (await client.list(core_v1.ConfigMap, "default")).revision
                self.relisted += 1
                self.seen.clear()


async def _write_until_killed(
    client: Client, writer: int, round_: int, acknowledged: Acknowledged
) -> None:
    for number in range(10_000):
        name = f"w{writer}-{round_}-{number}"
        try:
            made = await client.create(config_map(name, round=str(round_)))
            acknowledged.note(name, made.metadata.resource_version)
            if number % 3 == 0:
                made.data["changed"] = "yes"
                made = await client.update(made)
                acknowledged.note(name, made.metadata.resource_version)
            if number % 5 == 0:
                acknowledged.objects.pop(name)  # whether or not we hear of it
                await client.delete(core_v1.ConfigMap, name, "default")
                acknowledged.objects[name] = None
        except (Unreachable, StatusError, asyncio.CancelledError):
            return


async def check_kills(root: Path, store: str, rounds: int, *options: str) -> tuple[int, int]:
    """Kills a server so many times while it is written to. Returns how many writes were
    acknowledged, and how often a watch had to list anew."""
    server = Killed(root, store, *options)
    try:
        return await _check_kills(server, rounds)
    finally:
        await server.end()


async def _check_kills(server: Killed, rounds: int) -> tuple[int, int]:
    client = await server.start()
    follower = Follower((await client.list(core_v1.ConfigMap, "default")).revision)
    seed = random.randrange(1 << 30)
    print("seed", seed)  # shown when the test fails
    acknowledged, chance = Acknowledged(), random.Random(seed)
    for round_ in range(rounds):
        following = asyncio.create_task(follower.follow(client))
        writers = [
            asyncio.create_task(_write_until_killed(client, w, round_, acknowledged))
            for w in range(4)
        ]
        if chance.random() < 0.8:  # else it may be killed before it has told anybody anything
            async with asyncio.timeout(300):
                await acknowledged.more(chance.choice(_WRITES))
        await asyncio.sleep(chance.uniform(0.0, 0.02))
        await server.kill()
        await asyncio.gather(*writers, following)
        await client.close()
        client = await server.start()
        latest = max(acknowledged.revisions, default=0)
        if int(follower.revision) < latest:
            await follower.follow(client, latest)
        assert follower.seen == sorted(set(follower.seen)), (
            "a watch showed a change twice, or in another order"
        )
        if round_ % _TOLD == _TOLD - 1:
            print(f"{round_ + 1} kills, {len(acknowledged.revisions)} writes", flush=True)
        since = follower.seen[0] if follower.seen else latest + 1
        missed = {r for r in acknowledged.revisions if r >= since}.difference(follower.seen)
        assert not missed, "a watch that resumed missed a change"
    listed = (await client.list(core_v1.ConfigMap, "default")).items
    acknowledged.check({c.metadata.name: c.metadata.resource_version for c in listed})
    await client.close()
    return len(acknowledged.revisions), follower.relisted
