"""The client of the route server: what it takes over, and what leaves its table as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import test_utils, web

from tiphys.addons.routeserver.eskip import Route
from tiphys.addons.routeserver.fetching import Fetcher

Answer = Callable[[web.Request], web.Response]


class Fetched:
    """A fetcher of a server that answers as it is told."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.loaded: list[list[str]] = []
        self.fetcher = Fetcher(url, self._load)
        self._session = session

    def _load(self, routes: Sequence[Route]) -> None:
        self.loaded.append([route.id for route in routes])

    async def fetch(self) -> dict[int, int]:
        await self.fetcher.fetch(self._session)
        return dict(self.fetcher.answers)


@asynccontextmanager
async def fetching(answer: Answer) -> AsyncIterator[Fetched]:
    async def answers(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_get("/routes", answers)
    async with test_utils.TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Fetched(str(server.make_url("/routes")), session)


async def test_what_is_known_is_asked_for_by_its_etag() -> None:
    asked: list[str | None] = []

    def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("If-None-Match"))
        if asked[-1]:
            return web.Response(status=304)
        return web.Response(text="a: * -> <shunt>;", headers={"ETag": '"1"'})

    async with fetching(answer) as made:
        assert await made.fetch() == {200: 1}
        assert await made.fetch() == {200: 1, 304: 1}
        assert asked == [None, '"1"']
        assert made.loaded == [["a"]] and made.fetcher.received == 16


@pytest.mark.parametrize(
    ("status", "text"),
    [(200, "no eskip"), (200, ""), (404, "a: * -> <shunt>;"), (503, "")],
)
async def test_what_is_no_table_leaves_the_last_one(status: int, text: str) -> None:
    etags: list[str | None] = []

    def answer(request: web.Request) -> web.Response:
        etags.append(request.headers.get("If-None-Match"))
        return web.Response(status=status, text=text, headers={"ETag": '"bad"'})

    async with fetching(answer) as made:
        await made.fetch()
        assert await made.fetch() == {status: 2}
        assert made.loaded == [] and etags == [None, None], "it is asked for again"


async def test_a_server_that_is_away_is_counted() -> None:
    async with aiohttp.ClientSession() as session:
        made = Fetched("http://127.0.0.1:1/routes", session)
        assert await made.fetch() == {0: 1}
        assert await made.fetch() == {0: 2} and made.loaded == []
