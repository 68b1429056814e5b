"""Requests that are to be read in two ways by the front of a model server, or to hold it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.addons.inference.front import Front, Plan
from tiphys.addons.inference.prefilling import long_prompt, to_decode
from tiphys.addons.inference.wire import LARGEST
from tiphys.testing.cluster import free_port

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
AFTER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


class Heard:
    """A server that keeps what it hears, word for word, and answers nothing but 200."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()


@asynccontextmanager
async def fronted(heard: Heard) -> AsyncIterator[int]:
    """The port of a front before it."""
    plan = Plan(port=free_port(), server=free_port())
    server = await asyncio.start_server(heard.answer, "127.0.0.1", plan.server)
    async with server, await Front(plan).serve("127.0.0.1"):
        yield plan.port


async def sent(port: int, raw: bytes) -> bytes:
    """What the front says until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    writer.write_eof()
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (b"Content-Length: +3\r\n\r\nabc", 400),
        (b"Content-Length: 3, 3\r\n\r\nabc", 400),
        (b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcde", 400),
        (b"Content-Length : 3\r\n\r\nabc", 400),
        (b" folded: 1\r\n\r\n", 400),
        (b"A: b\nContent-Length: 3\r\n\r\nabc", 400),
        (b"Content-Length: %d\r\n\r\n" % (LARGEST + 1), 413),
        (b"A: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    ],
)
async def test_what_can_be_read_in_two_ways_is_read_in_none(head: bytes, status: int) -> None:
    heard = Heard()
    async with fronted(heard) as port:
        answer = await sent(port, POST + head + AFTER)
    assert heard.requests == []
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert answer.count(b"HTTP/1.1") == 1, "nothing after it is a request"


async def test_a_body_is_never_a_request() -> None:
    heard = Heard()
    async with fronted(heard) as port:
        body = b"Content-Length: %d\r\n\r\n" % len(AFTER) + AFTER
        await sent(port, POST + body)
    assert [one.split()[1] for one in heard.requests] == [b"/"]


async def test_a_client_cannot_keep_a_connection_to_the_server_open() -> None:
    heard = Heard()
    async with fronted(heard) as port:
        more = b"Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nUpgrade: websocket\r\n"
        await sent(port, POST + more + b"Content-Length: 0\r\n\r\n")
    head = heard.requests[0].lower()
    assert b"connection: close" in head
    assert not any(word in head for word in (b"keep-alive", b"x-secret", b"upgrade"))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=40))
def test_no_body_and_no_answer_of_another_server_is_too_much(body: bytes) -> None:
    request = long_prompt(body, 0)
    assert request is None or isinstance(request, dict)
    assert to_decode({}, body) is None or body


def test_deep_json_is_no_prompt() -> None:
    began = time.process_time()
    assert long_prompt(b'{"prompt":' + b"[" * 1_000_000, 10) is None
    assert time.process_time() - began < 0.5
