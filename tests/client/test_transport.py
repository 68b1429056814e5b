"""Requests of one identity: what is sent, and what becomes of answers that are none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.client.answering import Answer, answering, never
from tiphys.client import transport as module
from tiphys.client.config import Config
from tiphys.client.transport import IN_FLIGHT, Known, Transport, Unreachable, _status
from tiphys.machinery.errors import StatusError


@pytest.mark.parametrize(
    ("status", "etag", "data", "known", "answer"),
    [
        (200, "e1", b"new", Known("e1", b"new"), b"new"),
        (200, "", b"new", Known("", b""), b"new"),
        (304, "", b"", Known("e0", b"old", True), b"old"),
    ],
)
def test_an_answer_that_did_not_change_is_the_last_one(
    status: int, etag: str, data: bytes, known: Known, answer: bytes
) -> None:
    last = Known("e0", b"old", True)
    assert last.take(status, etag, data) == answer and last == known


@pytest.mark.parametrize(
    ("data", "code", "reason", "message"),
    [
        (b'{"kind":"Status","code":404,"reason":"NotFound","message":"m"}', 404, "NotFound", "m"),
        (b'{"kind":"Status","message":"m"}', 502, "Unknown", '{"kind":"Status","message":"m"}'),
        (b'{"kind":"Pod","code":404}', 502, "Unknown", '{"kind":"Pod","code":404}'),
        (b"<html>", 502, "Unknown", "<html>"),
        (b"", 502, "Unknown", "HTTP 502"),
        (b"\xff", 502, "Unknown", "\ufffd"),
        (b"x" * 501, 502, "Unknown", "x" * 500),
    ],
)
def test_an_error_that_is_no_status_is_made_one(
    data: bytes, code: int, reason: str, message: str
) -> None:
    status = _status(data, 502)
    assert (status.code, status.reason, status.message) == (code, reason, message)


async def test_a_request_says_who_asks_and_what_it_wants(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def look(request: web.Request) -> web.Response:
        seen.append((request.path_qs, dict(request.headers), await request.read()))
        return web.Response(body=b"{}", headers={"ETag": "e1"})

    token = tmp_path / "token"
    token.write_text("one\n")
    async with answering(look) as url, Transport(Config(url, token_file=token), "me") as client:
        await client.request("POST", "/x", b"body", {"a": "b"}, content="text/x", accept="text/y")
        token.write_text("two\n")
        known = Known()
        await client.request("GET", "/x", known=known)
        await client.request("GET", "/x", known=known)
    path, headers, body = seen[0]
    assert (path, body) == ("/x?a=b", b"body")
    named = [headers[name] for name in ("User-Agent", "Accept", "Content-Type", "Authorization")]
    assert named == ["me", "text/y", "text/x", "Bearer one"]
    assert "Content-Type" not in seen[1][1] and "If-None-Match" not in seen[1][1]
    assert seen[1][1]["Authorization"] == "Bearer one", "a file is read again after a minute"
    assert seen[2][1]["If-None-Match"] == "e1"


async def test_a_token_file_is_read_again_after_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    client = Transport(Config("http://x", token="fixed", token_file=token))
    for text in ("one\n", "two\n"):
        token.write_text(text)
        assert client._headers()["Authorization"] == "Bearer one"
    monkeypatch.setattr(module, "_TOKEN_LASTS", -1.0)
    assert client._headers()["Authorization"] == "Bearer two"
    assert Transport(Config("http://x"))._headers() == {"Accept": "application/json"}


def saying(*answers: tuple[int, str]) -> tuple[Answer, list[str]]:
    """Answers of those statuses in turn, each with its Retry-After; and what was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        status, retry = answers[min(len(asked), len(answers) - 1)]
        asked.append(request.method)
        return web.Response(status=status, headers={"Retry-After": retry} if retry else {})

    return answer, asked


@pytest.mark.parametrize(
    ("answers", "times", "error"),
    [
        ([(429, "0"), (200, "")], 2, 0),
        ([(500, "0"), (502, "0"), (503, "0"), (504, "0"), (200, "")], 5, 0),
        ([(429, "")], 1, 429),
        ([(503, "soon")], 1, 503),
        ([(409, "0")], 1, 409),
        ([(501, "0")], 1, 501),
        ([(429, "0")], 10, 429),
        ([(399, "")], 1, 0),
        ([(400, "")], 1, 400),
    ],
)
async def test_a_server_that_says_when_is_asked_again(
    answers: list[tuple[int, str]], times: int, error: int
) -> None:
    answer, asked = saying(*answers)
    async with answering(answer) as url, Transport(Config(url)) as client:
        if error:
            with pytest.raises(StatusError) as refused:
                await client.request("GET", "/x")
            assert refused.value.code == error
        else:
            await client.request("GET", "/x")
    assert len(asked) == times


async def test_a_refusal_is_the_answer_when_there_is_no_time_to_ask_again() -> None:
    answer, asked = saying((429, "60"))
    async with answering(answer) as url, Transport(Config(url)) as client:
        with pytest.raises(StatusError):
            await client.request("GET", "/x", timeout=0.2)
    assert len(asked) == 1


async def test_a_server_that_does_not_answer_is_unreachable() -> None:
    async with answering(never) as url, Transport(Config(url)) as client:
        with pytest.raises(Unreachable, match="GET /x: TimeoutError"):
            await client.request("GET", "/x", timeout=0.05)
    async with Transport(Config("http://127.0.0.1:1")) as client:
        with pytest.raises(Unreachable, match="GET /x: ClientConnectorError"):
            await client.request("GET", "/x")
        with pytest.raises(Unreachable, match="watch /x: "):
            await anext(client.lines("/x", {}, "application/json"))


async def test_what_waits_on_a_connection_that_is_dropped_is_told() -> None:
    async with answering(never) as url, Transport(Config(url)) as client:
        waiting = asyncio.ensure_future(client.request("GET", "/x"))
        async with asyncio.timeout(10):
            while client._session is None or not client._session.connector:  # noqa: ASYNC110
                await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        await client.drop_connections()
        with pytest.raises(Unreachable):
            await waiting
        assert client._session is None and not client._retired


async def test_connections_that_answer_are_not_silent() -> None:
    async def some(request: web.Request) -> web.Response:
        if request.path == "/never":
            await never(request)
        return web.Response(body=b"{}")

    async with answering(some) as url, Transport(Config(url)) as client:
        waiting = asyncio.ensure_future(client.request("GET", "/never"))
        await client.request("GET", "/x")
        await client.drop_if_silent(60.0)
        assert client._session is not None and not waiting.done()
        await client.drop_if_silent(0.0)
        with pytest.raises(Unreachable):
            await waiting
        await client.request("GET", "/x")
        client._answered_at -= 60.0
        await client.drop_if_silent(30.0)
        assert client._session is None
        await client.request("GET", "/y")
        await client.drop_if_silent(30.0)
        assert client._session is not None


async def test_a_request_has_its_time_once_others_are_done() -> None:
    open_ = asyncio.Event()

    async def held(request: web.Request) -> web.Response:
        await open_.wait()
        return web.Response(body=b"{}")

    async with answering(held) as url, Transport(Config(url)) as client:
        others = [asyncio.ensure_future(client.request("GET", "/x")) for _ in range(IN_FLIGHT)]
        await asyncio.sleep(0)
        late = asyncio.ensure_future(client.request("GET", "/late", timeout=0.05))
        done, _ = await asyncio.wait({late}, timeout=0.15)
        assert not done
        open_.set()
        assert await late == b"{}"
        await asyncio.gather(*others)


async def test_lines_come_as_they_are_whole() -> None:
    async def watch(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b"a\nb", b"c\n", b"d"):
            await response.write(piece)
            await asyncio.sleep(0)
        return response

    async with answering(watch) as url, Transport(Config(url)) as client:
        got = [line async for lines in client.lines("/x", {"watch": "1"}, "x") for line in lines]
    assert got == [b"a", b"bc"]


async def test_a_watch_that_is_refused_or_silent_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, _ = saying((410, ""))
    async with answering(answer) as url, Transport(Config(url)) as client:
        with pytest.raises(StatusError):
            await anext(client.lines("/x", {}, "x"))

    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a\n")
        await asyncio.sleep(1)
        return response

    monkeypatch.setattr(module, "_SILENCE", 0.05)
    async with answering(silent) as url, Transport(Config(url)) as client:
        lines = client.lines("/x", {}, "x")
        assert await anext(lines) == [b"a"]
        with pytest.raises(Unreachable, match="watch /x: TimeoutError"):
            await anext(lines)


async def test_retired_connections_are_closed_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer, _ = saying((200, ""))
    async with answering(answer) as url, Transport(Config(url)) as client:
        await client.request("GET", "/x")
        first = client._session
        client._retire_session()
        client._retire_session()
        await client.request("GET", "/x")
        assert first is not None and not first.closed and len(client._retired) == 1
        monkeypatch.setattr(module, "_RETIRED_FOR", 0.0)
        await client.request("GET", "/x")
        assert first.closed and not client._retired
