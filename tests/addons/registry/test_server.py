"""The add-on at work: its doors, who may push there, and where nodes are led."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from tests.addons.pretended import Pretended
from tiphys.addons.registry import HOSTS, NAME, TOKEN_FILE, Settings, server
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.client.tasks import TaskGroup
from tiphys.cluster.certificates import Authority

PORT = 0


class Running:
    """The add-on, and what it has said of itself. `opened` are doors beside those of loopback."""

    def __init__(self, folder: Path, tasks: TaskGroup) -> None:
        self.folder = folder
        self.nodes = Pretended()
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.tasks = tasks

    @property
    def context(self) -> Any:
        return SimpleNamespace(
            data_dir=self.folder,
            settings=self.settings,
            informers=self.nodes,
            tasks=self.tasks,
            now=lambda: 0.0,
            ready=self.said.put_nowait,
        )

    settings: Settings

    def led_to(self, name: str) -> str:
        return (self.folder / HOSTS / name / "hosts.toml").read_text()


@contextlib.asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[tuple[Running, str]]:
    """With what it says of itself."""
    tasks = TaskGroup("registry")
    made = Running(folder, tasks)
    made.settings = from_builtins({"port": PORT, **settings}, Settings)
    work = tasks.start(server.run(made.context), "run")
    ready = asyncio.ensure_future(made.said.get())
    await asyncio.wait([work, ready], return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        ready.cancel()
        work.result()
    try:
        yield made, ready.result()
    finally:
        await tasks.stop()


async def status(url: str, tls: ssl.SSLContext | bool = True, method: str = "POST") -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, ssl=tls) as answer,
    ):
        return answer.status


@pytest.mark.parametrize(
    ("push", "answer", "words"),
    [
        ("token", 401, "pushed to by who has the password"),
        ("loopback", 202, "pushed to by anybody on this machine"),
    ],
)
async def test_a_registry_says_where_it_is_and_who_may_push(
    tmp_path: Path, push: str, answer: int, words: str
) -> None:
    async with running(tmp_path, push=push) as (_, said):
        where, _, rest = said.partition(", ")
        assert rest == words
        assert await status(f"http://{where}/v2/a/blobs/uploads/") == answer
        assert (tmp_path / TOKEN_FILE).exists()


async def test_a_registry_that_mirrors_says_so_and_leads_nodes(tmp_path: Path) -> None:
    async with running(tmp_path, mirrors="docker.io") as (made, said):
        assert said.endswith(", mirrors docker.io")
        port = said.partition(":")[2].partition(",")[0]
        for name in ("docker.io", NAME):
            assert f"http://127.0.0.1:{port}" in made.led_to(name)
    assert not (tmp_path / HOSTS).exists(), "nobody is led there when it has ended"


async def test_others_are_served_over_tls_and_need_the_password(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.ensure("registry", "registry", (), ("127.0.0.1",), server=True)
    files = {"certificate": str(certificate), "key": str(key)}
    async with running(tmp_path, push="loopback", tlsAddress="127.0.0.1", tlsPort=0, **files) as (
        _,
        said,
    ):
        where = said.partition(" and ")[2].partition(",")[0]
        assert where.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(authority.path))
        assert await status(f"{where}/v2/", trusting, "GET") == 401
    own = server._tls(certificate, key)
    assert own.minimum_version is ssl.TLSVersion.TLSv1_2


def node(address: str, type_: str = "") -> core_v1.Node:
    made: core_v1.Node = from_builtins(
        {
            "metadata": {"name": "n", "labels": {"type": type_}},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        },
        core_v1.Node,
    )
    return made


class Doors:
    """`fails` is what opening the next one ends with."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str, int]] = []
        self.fails: OSError | None = None

    async def open(self, door: Any, address: str, port: int) -> int:
        if self.fails is not None:
            raise self.fails
        self.opened.append((door.writers, address, port))
        return port


class Led:
    """Where nodes are led, of a registry at port 5000."""

    def __init__(self, folder: Path) -> None:
        self.doors: Any = Doors()
        self.tasks = TaskGroup("registry")
        self.hosts = folder / HOSTS
        context: Any = SimpleNamespace(tasks=self.tasks, settings=Settings())
        self.leading = server._Leading(context, self.doors, 5000, self.hosts)

    async def hear(self, address: str, type_: str = "") -> str:
        """Of a node; where they are led then."""
        self.leading.changed(None, node(address, type_))
        for _ in range(5):
            await asyncio.sleep(0)
        file = self.hosts / NAME / "hosts.toml"
        return file.read_text() if file.exists() else ""


@pytest.fixture
async def led(tmp_path: Path) -> AsyncIterator[Led]:
    made = Led(tmp_path)
    yield made
    await made.tasks.stop()


async def test_nodes_are_led_to_a_door_for_reading_at_their_address(led: Led) -> None:
    assert "http://10.244.0.1:5000" in await led.hear("10.244.0.1")
    await led.hear("10.244.0.1")
    assert led.doors.opened == [("nobody", "10.244.0.1", 5000)], "once"
    assert "http://10.244.0.2:5000" in await led.hear("10.244.0.2")
    led.leading.changed(node("10.244.0.3"), None)
    assert len(led.doors.opened) == 2


@pytest.mark.parametrize(("address", "type_"), [("8.8.8.8", ""), ("10.244.0.1", "hollow")])
async def test_nodes_that_pull_nothing_are_led_nowhere(led: Led, address: str, type_: str) -> None:
    assert await led.hear(address, type_) == ""
    assert led.doors.opened == []


@pytest.mark.parametrize(
    ("code", "warned"), [(errno.EADDRNOTAVAIL, False), (errno.EADDRINUSE, True)]
)
async def test_a_door_that_cannot_be_opened_is_told_if_it_is_ours(
    led: Led, caplog: pytest.LogCaptureFixture, code: int, warned: bool
) -> None:
    led.doors.fails = OSError(code, "no")
    assert await led.hear("10.244.0.1") == ""
    assert bool(caplog.records) is warned
