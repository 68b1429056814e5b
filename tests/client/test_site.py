"""A listener of a front: whose connections it serves, and what becomes of them when it stops."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tiphys.client import listening
from tiphys.client.front import Front, Site
from tiphys.client.servertls import ServerContext
from tiphys.cluster.certificates import Authority


class Host:
    """A front, and the sites that are made for it."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        self._context = ServerContext()
        pair = authority.ensure("s", "s", (), ("127.0.0.1",), server=True)
        self._context.load_cert_chain(*pair)
        self.trusting = ssl.create_default_context(cafile=str(authority.path))
        self.front = Front(self._answer)
        self.runner = web.ServerRunner(self.front, shutdown_timeout=0.1)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        return web.Response(text="ok")

    async def site(self, inherited: int | None = None, **options: Any) -> Site:
        made = Site(self.runner, "127.0.0.1", 0, ssl_context=self._context, **options)
        made.inherited = inherited
        await made.start()
        return made

    async def asked(self, port: int) -> asyncio.StreamWriter:
        """A connection on which something was asked, and answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self.trusting)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b"\r\n\r\nok")
        return writer


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    made = Host(tmp_path)
    await made.runner.setup()
    yield made
    await made.runner.cleanup()


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - what the other end has done has no event
            await asyncio.sleep(0)


def port_of(site: Site) -> int:
    return int(site._bound_port)  # type: ignore[attr-defined]


async def test_a_connection_is_busy_until_it_has_asked_and_used_after_that(host: Host) -> None:
    site = await host.site()
    assert site.listens and not site.busy and not site.is_used(1000)
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(site))
    await until(lambda: site.busy)  # it has not spoken
    writer.close()
    await until(lambda: not site.busy)
    asked = await host.asked(port_of(site))
    assert not site.busy and site.is_used(1000) and not site.is_used(-1)
    asked.close()
    await until(lambda: not site.is_used(1000))


async def test_a_site_that_does_not_listen_is_given_its_connections(host: Host) -> None:
    site = await host.site(listens=False)
    site.pause()
    assert not site.listens and not site.busy
    with socket.create_server(("127.0.0.1", 0)) as listening_socket:
        connecting = asyncio.ensure_future(host.asked(listening_socket.getsockname()[1]))
        connection, _ = await asyncio.to_thread(listening_socket.accept)
        connection.setblocking(False)
        site.take(connection)
        (await connecting).close()


async def test_one_that_is_paused_leaves_connections_to_who_comes_after(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        first = await host.site(inherited=held.fileno())
        port = port_of(first)
        assert port == held.getsockname()[1]
        (await host.asked(port)).close()
        first.pause()
        asking = asyncio.ensure_future(host.asked(port))
        for _ in range(50):
            await asyncio.sleep(0)
        assert first.listens and not asking.done()
        second = await host.site(inherited=held.fileno())
        (await asking).close()
        assert second.listens


async def test_handshakes_that_have_not_begun_end_with_the_site(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_UNDER_WAY", 0)
    site = await host.site()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(site))
    writer.write(b"hello")
    await until(lambda: site._handshakes.waiting)
    silent, other = await asyncio.open_connection("127.0.0.1", port_of(site))
    await until(lambda: site._listener is not None and site._listener.busy)
    await site.stop()
    async with asyncio.timeout(10):
        ends = await asyncio.gather(reader.read(-1), silent.read(-1), return_exceptions=True)
    assert all(end == b"" or isinstance(end, ConnectionError) for end in ends)
    assert not site.busy and not site.listens
    for one in (writer, other):
        one.close()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port_of(site))
