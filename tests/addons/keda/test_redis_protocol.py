"""What a Redis says, line by line (RESP 2), and what is asked of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.addons.keda.tables import made
from tiphys.addons.keda import dialing, redis_protocol
from tiphys.addons.keda.redis_protocol import Redis, RedisError, Server
from tiphys.addons.keda.scaler import ScalerError


class Sent:
    def __init__(self) -> None:
        self.data = b""
        self.is_closed = False
        self.fails: Exception | None = None

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        if self.fails is not None:
            raise self.fails

    def close(self) -> None:
        self.is_closed = True


def connected(answers: bytes, ends: bool = True, timeout: float = 3.0) -> tuple[Redis, Sent]:
    reader = asyncio.StreamReader()
    reader.feed_data(answers)
    if ends:
        reader.feed_eof()
    sent = Sent()
    writer: Any = sent
    return Redis(reader, writer, timeout), sent


async def answered(answers: bytes) -> object:
    redis, _ = connected(answers)
    return await redis.ask("PING")


def nested(depth: int) -> bytes:
    return b"*1\r\n" * depth + b":1\r\n"


@pytest.mark.parametrize(
    ("answers", "value"),
    [
        (b"+PONG\r\n", "PONG"),
        (b":-7\r\n", -7),
        (b"$3\r\na\r\n\r\n", "a\r\n"),
        (b"$0\r\n\r\n", ""),
        (b"$-1\r\n", None),
        (b"$1\r\n\xff\r\n", "\ufffd"),
        (b"*0\r\n", []),
        (b"*2\r\n:1\r\n*1\r\n+a\r\n", [1, ["a"]]),
        (b"*10000\r\n" + b":1\r\n" * 10_000, [1] * 10_000),
    ],
)
async def test_answers_are_of_five_kinds(answers: bytes, value: object) -> None:
    assert await answered(answers) == value


async def test_strings_and_arrays_have_bounds() -> None:
    size = 1 << 20
    assert await answered(b"$%d\r\n" % size + b"x" * size + b"\r\n") == "x" * size
    found: Any = await answered(nested(9))
    for _ in range(9):
        (found,) = found
    assert found == 1


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (b"-ERR no such key\r\n", "^ERR no such key$"),
        (b"?what\r\n", "no answer of a Redis server: what"),
        (b"*10001\r\n", "no answer of a Redis server: too many members"),
        (nested(10), "no answer of a Redis server: too many members"),
        (b"$1048577\r\n", "no answer of a Redis server: a string is too long"),
        (b":x\r\n", "no answer of a Redis server: invalid literal"),
        (b"x" * (1 << 17), "no answer of a Redis server"),
        (b"$5\r\nab", "connection lost"),
        (b"", "connection lost"),
    ],
)
async def test_anything_else_is_an_error(answers: bytes, words: str) -> None:
    with pytest.raises(RedisError, match=words):
        await answered(answers)


async def test_who_does_not_answer_is_not_waited_for() -> None:
    redis, sent = connected(b"", ends=False, timeout=0.01)
    with pytest.raises(RedisError, match="i/o timeout"):
        await redis.ask("PING")
    sent.fails = ConnectionResetError("reset")
    with pytest.raises(RedisError, match="connection lost: reset"):
        await redis.ask("PING")


async def test_a_command_is_an_array_of_strings() -> None:
    redis, sent = connected(b":1\r\n:2\r\n")
    assert await asyncio.gather(redis.ask("LLEN", "ä"), redis.ask("SELECT", 12)) == [1, 2]
    first = b"*2\r\n$4\r\nLLEN\r\n$2\r\n\xc3\xa4\r\n"
    assert sent.data == first + b"*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n"
    redis.close()
    assert sent.is_closed


# --- connecting ---


class Dialed:
    """A server that answers so, whoever connects to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: bytes) -> None:
        self.sent = Sent()
        self.where: tuple[str, int] | None = None
        self.has_tls = False
        self.answers = answers
        monkeypatch.setattr(redis_protocol, "dial", self._dial)

    async def _dial(self, config: Any, host: str, port: int, tls: Any) -> Any:
        self.where, self.has_tls = (host, port), tls is not None
        reader = asyncio.StreamReader()
        reader.feed_data(self.answers)
        return reader, self.sent


CONFIG = made("redis", {"address": "h:1", "listName": "l"}).config


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (Server("h:1"), []),
        (Server("h:1", username="u"), []),
        (Server("h:1", password="p"), [b"AUTH", b"p"]),
        (Server("h:1", "u", "p"), [b"AUTH", b"u", b"p"]),
        (Server("h:1", database=2), [b"SELECT", b"2"]),
        (Server("h:1", "u", "p", 2), [b"AUTH", b"u", b"p", b"SELECT", b"2"]),
    ],
)
async def test_a_connection_is_logged_in(
    monkeypatch: pytest.MonkeyPatch, server: Server, words: list[bytes]
) -> None:
    dialed = Dialed(monkeypatch, b"+OK\r\n+OK\r\n")
    await Redis.connect(server, CONFIG)
    said = [line for line in dialed.sent.data.split(b"\r\n") if line and line[:1] not in b"*$"]
    assert said == words
    assert (dialed.where, dialed.has_tls) == (("h", 1), False)


async def test_whoever_may_not_log_in_has_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    dialed = Dialed(monkeypatch, b"-WRONGPASS\r\n")
    with pytest.raises(RedisError, match="WRONGPASS"):
        await Redis.connect(Server("h:1", password="p"), CONFIG)
    assert dialed.sent.is_closed
    with pytest.raises(RedisError, match="missing port in address"):
        await Redis.connect(Server("h"), CONFIG)


async def test_a_server_may_be_behind_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    dialed = Dialed(monkeypatch, b"")
    await Redis.connect(Server("h:1", has_tls=True), CONFIG)
    assert dialed.has_tls


@pytest.mark.parametrize(
    ("address", "default", "place"),
    [
        ("h:1", None, ("h", 1)),
        ("h:65535", None, ("h", 65535)),
        ("h:65536", None, None),
        ("h:0", None, None),
        ("h:x", None, None),
        ("h:٣", None, None),
        ("h:", None, None),
        ("h", None, None),
        ("h", 5, ("h", 5)),
        ("[::1]:7", None, ("::1", 7)),
        ("[::1]", 5, ("::1", 5)),
        ("[::1]", None, None),
    ],
)
def test_an_address_is_a_host_and_a_port(
    address: str, default: int | None, place: tuple[str, int] | None
) -> None:
    try:
        assert dialing.host_port(address, default) == place
    except ScalerError as error:
        assert place is None
        assert str(error) == f"dial tcp: address {address}: missing port in address"
