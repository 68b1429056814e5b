"""HTTP/1.1 as the front of a pod reads it: what is a message, and what is refused before it can be
taken in two ways."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tiphys.addons.inference import wire
from tiphys.addons.inference.wire import (
    Head,
    Malformed,
    chunks,
    length_of,
    pieces,
    read_body,
    read_head,
    read_to_end,
)


def stream(data: bytes, limit: int = 64 << 10) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=limit)
    reader.feed_data(data)
    reader.feed_eof()
    return reader


def head(*fields: tuple[str, str], version: str = "HTTP/1.1", second: str = "/") -> Head:
    return Head(("POST", second, version), list(fields))


# --- heads ---


async def test_a_head_is_read_with_its_fields_as_they_came() -> None:
    found = await read_head(
        stream(b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-A:  b c \r\nX-Empty:\r\n\r\nbody")
    )
    assert found == Head(
        ("GET", "/a?b", "HTTP/1.1"), [("Host", "h"), ("X-A", "b c"), ("X-Empty", "")]
    )
    assert found.get("x-a") == "b c" and found.get("none") == ""


async def test_a_connection_that_ends_between_messages_is_no_mistake() -> None:
    assert await read_head(stream(b"")) is None
    assert await read_head(stream(b"\r\n")) is None


@pytest.mark.parametrize(
    ("raw", "message", "status"),
    [
        (b"GET / HT", "the head ends early", 400),
        (b"GET\r\n\r\n", "no first line", 400),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", "a header field cannot be read", 400),
        (b"GET / HTTP/1.1\r\n: x\r\n\r\n", "a header field cannot be read", 400),
        (b"GET / HTTP/1.1\r\nA : x\r\n\r\n", "a header field cannot be read", 400),
        (b"GET / HTTP/1.1\r\n A: x\r\n\r\n", "a header field cannot be read", 400),
        (b"GET / HTTP/1.1\r\nA: x\nB: y\r\n\r\n", "a header field cannot be read", 400),
        (b"GET / HTTP/1.1\r\nA: x\rB: y\r\n\r\n", "a header field cannot be read", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000, "the head is too long", 431),
    ],
)
async def test_what_is_no_head_is_refused(raw: bytes, message: str, status: int) -> None:
    """RFC 9112, 2.2 and 5.1: neither bare line ends nor space before a colon."""
    with pytest.raises(Malformed, match=message) as refused:
        await read_head(stream(raw))
    assert refused.value.status == status


async def test_an_answer_may_have_no_words_for_its_status() -> None:
    found = await read_head(stream(b"HTTP/1.1 200\r\n\r\n"))
    assert found is not None and found.first == ("HTTP/1.1", "200", "")


@pytest.mark.parametrize(
    ("version", "connection", "keeps_alive"),
    [
        ("HTTP/1.1", "", True),
        ("HTTP/1.1", "keep-alive", True),
        ("HTTP/1.1", "close", False),
        ("HTTP/1.1", "Upgrade, CLOSE", False),
        ("HTTP/1.0", "", False),
        ("HTTP/1.0", "keep-alive", False),
    ],
)
def test_another_message_may_follow(version: str, connection: str, keeps_alive: bool) -> None:
    fields = [("Connection", connection)] if connection else []
    assert head(*fields, version=version).keeps_alive is keeps_alive


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("X-A", True),
        ("Host", True),
        ("Connection", False),
        ("Keep-Alive", False),
        ("TE", False),
        ("Trailer", False),
        ("Upgrade", False),
        ("Expect", False),
        ("Proxy-Connection", False),
        ("Content-Length", False),
        ("transfer-encoding", False),
        ("X-Named", False),  # by the connection field
    ],
)
def test_what_belongs_to_a_connection_is_not_passed_on(name: str, passes: bool) -> None:
    """RFC 9110, 7.6.1."""
    made = head((name, "v"), ("Connection", "x-named , other")).encoded(("More", "m"))
    lines = made.decode().split("\r\n")
    assert (f"{name}: v" in lines) is passes
    assert lines[0] == "POST / HTTP/1.1" and lines[-3:] == ["More: m", "", ""]
    assert Head(("HTTP/1.1", "200", "")).encoded() == b"HTTP/1.1 200\r\n\r\n"


# --- bodies ---

CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([], 0),
        ([("Content-Length", "0")], 0),
        ([("Content-Length", "12")], 12),
        ([("Content-Length", "12"), ("content-length", "12")], 12),
        ([CHUNKED], None),
        ([("Transfer-Encoding", "Chunked")], None),
    ],
)
def test_a_body_has_a_length_or_chunks(fields: Any, length: int | None) -> None:
    assert length_of(head(*fields)) == length


@pytest.mark.parametrize(
    "fields",
    [
        [CHUNKED, ("Content-Length", "0")],
        [("Transfer-Encoding", "gzip, chunked")],
        [("Transfer-Encoding", "identity")],
        [("Content-Length", "1"), ("Content-Length", "2")],
        [("Content-Length", "-1")],
        [("Content-Length", "+1")],
        [("Content-Length", "0x1")],
        [("Content-Length", "²")],
        [("Content-Length", "")],
    ],
)
def test_a_length_that_can_be_read_in_two_ways_is_refused(fields: Any) -> None:
    """RFC 9112, 6.3: by that requests are smuggled."""
    with pytest.raises(Malformed, match="the length of the body is not clear"):
        length_of(head(*fields))


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"A;x=y\r\n0123456789\r\n1 \r\na\r\n0\r\n\r\n", b"0123456789a"),
        (b"1\r\na\r\n0\r\nTrailer: x\r\nMore: y\r\n\r\n", b"a"),
    ],
)
async def test_chunks_are_put_together(raw: bytes, body: bytes) -> None:
    assert await read_body(stream(raw), head(CHUNKED)) == body


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\r\n", "a chunk has no length"),
        (b"x\r\n", "a chunk has no length"),
        (b"-1\r\n", "a chunk has no length"),
        (b"0x1\r\n", "a chunk has no length"),
        (b"123456789\r\n", "a chunk has no length"),
        (b"1\r\nabc\r\n", "a chunk has no end"),
        (b"1" * 70_000, "a line is too long"),
    ],
)
async def test_what_is_no_chunk_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        await read_body(stream(raw), head(CHUNKED))


async def test_a_large_chunk_comes_in_pieces() -> None:
    raw = b"20001\r\n" + b"x" * 0x20001 + b"\r\n0\r\n\r\n"
    sizes = [len(piece) async for piece in chunks(stream(raw))]
    assert sizes == [65536, 65536, 1]


@pytest.mark.parametrize(("size", "is_taken"), [(100, True), (101, False)])
async def test_a_body_has_an_end(
    size: int, is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LARGEST", 100)
    body = b"x" * size
    whole_body = (stream(body), head(("Content-Length", str(size))))
    in_chunks = (stream(b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)), head(CHUNKED))
    for reader, one in (whole_body, in_chunks):
        if is_taken:
            assert await read_body(reader, one) == body
            continue
        with pytest.raises(Malformed, match="the body is too large") as refused:
            await read_body(reader, one)
        assert refused.value.status == 413


async def test_a_body_that_ends_early_is_no_body() -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await read_body(stream(b"abc"), head(("Content-Length", "4")))


# --- answers ---


def answer(status: str = "200", *fields: tuple[str, str]) -> Head:
    return Head(("HTTP/1.1", status, "OK"), list(fields))


@pytest.mark.parametrize(
    ("method", "status", "fields", "raw", "body"),
    [
        ("GET", "200", [("Content-Length", "3")], b"abcd", b"abc"),
        ("GET", "200", [("Content-Length", "0")], b"abcd", b""),
        ("GET", "200", [], b"abcd", b"abcd"),  # until the server closes
        ("GET", "200", [CHUNKED], b"1\r\na\r\n0\r\n\r\n", b"a"),
        ("HEAD", "200", [("Content-Length", "3")], b"", b""),
        ("GET", "204", [], b"abcd", b""),
        ("GET", "304", [("Content-Length", "3")], b"", b""),
    ],
)
async def test_the_body_of_an_answer(
    method: str, status: str, fields: Any, raw: bytes, body: bytes
) -> None:
    """RFC 9112, 6.3."""
    assert await read_to_end(stream(raw), answer(status, *fields), method) == body


async def test_an_answer_that_ends_early_is_no_answer() -> None:
    with pytest.raises(Malformed, match="the answer ends early") as refused:
        await read_to_end(stream(b"ab"), answer("200", ("Content-Length", "3")), "GET")
    assert refused.value.status == 502


async def test_an_answer_that_should_be_short_is_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "LARGEST", 3)
    assert await read_to_end(stream(b"abc"), answer(), "GET") == b"abc"
    with pytest.raises(Malformed, match="the answer is too large") as refused:
        await read_to_end(stream(b"abcd"), answer(), "GET")
    assert refused.value.status == 502


async def test_a_long_answer_comes_in_pieces() -> None:
    length = ("Content-Length", "131073")
    found = [
        len(piece) async for piece in pieces(stream(b"x" * 131_073), answer("200", length), "GET")
    ]
    assert sum(found) == 131_073 and max(found) <= 65_536
