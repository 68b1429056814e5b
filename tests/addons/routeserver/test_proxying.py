"""What a route makes of a request: its filters, and what backends answer or do not."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from aiohttp import test_utils, web

from tiphys.addons.routeserver.eskip import Route, read_routes
from tiphys.addons.routeserver.proxying import Backends, Exchange, apply_filters, exchange_of


def route(filters: str, backend: str = "<shunt>") -> Route:
    (made,) = read_routes(f"r: * -> {filters + ' -> ' if filters else ''}{backend};")
    return made


def filtered(filters: str, **more: Any) -> Exchange:
    made = Exchange("GET", "/a", "x=1", {"Host": "shop", "Cookie": "c"}, **more)
    apply_filters(route(filters), made)
    return made


@pytest.mark.parametrize(
    ("filters", "changed"),
    [
        ("status(418)", {"status": 418}),
        (
            'inlineContent("hi")',
            {"status": 200, "content": "hi", "response_headers": {"Content-Type": "text/plain"}},
        ),
        (
            'status(503) -> inlineContent("{}", "application/json")',
            {
                "status": 503,
                "content": "{}",
                "response_headers": {"Content-Type": "application/json"},
            },
        ),
        (
            "redirectTo(308)",
            {"status": 308, "response_headers": {"Location": "http://shop/a?x=1"}},
        ),
        (
            'redirectTo(301, "https://new/b")',
            {"status": 301, "response_headers": {"Location": "https://new/b?x=1"}},
        ),
        ('setPath("/b")', {"path": "/b"}),
        ('setRequestHeader("x-a", "b")', {"headers": {"Host": "shop", "Cookie": "c", "X-A": "b"}}),
        ('dropRequestHeader("cookie")', {"headers": {"Host": "shop"}}),
        ('dropRequestHeader("other")', {}),
        ('setResponseHeader("x-a", 2)', {"response_headers": {"x-a": "2"}}),
        ("consecutiveBreaker(15)", {}),
    ],
)
def test_what_filters_do(filters: str, changed: dict[str, Any]) -> None:
    made = filtered(filters)
    assert {name: getattr(made, name) for name in changed} == changed
    plain = filtered("consecutiveBreaker(1)")
    for name in ("status", "content", "path", "headers", "response_headers", "query", "method"):
        if name not in changed:
            assert getattr(made, name) == getattr(plain, name)


def test_a_redirect_without_a_query_has_none() -> None:
    made = Exchange("GET", "/a", "", {})
    apply_filters(route('redirectTo(302, "https://new")'), made)
    assert made.response_headers == {"Location": "https://new/a"}


async def test_backends_take_turns_and_answer_themselves() -> None:
    asked: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.method, request.path_qs, request.headers.get("X-A")))
        headers = {"X-B": "own", "X-C": "own", "Location": "/elsewhere"}
        return web.Response(status=302, body=b"body", headers=headers)

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    async with test_utils.TestServer(application) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("")).rstrip("/")
        backends = Backends(session)
        filters = 'setRequestHeader("X-A", "b") -> setResponseHeader("X-B", "set")'
        exchange = Exchange("PUT", "/a", "x=1", {})
        made = await backends.answer(route(filters, f'"{url}"'), exchange, None)
        assert (made.status, made.body) == (302, b"body")
        assert (made.headers["X-B"], made.headers["X-C"]) == ("set", "own")
        assert asked == [("PUT", "/a?x=1", "b")]
        turns = route("", f'<roundRobin, "{url}", "http://127.0.0.1:1">')
        states = [
            (await backends.answer(turns, Exchange("GET", "/", "", {}), None)).status
            for _ in range(4)
        ]
        assert states == [302, 502, 302, 502]
        assert asked[1:] == [("GET", "/", None)] * 2


async def test_what_has_no_backend_answers_itself() -> None:
    async with aiohttp.ClientSession() as session:
        shunt = route('inlineContent("hi")')
        made = await Backends(session).answer(shunt, Exchange("GET", "/", "", {}), None)
        assert (made.status, made.text) == (200, "hi")
        assert made.content_type == "text/plain"
        bare = await Backends(session).answer(route(""), Exchange("GET", "/", "", {}), None)
        assert bare.status == 404


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (aiohttp.ClientError("gone"), 502),
        (ConnectionResetError(), 502),
        (TimeoutError(), 504),
        (aiohttp.ServerTimeoutError(), 504),
        (aiohttp.SocketTimeoutError(), 504),
    ],
)
async def test_who_does_not_answer_is_told_apart(error: Exception, status: int) -> None:
    class Session:
        def request(self, *_: Any, **__: Any) -> Any:
            raise error

    session: Any = Session()
    network = route("", '"http://10.0.0.1"')
    made = await Backends(session).answer(network, Exchange("GET", "/", "", {}), None)
    assert made.status == status


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("X-A", True),
        ("host", True),
        ("connection", False),
        ("Keep-Alive", False),
        ("TE", False),
        ("Trailer", False),
        ("Transfer-Encoding", False),
        ("Upgrade", False),
        ("Proxy-Connection", False),
        ("Content-Length", False),
    ],
)
def test_what_belongs_to_a_connection_stays_there(name: str, passes: bool) -> None:
    """RFC 9110, 7.6.1."""
    request = test_utils.make_mocked_request("PUT", "/a?x=1", headers={name: "5"})
    made = exchange_of(request)
    assert (made.method, made.path, made.query) == ("PUT", "/a", "x=1")
    assert made.headers == ({name.title(): "5"} if passes else {})


async def test_an_answer_is_not_passed_on_with_its_coding() -> None:
    async def answer(request: web.Request) -> web.Response:
        response = web.Response(body=b"body" * 100)
        response.enable_compression()
        return response

    application = web.Application()
    application.router.add_get("/", answer)
    async with test_utils.TestServer(application) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("")).rstrip("/")
        exchange = Exchange("GET", "/", "", {"Accept-Encoding": "gzip"})
        made = await Backends(session).answer(route("", f'"{url}"'), exchange, None)
    assert made.body == b"body" * 100
    assert not {"Content-Encoding", "Transfer-Encoding"} & set(made.headers)
