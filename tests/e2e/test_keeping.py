"""A cluster's data kept, moved and hidden with the commands that users type: real processes, no
nodes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiphys
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client, Unreachable
from tiphys.client.config import Config
from tiphys.cluster import components, images, state, stored
from tiphys.cluster.state import Cluster
from tiphys.machinery.errors import StatusError
from tiphys.testing.cluster import free_port

pytestmark = pytest.mark.slow


class Kept:
    """Clusters of one test, and the `tiphys` command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = f"kept-{uuid.uuid4().hex[:8]}"
        self.names: list[str] = []
        self.env = {**os.environ, "KUBECONFIG": str(root / "kubeconfig")}
        self.python = sys.executable

    def tiphys(self, *words: str, fails: bool = False) -> str:
        done = subprocess.run(
            [self.python, "-m", "tiphys.cli.main", *words],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, said
        return said

    def up(self, *options: str, name: str = "") -> Cluster:
        name = name or self.name
        if name not in self.names:
            self.names.append(name)
            place = ("--data-dir", str(self.root / name), "--port", str(free_port()))
            runtime = () if "--runtime" in options else ("--runtime", "none")
            options = (*place, *runtime, *options)
        self.tiphys("up", "--name", name, *options)
        return self.cluster(name)

    def install(self, version: str) -> None:
        """Uses a release of its own from now on: an environment with a copy of the sources."""
        place = self.root / version
        sources = place / "src"
        shutil.copytree(
            Path(tiphys.__file__).parent, sources / "tiphys", ignore=shutil.ignore_patterns("*.pyc")
        )
        (sources / "tiphys" / "__init__.py").write_text(f'__version__ = "{version}"\n')
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
        [packages] = place.glob("lib/python*/site-packages")
        found = [str(sources), *(path for path in sys.path if path.endswith("site-packages"))]
        (packages / "a.pth").write_text("\n".join(found) + "\n")
        self.env.pop("PYTHONPATH", None)
        self.python = str(place / "bin" / "python")

    def commands(self) -> dict[str, str]:
        """The program of each component that runs."""
        rows = components.read(self.cluster())["components"]
        return {row["name"]: _program(row["pid"]) for row in rows}

    def cluster(self, name: str = "") -> Cluster:
        found = state.load(name or self.name)
        assert found is not None
        return found

    def client(self, name: str = "") -> Client:
        cluster = self.cluster(name)
        pki = cluster.pki
        return Client(Config(cluster.server, pki / "ca.crt", pki / "admin.crt", pki / "admin.key"))


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    for name in made.names:
        made.tiphys("down", "--name", name, "--purge")


def secret(name: str) -> core_v1.Secret:
    return core_v1.Secret(metadata=ObjectMeta(name=name), string_data={"password": "open-sesame"})


async def make_secrets(kept: Kept, count: int = 20) -> list[str]:
    """Their uids."""
    async with kept.client() as client:
        made = [await client.create(secret(f"s{number}"), "default") for number in range(count)]
    return sorted(one.metadata.uid for one in made)


async def uids(kept: Kept, name: str = "") -> list[str]:
    async with kept.client(name) as client:
        listed = await client.list(core_v1.Secret, "default")
    return sorted(one.metadata.uid for one in listed.items)


async def raw(read: Any, cluster: Cluster) -> Any:
    """What is in the store, past the API."""
    return await asyncio.to_thread(read, cluster)


class Writer:
    """Writes without end, and remembers what it was told is done."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.acknowledged: list[str] = []
        self.going = asyncio.Event()

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            try:
                made = await self.client.create(secret(f"w{number}"), "default")
                self.acknowledged.append(made.metadata.name)
                if len(self.acknowledged) == 10:
                    self.going.set()
            except (Unreachable, StatusError):
                await asyncio.sleep(0.05)  # the API is away


@contextlib.asynccontextmanager
async def writing(kept: Kept):  # type: ignore[no-untyped-def]
    async with kept.client() as client:
        writer = Writer(client)
        task = asyncio.ensure_future(writer.run())
        await writer.going.wait()
        yield writer
        task.cancel()


# --- encryption ---


async def test_a_key_is_rotated_while_the_cluster_runs(kept: Kept) -> None:
    cluster = kept.up("--encrypt")
    await make_secrets(kept)
    config = Path(cluster.encryption_config)
    first = config.read_text()
    assert config.stat().st_mode & 0o777 == 0o600 and not await raw(stored.not_sealed, cluster)
    said = kept.tiphys("rotate-encryption-key", "--name", kept.name)
    assert "objects are encrypted with the first key" in said
    assert "key2" in config.read_text() and first.split("secret: ")[1] not in config.read_text()
    rows = {row.key: row.value or b"" for row in await raw(stored.current, cluster)}
    assert rows["/core/secrets/default/s0"].startswith(b"k8s:enc:secretbox:v1:key2:")
    kept.tiphys("down", "--name", kept.name)
    kept.up()
    assert len(await uids(kept)) == 20
    assert "Every key holds an object" in kept.tiphys("store", "check", "--name", kept.name)


# --- backups ---


@pytest.mark.parametrize("store", ["sqlite", "etcd"])
@pytest.mark.needs("etcd")
async def test_a_backup_under_load_comes_back_whole_on_another_cluster(
    kept: Kept, store: str
) -> None:
    kept.up("--encrypt", "--store", store)
    there = await make_secrets(kept)
    passphrase = kept.root / "passphrase"
    passphrase.write_text("a long one\n")
    file = kept.root / "backup"
    async with writing(kept) as writer:
        before = list(writer.acknowledged)
        said = await asyncio.to_thread(
            kept.tiphys,
            "backup",
            str(file),
            "--name",
            kept.name,
            "--passphrase-file",
            str(passphrase),
        )
    assert "encrypted." in said and file.read_bytes().startswith(b"age-encryption.org/v1")
    async with kept.client() as client:
        told = (await client.list(core_v1.Secret, "default")).revision
    refusal = kept.tiphys("restore", str(file), "--passphrase-file", str(passphrase), fails=True)
    assert "is running; end it first" in refusal
    kept.tiphys("down", "--name", kept.name)
    assert "--replace sets it aside" in kept.tiphys(
        "restore", str(file), "--passphrase-file", str(passphrase), fails=True
    )
    kept.tiphys("restore", str(file), "--replace", "--passphrase-file", str(passphrase))
    kept.up()
    async with kept.client() as client:
        listed = await client.list(core_v1.Secret, "default")
        names = {one.metadata.name for one in listed.items}
        assert set(before) <= names and set(there) <= {one.metadata.uid for one in listed.items}
        assert all(one.data["password"] == b"open-sesame" for one in listed.items)
        assert int(listed.revision) > int(told) + 900_000_000
        with pytest.raises(StatusError) as expired:
            async for _ in client.watch(core_v1.Secret, "default", revision=told, timeout=10):
                break
        assert expired.value.code == 410


async def test_what_cannot_be_restored_is_told_and_changes_nothing(kept: Kept) -> None:
    kept.up()
    kept.tiphys("backup", str(kept.root / "plain"), "--name", kept.name)
    wrong = kept.root / "wrong"
    wrong.write_text("wrong\n")
    right = kept.root / "right"
    right.write_text("right\n")
    kept.tiphys(
        "backup", str(kept.root / "locked"), "--name", kept.name, "--passphrase-file", str(right)
    )
    data = (kept.root / "plain").read_bytes()
    (kept.root / "cut").write_bytes(data[: len(data) // 2])
    (kept.root / "flipped").write_bytes(data[:-200] + bytes([data[-200] ^ 1]) + data[-199:])
    (kept.root / "none").write_bytes(b"hello")
    before = sorted(path.name for path in (kept.root / kept.name).iterdir())
    for file, words in (
        ("cut", "is damaged"),
        ("flipped", "is damaged"),
        ("none", "is damaged, or no backup"),
        ("missing", "No such file"),
    ):
        assert words in kept.tiphys("restore", str(kept.root / file), fails=True)
    locked = ("restore", str(kept.root / "locked"))
    assert "is encrypted: give its" in kept.tiphys(*locked, fails=True)
    said = kept.tiphys(*locked, "--passphrase-file", str(wrong), fails=True)
    assert "the passphrase is another one" in said
    assert sorted(path.name for path in (kept.root / kept.name).iterdir()) == before


# --- moving ---


@pytest.mark.needs("etcd")
async def test_a_store_moves_to_etcd_and_back_under_load_and_nothing_is_lost(kept: Kept) -> None:
    kept.up("--encrypt")
    there = await make_secrets(kept)
    for store, old in (("etcd", "state.db.old"), ("sqlite", "etcd.old")):
        async with writing(kept) as writer:
            said = await asyncio.to_thread(
                kept.tiphys, "migrate", "--to", store, "--name", kept.name
            )
        assert "byte for byte the same. The API was away for" in said and old in said
        async with kept.client() as client:
            listed = await client.list(core_v1.Secret, "default")
            names = {one.metadata.name for one in listed.items}
            assert set(writer.acknowledged) <= names
            assert set(there) <= {one.metadata.uid for one in listed.items}
            for name in names - {f"s{number}" for number in range(20)}:
                await client.delete(core_v1.Secret, name, "default")
        assert kept.cluster().store == store and not await raw(stored.not_sealed, kept.cluster())
    assert "in sqlite already" in kept.tiphys(
        "migrate", "--to", "sqlite", "--name", kept.name, fails=True
    )


# --- upgrading ---


class Asking:
    """A client that asks fifty times a second, for reading and for writing, and counts."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answered = 0
        self.longest = 0.0  # seconds until an answer
        self.failures: list[str] = []

    async def once(self, number: int) -> None:
        began = time.monotonic()
        try:
            if number % 2:
                await self.client.get(core_v1.Namespace, "default")
            else:
                await self.client.create(secret(f"q{number}"), "default")
            self.answered += 1
            self.longest = max(self.longest, time.monotonic() - began)
        except (Unreachable, StatusError) as error:
            self.failures.append(repr(error))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(100_000):
                group.create_task(self.once(number))
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("store", ["sqlite", pytest.param("etcd", marks=pytest.mark.needs("etcd"))])
async def test_no_request_fails_while_a_cluster_is_upgraded(kept: Kept, store: str) -> None:
    kept.up("--store", store)
    async with kept.client() as client:
        asking = Asking(client)
        task = asyncio.ensure_future(asking.run())
        said = await asyncio.to_thread(kept.tiphys, "upgrade", "--name", kept.name)
        task.cancel()
    assert "apiserver: replaced in" in said and "controllers: replaced in" in said
    print(f"{asking.answered} answers on {store}, the longest after {asking.longest:.2f} s")
    assert asking.answered > 50 and asking.failures == []


@pytest.mark.root
@pytest.mark.needs("containerd")
async def test_pods_run_on_while_a_cluster_is_upgraded_and_goes_back(kept: Kept) -> None:
    kept.install("0.1.0")
    kept.up("--runtime", "containerd", "--wait")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": images.PAUSE, "imagePullPolicy": "Never"}]},
    }
    async with kept.client() as client:
        await client.create(pod, "default")
        first = await container(client)
        for version in ("0.2.0", "0.1.0"):
            if version == "0.2.0":
                kept.install(version)
            else:
                kept.python = str(kept.root / version / "bin" / "python")
            said = await asyncio.to_thread(kept.tiphys, "upgrade", "--name", kept.name)
            assert f"runs tiphys {version}; it was 0." in said
            programs = kept.commands()
            assert programs.pop("containerd") == "containerd"
            assert set(programs.values()) == {kept.python} and len(programs) >= 3
            assert kept.cluster().release == version
            assert await container(client) == first
    with sqlite3.connect(kept.cluster().root / "state.db") as database:
        database.execute("PRAGMA user_version=99")
    before = components.read(kept.cluster())["components"]
    refusal = kept.tiphys("upgrade", "--name", kept.name, fails=True)
    assert "a newer release has written it" in refusal and "nothing was changed" in refusal
    assert components.read(kept.cluster())["components"] == before


async def container(client: Client) -> str:
    """The id of the pod's container, once it runs and its node says so."""
    async with asyncio.timeout(60):
        while True:
            found = await client.get(core_v1.Pod, "p", "default")
            statuses = found.status.container_statuses
            if statuses and statuses[0].state.running is not None:
                assert statuses[0].restart_count == 0
                return statuses[0].container_id
            await asyncio.sleep(0.1)
