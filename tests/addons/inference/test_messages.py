"""The front of a pod, byte by byte: connections that go on, and requests that are refused."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tiphys.addons.inference.capturing import Body, Capture
from tiphys.addons.inference.front import Front, Plan, main, recorder_of
from tiphys.addons.inference.loading import Bucket
from tiphys.addons.inference.prefilling import (
    Prefill,
    long_prompt,
    to_decode,
    to_prefill,
    tokens_of,
)
from tiphys.testing.cluster import free_port

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(raw: bytes) -> Serve:
    """Answers the first request with these bytes, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    return serve


@asynccontextmanager
async def front(raw: bytes, recorder: Any = None, **plan: Any) -> AsyncIterator[Any]:
    """Says bytes over one connection, and gives all that comes back until its end: the last request
    must ask for that."""
    server = await asyncio.start_server(answering(raw), "127.0.0.1", 0)
    made = Plan(port=free_port(), server=server.sockets[0].getsockname()[1], **plan)
    listening = await Front(made, recorder).serve("127.0.0.1")

    async def say(request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(request)
        async with asyncio.timeout(10):
            said = await reader.read()
        writer.close()
        return said

    async with server, listening:
        yield say


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GET = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"


def closed(message: bytes) -> bytes:
    """A message after which the connection ends."""
    return message.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


async def test_two_requests_come_over_one_connection() -> None:
    async with front(OK) as say:
        assert await say(b"GET / HTTP/1.1\r\n\r\n" + GET) == OK + closed(OK)
        assert await say(GET * 2) == closed(OK), "nothing follows the last one"


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        (
            b"HTTP/1.1 200 OK\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        ),
        (b"HTTP/1.1 204 None\r\n\r\n", b"HTTP/1.1 204 None\r\n\r\n"),
        (
            b"HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            OK,
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", OK),
    ],
)
async def test_an_answer_is_passed_on(answer: bytes, passed: bytes) -> None:
    async with front(answer) as say:
        assert await say(GET) == closed(passed)


async def test_who_knows_no_chunks_gets_none() -> None:
    async with front(b"HTTP/1.1 200 OK\r\n\r\nhi") as say:
        said = await say(b"GET / HTTP/1.0\r\n\r\n")
    assert said == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi"


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (b"GET\r\n\r\n", 400, "no first line"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "the length of the body is not"),
        (b"POST / HTTP/1.1\r\nContent-Length: 16777217\r\n\r\n", 413, "the body is too large"),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", 431, "the head is too long"),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_ends(
    request_: bytes, status: int, message: str
) -> None:
    async with front(OK) as say:
        head, _, body = (await say(request_)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d Refused\r\n" % status)
    assert b"Connection: close" in head and b"Content-Length: %d" % len(body) in head
    assert message in json.loads(body)["error"]


@pytest.mark.parametrize("answer", [b"", b"nonsense", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_server_that_gives_no_answer_is_a_bad_gateway(answer: bytes) -> None:
    async with front(answer) as say:
        assert (await say(GET)).startswith(b"HTTP/1.1 502 Refused\r\n")


async def test_an_answer_that_breaks_off_ends_the_connection_and_says_nothing_more() -> None:
    async with front(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi") as say:
        keeping = b"GET / HTTP/1.1\r\n\r\n"
        assert await say(keeping * 2) == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"


@pytest.mark.parametrize("expect", [b"100-continue", b"100-Continue"])
async def test_who_waits_to_be_told_is_told(expect: bytes) -> None:
    request = b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: " + expect + b"\r\n\r\nx"
    async with front(OK) as say:
        assert await say(closed(request)) == b"HTTP/1.1 100 Continue\r\n\r\n" + closed(OK)


async def test_as_a_program_it_serves_until_it_is_told_to_end() -> None:
    async def front_of(plan: Plan) -> None:
        await main({"FRONT": json.dumps(dataclasses.asdict(plan))})

    server = await asyncio.start_server(answering(OK), "127.0.0.1", 0)
    plan = Plan(port=free_port(), server=server.sockets[0].getsockname()[1])
    async with server, asyncio.TaskGroup() as group:
        group.create_task(front_of(plan))
        async with asyncio.timeout(10):
            while True:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", plan.port)
                    break
                except OSError:
                    await asyncio.sleep(0.01)
            writer.write(GET)
            assert await reader.read() == closed(OK)
            writer.close()
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        signal.raise_signal(signal.SIGTERM)


# --- what is recorded ---


class Recorder:
    """Remembers what it is given; `most` bytes of each answer."""

    def __init__(self, most: int = 3, wanted: bool = True) -> None:
        self.most, self.wanted = most, wanted
        self.records: list[tuple[Body, Body]] = []

    def wants(self) -> bool:
        return self.wanted

    def record(self, request: Body, answer: Body) -> None:
        self.records.append((request, answer))


POST = closed(b"POST / HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Length: 3\r\n\r\n1,2")
LONG = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nabcde"


@pytest.mark.parametrize(("most", "kept"), [(1, b"a"), (4, b"abcd"), (5, b"abcde"), (99, b"abcde")])
async def test_the_beginning_of_an_answer_is_recorded(most: int, kept: bytes) -> None:
    recorder = Recorder(most)
    async with front(LONG, recorder) as say:
        assert (await say(POST)).endswith(b"abcde")
    assert recorder.records == [(Body(b"1,2", "text/csv"), Body(kept, "a/b"))]


@pytest.mark.parametrize(
    ("request_", "answer", "wanted"), [(GET, OK, True), (POST, OK, False), (POST, b"", True)]
)
async def test_only_what_was_asked_and_answered_is_recorded(
    request_: bytes, answer: bytes, wanted: bool
) -> None:
    recorder = Recorder(wanted=wanted)
    async with front(answer, recorder) as say:
        await say(request_)
    assert recorder.records == []


def test_records_go_to_the_bucket_of_the_plan_with_the_keys_of_the_environment() -> None:
    assert recorder_of(Plan(1, 2), {}) is None
    plan = Plan(1, 2, capture=Capture("b", "p"), s3_endpoint="http://s3", region="r")
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    for env in ({}, keys):
        made = recorder_of(plan, env)
        assert made is not None
        key, secret = env.get("AWS_ACCESS_KEY_ID", ""), env.get("AWS_SECRET_ACCESS_KEY", "")
        assert made._bucket == Bucket("http://s3", "b", "r", key, secret)


# --- long prompts ---


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ("", 0),
        ("abc", 0),
        ("abcd", 1),
        ("a" * 401, 100),
        ([1, 2, 3], 3),
        ([], 0),
        ([{"role": "user", "content": "x" * 8}], 10),
        ({"a": 1}, 2),
    ],
)
def test_four_characters_are_a_token(prompt: Any, tokens: int) -> None:
    assert tokens_of(prompt) == tokens


@pytest.mark.parametrize(
    ("body", "is_long"),
    [
        ({"prompt": "x" * 400}, True),
        ({"prompt": "x" * 396}, False),
        ({"prompt": list(range(100))}, True),
        ({"prompt": list(range(99)), "more": "x" * 500}, False),
        ({"messages": [{"content": "x" * 400}]}, True),
        ({"messages": "x", "prompt": "x" * 400}, False),
        ({"other": "x" * 400}, False),
        (["x" * 400], False),
        ("x" * 400, False),
    ],
)
def test_a_prompt_is_long(body: Any, is_long: bool) -> None:
    found = long_prompt(json.dumps(body).encode(), 100)
    assert (found == body) if is_long else (found is None)


@pytest.mark.parametrize("body", [b"x" * 100, b"{" * 100, b"\xff" * 100, b"[" * 100_000])
def test_what_is_no_json_is_not_long(body: bytes) -> None:
    assert long_prompt(body, 100) is None


def test_one_token_is_asked_for_of_who_reads_a_prompt() -> None:
    """vLLM, disaggregated prefill: kv_transfer_params of both requests."""
    asked = json.loads(
        to_prefill(
            {
                "prompt": "p",
                "min_tokens": 5,
                "min_completion_tokens": 5,
                "max_completion_tokens": 9,
                "stream": True,
                "stream_options": {"a": 1},
                "seed": 7,
            }
        )
    )
    assert asked.pop("kv_transfer_params") == {
        "do_remote_decode": True,
        "do_remote_prefill": False,
        "remote_engine_id": None,
        "remote_block_ids": None,
        "remote_host": None,
        "remote_port": None,
    }
    assert asked == {
        "prompt": "p",
        "max_tokens": 1,
        "max_completion_tokens": 1,
        "stream": False,
        "seed": 7,
    }
    assert "max_completion_tokens" not in json.loads(to_prefill({"prompt": "p"}))


@pytest.mark.parametrize(
    ("answer", "transfer"),
    [
        ({"kv_transfer_params": {"remote_port": 1}}, {"remote_port": 1}),
        ({"kv_transfer_params": {}}, None),
        ({"kv_transfer_params": None}, None),
        ({}, None),
        ([], None),
    ],
)
def test_what_was_said_of_the_cache_goes_to_who_answers(answer: Any, transfer: Any) -> None:
    made = to_decode({"prompt": "p"}, json.dumps(answer).encode())
    expected = {"prompt": "p", "kv_transfer_params": transfer} if transfer else None
    assert (json.loads(made) if made is not None else None) == expected
    assert to_decode({}, b"no JSON") is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"",
    ],
)
async def test_a_prompt_that_nobody_else_has_read_is_read_here(answer: bytes) -> None:
    server = await asyncio.start_server(answering(answer), "127.0.0.1", 0)
    there = Prefill("127.0.0.1", server.sockets[0].getsockname()[1], threshold=1)
    body = json.dumps({"prompt": "p" * 40}).encode()
    request = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with server, front(OK, prefill=there) as say:
        assert await say(closed(request)) == closed(OK)
