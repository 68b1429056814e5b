"""Probes over HTTP, against servers that answer what they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tiphys.node.probes.httpprobe import Answer, Get


@asynccontextmanager
async def answering(pages: dict[str, str]) -> AsyncIterator[tuple[int, list[str]]]:
    """(port, what was asked) of a server. A page is a status line and headers."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        asked.append(path)
        writer.write(f"HTTP/1.1 {pages[path]}\r\n\r\nbody".encode() if path in pages else b"")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked


async def ask(port: int, path: str = "/") -> Answer:
    return await Get("HTTP", "127.0.0.1", port, path, ()).ask(5)


async def test_redirects_are_followed_on_the_same_host() -> None:
    async with answering(
        {"/": "302 F\r\nLocation: /a?b=c", "/a?b=c": "301 M\r\nLocation: d", "/d": "204 N"}
    ) as (port, asked):
        assert (await ask(port)).well and asked == ["/", "/a?b=c", "/d"]


async def test_redirects_to_others_are_well_and_warned_of() -> None:
    pages = {"/": "302 F\r\nLocation: http://localhost:1/", "/304": "304 N\r\nContent-Length: 0"}
    async with answering(pages) as (port, asked):
        assert await ask(port) == Answer(
            True, "Probe terminated redirects, Response body: body", warning=True
        )
        assert (await ask(port, "/304")).warning and asked == ["/", "/304"]


@pytest.mark.parametrize(("status", "well"), [(200, True), (299, True), (400, False), (503, False)])
async def test_nothing_is_read_but_the_status_of_what_is_no_redirect(
    status: int, well: bool
) -> None:
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nDate: never".encode())
        await over.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        answer = await ask(server.sockets[0].getsockname()[1])
        over.set()
    assert answer.well is well


async def test_redirects_end_after_ten() -> None:
    async with answering({"/": "302 F\r\nLocation: /"}) as (port, asked):
        assert await ask(port) == Answer(
            False, f'Get "http://127.0.0.1:{port}/": stopped after 10 redirects'
        )
        assert len(asked) == 10


async def test_failures_are_told_in_upstreams_words() -> None:
    async with answering({"/": "500 X"}) as (port, _):
        assert (await ask(port)).text == "HTTP probe failed with statuscode: 500"
        assert (await ask(port, "/none")).text == f'Get "http://127.0.0.1:{port}/none": EOF'
    told = f'Get "http://127.0.0.1:{port}/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    assert await ask(port) == Answer(False, told)
