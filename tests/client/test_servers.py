"""A client of several API servers asks the next one when one is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp.web
import pytest

from tiphys.client.config import Config, load
from tiphys.client.servers import Servers
from tiphys.client.transport import Transport, Unreachable
from tiphys.cluster import kubeconfig


class Pretender:
    """A server that says its name, or hangs up after it has heard a request."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard = 0
        self.hangs_up = False

    async def answer(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        self.heard += 1
        if self.hangs_up:
            assert request.transport is not None
            request.transport.abort()
        return aiohttp.web.Response(text=self.name)

    async def start(self) -> None:
        app = aiohttp.web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.runner = aiohttp.web.AppRunner(app)
        await self.runner.setup()
        await aiohttp.web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.place = f"127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self.runner.cleanup()


@pytest.fixture
async def three() -> AsyncIterator[list[Pretender]]:
    made = [Pretender(name) for name in ("a", "b", "c")]
    for one in made:
        await one.start()
    yield made
    for one in made:
        await one.stop()


@pytest.fixture
def plain_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pretenders speak no TLS."""
    from tiphys.client import servers

    read = servers.read
    monkeypatch.setattr(
        servers, "read", lambda file: [url.replace("https", "http") for url in read(file)]
    )


def config(three: list[Pretender], folder: Path) -> Config:
    file = folder / "servers"
    file.write_text("".join(f"{one.place}\n" for one in three))
    return Config(f"http://{three[0].place}", servers=file)


async def said(client: Transport, method: str = "GET") -> str:
    return (await client.request(method, "/x")).decode()


async def test_the_next_server_is_asked_when_one_is_away(
    three: list[Pretender], tmp_path: Path, plain_urls: None
) -> None:
    async with Transport(config(three, tmp_path)) as client:
        assert await said(client) == "a"
        await three[0].stop()
        await three[1].stop()
        assert await said(client, "POST") == "c"
        assert await said(client) == "c"


async def test_what_a_server_may_have_done_is_not_asked_of_another(
    three: list[Pretender], tmp_path: Path, plain_urls: None
) -> None:
    three[0].hangs_up = True
    async with Transport(config(three, tmp_path)) as client:
        with pytest.raises(Unreachable):
            await said(client, "POST")
        assert (three[0].heard, three[1].heard) == (1, 0)
        assert await said(client, "POST") == "b"


async def test_a_list_of_servers_is_read_when_it_is_needed(
    three: list[Pretender], tmp_path: Path, plain_urls: None
) -> None:
    wanted = config(three[:1], tmp_path)
    async with Transport(wanted) as client:
        assert await said(client) == "a"
        await three[0].stop()
        with pytest.raises(Unreachable):
            await said(client)
        config([three[0], three[2]], tmp_path)
        assert await said(client) == "c"


def test_who_notices_late_that_a_server_is_away_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "servers").write_text("b:1\nc:1\n")
    servers = Servers("https://a:1", tmp_path / "servers")
    for _ in range(5):
        servers.is_away("https://a:1")
    assert servers.current == "https://b:1"
    servers.is_away("https://b:1")
    servers.is_away("https://c:1")
    assert servers.current == "https://a:1"


def test_a_kubeconfig_of_ours_names_the_file_of_servers(tmp_path: Path) -> None:
    file, pem = tmp_path / "x.kubeconfig", tmp_path / "x.pem"
    kubeconfig.component(file, "https://a:1", pem, pem, pem, tmp_path / "servers")
    assert load(file).servers == tmp_path / "servers"
    kubeconfig.component(file, "https://a:1", pem, pem, pem)
    assert load(file).servers is None
