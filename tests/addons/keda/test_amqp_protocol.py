"""What a RabbitMQ says, frame by frame."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

from tiphys.addons.keda.amqp_protocol import Amqp, Login
from tiphys.addons.keda.scaler import ScalerError

METHOD, HEADER, HEARTBEAT = 1, 2, 8


def frame(kind: int, payload: bytes = b"", channel: int = 1) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def declared(messages: int) -> bytes:
    name = b"\x05tasks"
    return frame(METHOD, struct.pack(">HH", 50, 11) + name + struct.pack(">II", messages, 0))


def closed(code: int, text: bytes) -> bytes:
    said = struct.pack(">HHHB", 20, 40, code, len(text)) + text
    return frame(METHOD, said)


class Sent:
    """What would be sent goes nowhere."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


async def asked(answers: bytes) -> int:
    reader = asyncio.StreamReader()
    reader.feed_data(answers)
    reader.feed_eof()
    writer: Any = Sent()
    return await Amqp((reader, writer)).messages("tasks")


async def test_heartbeats_are_no_answers() -> None:
    assert await asked(declared(7)) == 7
    assert await asked(frame(HEARTBEAT, channel=0) * 2 + declared(7)) == 7


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (frame(HEADER) + declared(7), "no answer of an AMQP server"),
        (struct.pack(">BHI", METHOD, 1, 1 << 30), "no answer of an AMQP server"),
        (closed(404, b"no queue"), r"Exception \(404\) Reason: 'no queue'"),
        (frame(METHOD, struct.pack(">HH", 20, 11)), "unexpected method"),
        (declared(7)[:9], "the connection was closed"),
    ],
)
async def test_anything_else_is_refused(answers: bytes, words: str) -> None:
    with pytest.raises(ScalerError, match=words):
        await asked(answers)


# --- logging in ---


def text(words: bytes) -> bytes:
    return struct.pack(">I", len(words)) + words


def short(words: bytes) -> bytes:
    return bytes((len(words),)) + words


def tuned(channels: int = 5, size: int = 4096) -> bytes:
    return frame(METHOD, struct.pack(">HHHIH", 10, 30, channels, size, 60), 0)


def method(*numbers: int) -> bytes:
    return frame(METHOD, struct.pack(">HH", *numbers), 0)


STARTED, OPENED, CHANNEL = method(10, 10), method(10, 41), method(20, 11)
LOGIN = Login("me", "secret", "/team", "keda-ns-w")


class Kept:
    """What was sent, whole frames of it."""

    def __init__(self) -> None:
        self.data = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None: ...

    def close(self) -> None:
        self.is_closed = True

    @property
    def frames(self) -> list[tuple[int, tuple[int, int], bytes]]:
        """(channel, method, arguments) of each."""
        rest, found = self.data[8:], []
        while rest:
            kind, channel, size = struct.unpack(">BHI", rest[:7])
            payload, end = rest[7 : 7 + size], rest[7 + size]
            assert (kind, end) == (METHOD, 0xCE)
            found.append((channel, struct.unpack(">HH", payload[:4]), payload[4:]))
            rest = rest[8 + size :]
        return found


async def logged_in(login: Login, answers: bytes) -> Kept:
    reader = asyncio.StreamReader()
    reader.feed_data(answers)
    reader.feed_eof()
    sent = Kept()
    writer: Any = sent
    await Amqp((reader, writer)).log_in(login)
    return sent


async def test_a_login_is_said_as_specified() -> None:
    """AMQP 0-9-1, class connection: the header, start-ok, tune-ok, open, and a channel."""
    sent = await logged_in(LOGIN, STARTED + tuned() + OPENED + CHANNEL)
    assert sent.data[:8] == b"AMQP\x00\x00\x09\x01"
    properties = short(b"connection_name") + b"S" + text(b"keda-ns-w")
    start = text(properties) + short(b"PLAIN") + text(b"\x00me\x00secret") + short(b"en_US")
    assert sent.frames == [
        (0, (10, 11), start),
        (0, (10, 31), struct.pack(">HIH", 5, 4096, 0)),
        (0, (10, 40), short(b"/team") + short(b"") + b"\x00"),
        (1, (20, 10), short(b"")),
    ]


async def test_whoever_has_a_certificate_says_no_name() -> None:
    sent = await logged_in(Login("", "", "/", "n"), STARTED + tuned() + OPENED + CHANNEL)
    properties = short(b"connection_name") + b"S" + text(b"n")
    assert sent.frames[0][2] == text(properties) + short(b"EXTERNAL") + text(b"") + short(b"en_US")


@pytest.mark.parametrize(
    ("channels", "size", "answered"),
    [(0, 0, (1, 128 << 10)), (7, 4096, (7, 4096)), (1, 1 << 20, (1, 128 << 10))],
)
async def test_frames_are_as_long_as_both_can_bear(
    channels: int, size: int, answered: tuple[int, int]
) -> None:
    sent = await logged_in(LOGIN, STARTED + tuned(channels, size) + OPENED + CHANNEL)
    assert struct.unpack(">HIH", sent.frames[1][2]) == (*answered, 0)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (b"", "the connection was closed: is the login right"),
        (STARTED, "the connection was closed: is the login right"),
        (STARTED + tuned() + closed(530, b"no vhost"), r"Exception \(530\) Reason: 'no vhost'"),
        (STARTED + OPENED, r"AMQP: unexpected method \(10, 41\)"),
        (
            STARTED + frame(METHOD, struct.pack(">HHHB", 10, 50, 403, 2) + b"no", 0),
            r"Exception \(403\) Reason: 'no'",
        ),
    ],
)
async def test_a_login_that_is_refused_says_why(answers: bytes, words: str) -> None:
    with pytest.raises(ScalerError, match=words):
        await logged_in(LOGIN, answers)


@pytest.mark.parametrize(("length", "fits"), [(255, True), (256, False)])
async def test_names_have_255_bytes_at_most(length: int, fits: bool) -> None:
    login = Login("me", "secret", "v" * length, "n")
    if fits:
        await logged_in(login, STARTED + tuned() + OPENED + CHANNEL)
        return
    with pytest.raises(ScalerError, match="AMQP: a name is too long"):
        await logged_in(login, STARTED + tuned() + OPENED + CHANNEL)


async def test_a_queue_is_looked_at_and_not_made() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(declared(7))
    sent = Kept()
    sent.data = b"AMQP\x00\x00\x09\x01"
    writer: Any = sent
    amqp = Amqp((reader, writer))
    assert await amqp.messages("tasks") == 7
    passive = b"\x01"
    assert sent.frames == [(1, (50, 10), b"\x00\x00" + short(b"tasks") + passive + text(b""))]
    amqp.close()
    assert sent.is_closed


@pytest.mark.parametrize(("size", "fits"), [(128 << 10, True), ((128 << 10) + 1, False)])
async def test_a_frame_has_128_kibibytes_at_most(size: int, fits: bool) -> None:
    heartbeat = frame(HEARTBEAT, b"x" * size, 0)
    if fits:
        assert await asked(heartbeat + declared(7)) == 7
        return
    with pytest.raises(ScalerError, match="no answer of an AMQP server"):
        await asked(heartbeat + declared(7))


async def test_a_connection_that_breaks_is_a_failure_of_the_trigger() -> None:
    class Broken(Kept):
        async def drain(self) -> None:
            raise ConnectionResetError("gone")

    writer: Any = Broken()
    with pytest.raises(ScalerError, match="gone"):
        await Amqp((asyncio.StreamReader(), writer)).messages("tasks")
