"""Answers are read as far as was asked for, and no further."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from tests.client.answering import answering
from tiphys.client.answers import TooLong, body_of


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 1000)


async def ten(request: web.Request) -> web.Response:
    return web.Response(body=b"0123456789")


async def pieces(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in (b"01", b"", b"234", b"56789"):
        await response.write(piece)
    return response


@pytest.mark.parametrize("answer", [ten, pieces])
async def test_an_answer_is_whole_when_it_is_as_long_as_it_may_be(answer: object) -> None:
    async with answering(answer) as url, aiohttp.ClientSession() as session:  # type: ignore[arg-type]
        async with session.get(url) as response:
            assert await body_of(response, 10) == b"0123456789"
        async with session.get(url) as response:
            with pytest.raises(TooLong, match="the answer has more than 9 bytes"):
                await body_of(response, 9)


async def test_an_answer_without_an_end_is_given_up() -> None:
    async with (
        answering(endless) as url,
        aiohttp.ClientSession() as session,
        session.get(url) as response,
    ):
        with pytest.raises(TooLong):
            await body_of(response, 100_000)
