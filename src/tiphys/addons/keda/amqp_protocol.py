"""As much of AMQP 0-9-1 as asks how long a queue is: logging in, a channel, a passive declaration.

Source: the specification of AMQP 0-9-1, "General Format of Frames" and the classes 10, 20 and 50.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

from tiphys.addons.keda.dialing import Streams
from tiphys.addons.keda.scaler import ScalerError

_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD, _HEARTBEAT, _END = 1, 8, 0xCE
_LONGEST = 128 << 10  # bytes of a frame
_START, _START_OK = (10, 10), (10, 11)
_TUNE, _TUNE_OK = (10, 30), (10, 31)
_OPEN, _OPEN_OK, _CLOSE = (10, 40), (10, 41), (10, 50)
_CHANNEL_OPEN, _CHANNEL_OPEN_OK, _CHANNEL_CLOSE = (20, 10), (20, 11), (20, 40)
_DECLARE, _DECLARE_OK = (50, 10), (50, 11)


@dataclass(frozen=True)
class Login:
    """Without a name, a client certificate authenticates (mechanism EXTERNAL)."""

    username: str
    password: str
    vhost: str
    connection_name: str


class Amqp:
    """One connection with one channel."""

    def __init__(self, streams: Streams) -> None:
        self._reader, self._writer = streams

    async def log_in(self, login: Login) -> None:
        """Raises ScalerError when the server refuses."""
        self._writer.write(_HEADER)
        await self._expect(_START)
        mechanism = b"EXTERNAL"
        answer = b""
        if login.username:
            mechanism = b"PLAIN"
            answer = b"\x00".join((b"", login.username.encode(), login.password.encode()))
        name = login.connection_name.encode()
        properties = _short(b"connection_name") + b"S" + _long(name)
        self._send(
            0, _START_OK, _long(properties) + _short(mechanism) + _long(answer) + _short(b"en_US")
        )
        tune = await self._expect(_TUNE)
        channels, size, _ = struct.unpack(">HIH", tune[:8])
        frame = min(size or _LONGEST, _LONGEST)
        self._send(0, _TUNE_OK, struct.pack(">HIH", channels or 1, frame, 0))
        self._send(0, _OPEN, _short(login.vhost.encode()) + _short(b"") + b"\x00")
        await self._expect(_OPEN_OK)
        self._send(1, _CHANNEL_OPEN, _short(b""))
        await self._expect(_CHANNEL_OPEN_OK)

    async def messages(self, queue: str) -> int:
        """How many a queue has that are ready. Raises ScalerError when there is none."""
        passive = 1
        self._send(
            1, _DECLARE, b"\x00\x00" + _short(queue.encode()) + bytes((passive,)) + _long(b"")
        )
        answer = await self._expect(_DECLARE_OK)
        return int(struct.unpack(">I", answer[1 + answer[0] :][:4])[0])

    def _send(self, channel: int, method: tuple[int, int], arguments: bytes) -> None:
        payload = struct.pack(">HH", *method) + arguments
        head = struct.pack(">BHI", _METHOD, channel, len(payload))
        self._writer.write(head + payload + bytes((_END,)))

    async def _expect(self, method: tuple[int, int]) -> bytes:
        """The arguments of the next method, which must be this one."""
        try:
            await self._writer.drain()
            while True:
                kind, _, size = struct.unpack(">BHI", await self._reader.readexactly(7))
                if size > _LONGEST:
                    raise ScalerError("no answer of an AMQP server")
                payload = (await self._reader.readexactly(size + 1))[:-1]
                if kind == _METHOD:
                    break
                if kind != _HEARTBEAT:
                    raise ScalerError("no answer of an AMQP server")
        except asyncio.IncompleteReadError:
            raise ScalerError("the connection was closed: is the login right?") from None
        except OSError as error:
            raise ScalerError(str(error)) from None
        received = struct.unpack(">HH", payload[:4])
        if received in (_CLOSE, _CHANNEL_CLOSE):
            code, size = struct.unpack(">HB", payload[4:7])
            text = payload[7 : 7 + size].decode(errors="replace")
            raise ScalerError(f"Exception ({code}) Reason: {text!r}")
        if received != method:
            raise ScalerError(f"AMQP: unexpected method {received}")
        return payload[4:]

    def close(self) -> None:
        self._writer.close()


def _short(text: bytes) -> bytes:
    if len(text) > 255:
        raise ScalerError("AMQP: a name is too long")
    return bytes((len(text),)) + text


def _long(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text
