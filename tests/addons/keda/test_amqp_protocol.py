"""What a RabbitMQ says, frame by frame."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

from tiphys.addons.keda.amqp_protocol import Amqp
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
