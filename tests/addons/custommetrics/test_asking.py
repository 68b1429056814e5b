"""What Prometheus answers, and what is made of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import test_utils, web

from tiphys.addons.custommetrics.asking import Prometheus, PrometheusError, Sample


class Server:
    """Answers every question with the same."""

    def __init__(self, answer: Any, status: int) -> None:
        self.answer = answer
        self.status = status
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def handle(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.asked.append((request.path, form))
        if isinstance(self.answer, str):
            headers = {"Location": "/elsewhere"} if self.status == 302 else {}
            return web.Response(text=self.answer, status=self.status, headers=headers)
        return web.json_response(self.answer, status=self.status)


@asynccontextmanager
async def prometheus(
    answer: Any, status: int = 200, path: str = ""
) -> AsyncIterator[tuple[Prometheus, Server]]:
    nobody: Any = None
    server = Server(answer, status)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    async with test_utils.TestServer(app) as running:
        made = Prometheus(nobody, f"http://127.0.0.1:{running.port}{path}", 5)
        try:
            yield made, server
        finally:
            await made.close()


def well(data: Any) -> dict[str, Any]:
    return {"status": "success", "data": data}


def vector(*rows: Any) -> dict[str, Any]:
    return well({"resultType": "vector", "result": list(rows)})


async def test_series_are_asked_for_by_post() -> None:
    rows = [{"__name__": "m", "pod": "p"}]
    async with prometheus(well(rows), path="/base/") as (made, server):
        assert await made.series("{a='b'}", 12.3456) == rows
        form = {"match[]": "{a='b'}", "start": "12.346"}
        assert server.asked == [("/base/api/v1/series", form)]


async def test_a_vector_is_samples() -> None:
    answer = vector(
        {"metric": {"pod": "a"}, "value": [1, "2.5"]},
        {"metric": {"pod": "b"}, "value": [1, "NaN"]},
        {"metric": {}, "value": [1, "+Inf"]},
        {"metric": {"n": 5}, "value": [1, "-1"]},
    )
    async with prometheus(answer) as (made, server):
        assert await made.query("up", 7.0) == [
            Sample({"pod": "a"}, 2.5),
            Sample({"pod": "b"}, 0.0),
            Sample({}, 0.0),
            Sample({"n": "5"}, -1.0),
        ]
        assert server.asked == [("/api/v1/query", {"query": "up", "time": "7.000"})]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (well({"resultType": "matrix", "result": []}), "up is no vector"),
        (well({}), "unexpected answer"),
        (well(None), "unexpected answer"),
        (well([]), "unexpected answer"),
        (vector({"metric": {}}), "unexpected answer"),
        (vector({"metric": {}, "value": [1]}), "unexpected answer"),
        (vector({"metric": {}, "value": [1, "x"]}), "unexpected answer"),
        (vector({"metric": [], "value": [1, "2"]}), "unexpected answer"),
        ({"status": "error", "error": "bad query"}, "bad query"),
        ({"status": "error"}, "None"),
        ([], "unexpected answer"),
        ("no JSON", "JSON is malformed"),
        ("[" * 100_000, "api/v1/query"),
    ],
)
async def test_what_is_no_vector_is_an_error(answer: Any, words: str) -> None:
    async with prometheus(answer) as (made, _):
        with pytest.raises(PrometheusError, match=words):
            await made.query("up", 0)


async def test_series_that_are_none_are_an_error() -> None:
    for rows in ([{"a": 5}], {"a": "b"}, None):
        async with prometheus(well(rows)) as (made, _):
            with pytest.raises(PrometheusError, match="unexpected answer"):
                await made.series("m", 0)


async def test_where_an_answer_leads_is_not_followed() -> None:
    async with prometheus("", 302) as (made, server):
        with pytest.raises(PrometheusError):
            await made.query("up", 0)
        assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["ftp://h", "h:9090", "", "http://"])
async def test_a_url_is_one_of_http(url: str) -> None:
    nobody: Any = None
    with pytest.raises(PrometheusError, match="is no URL of HTTP"):
        Prometheus(nobody, url, 1)


@pytest.mark.parametrize(
    ("host", "local"), [("localhost", True), ("127.0.0.1", True), ("10.0.0.1", False)]
)
async def test_this_machine_is_asked_only_if_the_url_says_so(host: str, local: bool) -> None:
    nobody: Any = None
    made = Prometheus(nobody, f"http://{host}:1", 1)
    try:
        resolver: Any = made._session.connector._resolver  # type: ignore[union-attr]
        assert resolver._reach._local is local
    finally:
        await made.close()
