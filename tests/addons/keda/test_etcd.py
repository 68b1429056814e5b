"""etcd: which of its endpoints is asked, and which changes of a key are heard."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import test_utils, web

from tests.addons.keda.tables import Web, fails, made
from tiphys.addons.keda.scaler import ScalerError

KEY = {"watchKey": "k", "value": "5", "activationValue": "2"}
USER = {"username": "u", "password": "p"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def row(value: str) -> dict[str, str]:
    return {"key": encoded("k"), "value": encoded(value)}


def change(*values: str) -> str:
    return json.dumps({"result": {"events": [{"kv": row(one)} for one in values]}})


# --- one look ---


@pytest.mark.parametrize(
    ("endpoints", "auth", "answers", "value", "asked"),
    [
        ("a:1", {}, {"a:1": {"kvs": [row("7.5")]}}, 7.5, ["http://a:1/v3/kv/range"]),
        (
            "a:1,b:2",
            {},
            {"a:1": (503, "no"), "b:2": {"kvs": [row("7")]}},
            7,
            ["http://a:1/v3/kv/range", "http://b:2/v3/kv/range"],
        ),
        (
            "a:1,b:2",
            {},
            {"a:1": "[]", "b:2": {"kvs": [row("7")]}},
            7,
            ["http://a:1/v3/kv/range", "http://b:2/v3/kv/range"],
        ),
        (
            "a:1,b:2",
            USER,
            {"a:1": (503, "no"), "b:2/v3/auth": {"token": "t"}, "b:2/v3/kv": {"kvs": [row("7")]}},
            7,
            [
                "http://a:1/v3/auth/authenticate",
                "http://b:2/v3/auth/authenticate",
                "http://b:2/v3/kv/range",
            ],
        ),
        ("https://a:1/", {}, {"a:1": {"kvs": [row("7")]}}, 7, ["https://a:1/v3/kv/range"]),
        (
            "a:1",
            USER,
            {"auth": {"token": "t"}, "kv": {"kvs": [row("7")]}},
            7,
            ["http://a:1/v3/auth/authenticate", "http://a:1/v3/kv/range"],
        ),
        ("a:1", {"tls": "enable"}, {"a:1": {"kvs": [row("7")]}}, 7, ["https://a:1/v3/kv/range"]),
    ],
)
async def test_the_first_endpoint_that_answers_is_believed(
    endpoints: str, auth: Any, answers: Any, value: float, asked: list[str]
) -> None:
    scaler = made("etcd", {**KEY, "endpoints": endpoints}, auth)
    web_ = Web(scaler, **answers)
    assert await scaler.measure() == value
    assert [url for _, url, _, _ in web_.asked] == asked
    method, _, body, headers = web_.asked[-1]
    assert (method, body) == ("POST", {"key": encoded("k")})
    assert headers.get("Authorization") == ("t" if auth == USER else None)


@pytest.mark.parametrize(
    ("auth", "answers", "message"),
    [
        ({}, {"a:1": {}}, "watchKey k doesn't exist"),
        ({}, {"a:1": {"kvs": []}}, "watchKey k doesn't exist"),
        ({}, {"a:1": (503, "x" * 300)}, f"etcd: 503: {'x' * 200}"),
        ({}, {"a:1": "[]"}, "etcd: 200: []"),
        (USER, {"auth": (401, "who?")}, "etcd: 401: who?"),
    ],
)
async def test_what_it_lacks_is_told(auth: Any, answers: Any, message: str) -> None:
    scaler = made("etcd", {**KEY, "endpoints": "a:1"}, auth)
    Web(scaler, **answers)
    assert await fails(scaler.measure()) == f"error getting metric value: {message}"


async def test_a_value_that_is_no_number_is_none() -> None:
    scaler = made("etcd", {**KEY, "endpoints": "a:1"})
    Web(scaler, **{"a:1": {"kvs": [row("many")]}})
    assert (await fails(scaler.measure())).startswith("error getting metric value: ")


# --- changes ---


class Watched:
    """An etcd that sends these pieces to whoever watches, and then ends the watch."""

    def __init__(self, *pieces: bytes, status: int = 200) -> None:
        self.pieces = pieces
        self.status = status
        self.asked: list[tuple[str, Any, str | None]] = []
        self.reached: list[tuple[str, int]] = []

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((request.path, body, request.headers.get("Authorization")))
        if request.path.endswith("authenticate"):
            return web.json_response({"token": "t"})
        answer = web.StreamResponse(status=self.status)
        await answer.prepare(request)
        for piece in self.pieces:
            await answer.write(piece)
        return answer

    async def find(self, host: str, port: int) -> None:
        self.reached.append((host, port))

    @asynccontextmanager
    async def scaler(self, **auth: str) -> AsyncIterator[Any]:
        app = web.Application()
        app.router.add_post("/{tail:.*}", self._handle)
        async with test_utils.TestServer(app) as server, aiohttp.ClientSession() as session:
            scaler = made("etcd", {**KEY, "endpoints": f"127.0.0.1:{server.port},b:2"}, auth)
            around = SimpleNamespace(reach=self, timeout=3.0)
            object.__setattr__(scaler.config, "surroundings", around)
            scaler._session = session
            yield scaler


@pytest.mark.parametrize(
    ("sent", "times"),
    [
        (b"", 0),
        (b"\n \n", 0),
        (b'{"result": {"created": true}}\n', 0),
        (b'{"result": null}\n', 0),
        (change("2").encode() + b"\n", 0),
        (change("2.5").encode() + b"\n", 1),
        (change("1", "3", "4").encode() + b"\n", 1),
        (change("many", "3").encode() + b"\n", 1),
        (change("many").encode() + b"\n", 0),
        (b'{"result": {"events": [{"type": "DELETE"}]}}\n', 0),
        (change("3").encode(), 0),
        (f"{change('3')}\n{change('1')}\n{change('4')}\n".encode(), 2),
    ],
)
async def test_a_change_is_heard_when_it_makes_work(sent: bytes, times: int) -> None:
    heard: list[int] = []

    async def active() -> None:
        heard.append(1)

    watched = Watched(sent)
    async with watched.scaler() as scaler:
        await scaler.push(active)
    assert len(heard) == times
    question = {"create_request": {"key": encoded("k"), "progress_notify": True}}
    assert watched.asked == [("/v3/watch", question, None)]
    assert [host for host, _ in watched.reached] == ["127.0.0.1"]


async def test_a_change_may_come_in_pieces_to_somebody_known() -> None:
    heard: list[int] = []

    async def active() -> None:
        heard.append(1)

    line = change("3").encode() + b"\n"
    watched = Watched(line[:9], line[9:30], line[30:])
    async with watched.scaler(**USER) as scaler:
        await scaler.push(active)
    assert len(heard) == 1
    assert [(path, token) for path, _, token in watched.asked] == [
        ("/v3/auth/authenticate", None),
        ("/v3/watch", "t"),
    ]


@pytest.mark.parametrize(
    ("watched", "message"),
    [
        (Watched(status=503), "etcd: watch: 503"),
        (Watched(b"x" * ((1 << 20) + 1)), "etcd: a change is too long"),
        (Watched(b"x" * (1 << 20)), ""),
    ],
)
async def test_a_watch_that_is_refused_or_never_ends_a_line(watched: Watched, message: str) -> None:
    async def active() -> None:
        raise AssertionError

    async with watched.scaler() as scaler:
        if message:
            with pytest.raises(ScalerError, match=f"^{message}$"):
                await scaler.push(active)
        else:
            await scaler.push(active)
