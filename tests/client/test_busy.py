"""A server that has too much to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tiphys.client.client import Client, Unreachable
from tiphys.client.config import Config
from tiphys.machinery.errors import StatusError

TOO_MANY = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "reason": "TooManyRequests",
    "code": 429,
}


class Busy:
    """Refuses `refusals` requests, saying when to come again unless `later` is empty."""

    def __init__(self) -> None:
        self.refusals, self.later, self.asked = 0, "0", 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.asked <= self.refusals:
            headers = {"Retry-After": self.later} if self.later else {}
            return web.json_response(TOO_MANY, status=429, headers=headers)
        return web.json_response({"asked": self.asked})


@pytest.fixture
async def busy() -> AsyncIterator[tuple[Busy, Client]]:
    server = Busy()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    socket: Any = site._server.sockets[0]  # type: ignore[union-attr]
    async with Client(Config(f"http://127.0.0.1:{socket.getsockname()[1]}")) as client:
        yield server, client
    await runner.cleanup()


async def test_whoever_is_told_to_come_again_does(busy: tuple[Busy, Client]) -> None:
    server, client = busy
    server.refusals = 3
    assert await client.request("POST", "/x", b"{}") == b'{"asked": 4}'


async def test_nobody_asks_for_ever(busy: tuple[Busy, Client]) -> None:
    server, client = busy
    server.refusals = 1000
    with pytest.raises(StatusError) as refused:
        await client.request("GET", "/x")
    assert (refused.value.code, server.asked) == (429, 10)
    server.later = "60"
    with pytest.raises(StatusError):
        await client.request("GET", "/x", timeout=0.05)
    assert server.asked == 11


async def test_without_a_time_the_refusal_stands(busy: tuple[Busy, Client]) -> None:
    server, client = busy
    server.refusals, server.later = 1, ""  # an eviction that a budget forbids, say
    with pytest.raises(StatusError):
        await client.request("POST", "/x", b"{}")
    assert server.asked == 1


async def test_a_server_that_is_not_there() -> None:
    async with Client(Config("http://127.0.0.1:1")) as client:
        with pytest.raises(Unreachable):
            await client.request("GET", "/x")
