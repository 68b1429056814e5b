"""Posts to webhooks: what is sent, and what of an answer is an error that may pass."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from tests.client.answering import Answer, answering, never
from tests.servers import served
from tiphys.client import posting
from tiphys.client.config import Config
from tiphys.client.posting import Poster, PostError


def said(status: int, body: bytes = b"said", **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return answer


async def posted(answer: Answer, seconds: float = 10) -> bytes:
    async with answering(answer) as url:
        poster = Poster(Config(f"{url}/hook?a=b"), seconds)
        try:
            return await poster.post(b"{}")
        finally:
            await poster.close()


async def failure(answer: Answer, seconds: float = 10) -> PostError:
    with pytest.raises(PostError) as failed:
        await posted(answer, seconds)
    return failed.value


@pytest.mark.parametrize("status", [200, 201, 299])
async def test_the_body_of_a_success_is_the_answer(status: int) -> None:
    assert await posted(said(status)) == b"said"


@pytest.mark.parametrize(
    ("answer", "code", "is_transient"),
    [
        (said(300), 300, False),
        (said(302, location="/elsewhere"), 302, False),
        (said(400), 400, False),
        (said(429), 429, True),
        (said(500), 500, True),
        (said(501), 501, False),
        (said(503), 503, False),
        (said(503, Retry_After="1"), 503, True),
        (said(504), 504, True),
    ],
)
async def test_what_is_no_success_may_pass_or_not(
    answer: Answer, code: int, is_transient: bool
) -> None:
    error = await failure(answer)
    assert (error.code, error.is_transient, error.is_timeout) == (code, is_transient, False)
    assert str(error) == f"the server responded with status {code}: said"


async def test_only_the_beginning_of_what_a_server_says_is_told() -> None:
    error = await failure(said(400, b"x" * 201 + b"\xff"))
    assert str(error).endswith(": " + "x" * 200)


async def test_a_request_says_whose_it_is_and_what_it_brings() -> None:
    seen: list[web.Request] = []

    async def look(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(body=await request.read())

    assert await posted(look) == b"{}"
    [request] = seen
    assert (request.method, request.path_qs) == ("POST", "/hook?a=b")
    names = ("User-Agent", "Content-Type", "Accept")
    wanted = ["kube-apiserver", "application/json", "application/json"]
    assert [request.headers[name] for name in names] == wanted
    assert "Authorization" not in request.headers


async def test_a_token_is_read_anew_from_its_file(tmp_path: Path) -> None:
    seen: list[str | None] = []

    async def look(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    file = tmp_path / "token"
    async with answering(look) as url:
        for config in (Config(url, token="fixed"), Config(url, token="fixed", token_file=file)):
            poster = Poster(config)
            for token in ("one\n", "two\n", ""):
                file.write_text(token)
                await poster.post(b"{}")
            await poster.close()
    assert seen == ["Bearer fixed"] * 3 + ["Bearer one", "Bearer two", None]


async def test_a_server_that_takes_too_long_is_a_timeout() -> None:
    error = await failure(never, 0.05)
    assert error.is_timeout and not error.is_transient and error.code == 0
    assert str(error).endswith('/hook?a=b": context deadline exceeded')


async def test_an_answer_that_is_too_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "_LIMIT", 4)
    assert await posted(said(200)) == b"said"
    error = await failure(said(200, b"longer"))
    assert "the answer has more than 4 bytes" in str(error) and not error.is_transient


async def test_a_server_that_hangs_up_may_have_more_luck_and_one_that_is_not_there_not() -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        await asyncio.Event().wait()
        raise AssertionError

    error = await failure(hang_up)
    assert error.is_transient and str(error).startswith('Post "http://127.0.0.1:')
    poster = Poster(Config("http://127.0.0.1:1"))
    with pytest.raises(PostError, match=r'Post "http://127\.0\.0\.1:1": Cannot connect') as absent:
        await poster.post(b"{}")
    assert not absent.value.is_transient and not absent.value.is_timeout
    await poster.close()


async def test_the_servers_certificate_is_looked_at() -> None:
    async with served(lambda request: {"a": "b"}) as behind:
        poster = Poster(Config(behind.url, ca=behind.authority))
        assert await poster.post(b"{}") == b'{"a": "b"}'
        await poster.close()
        stranger = Poster(Config(behind.url))
        with pytest.raises(PostError, match="certificate"):
            await stranger.post(b"{}")
        await stranger.close()


async def test_connections_are_kept() -> None:
    peers: set[object] = set()

    async def look(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response()

    async with answering(look) as url:
        poster = Poster(Config(url))
        await poster.post(b"{}")
        await poster.post(b"{}")
        await poster.close()
    await Poster(Config("http://nobody")).close()  # it was not asked anything
    assert len(peers) == 1
