"""SPDY/3.1, as much as a client of a container runtime's streams needs. No I/O: bytes in, events
out, and back.

Headers are compressed without the protocol's dictionary: a reader uses it only when a stream refers
to it. Headers of replies are skipped: nobody here needs them.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_SYN_STREAM, _SYN_REPLY, _RST, _PING, _GOAWAY = 1, 2, 3, 6, 7
_FIN = 1


@dataclass(frozen=True)
class Event:
    """kind: data, end (the stream's peer is done), reset, ping or goaway."""

    kind: str
    stream: int
    data: bytes = b""


class SPDYClient:
    def __init__(self) -> None:
        self._buffer = bytearray()
        self._next = 1
        self._compressor = zlib.compressobj()

    def open(self, headers: dict[str, str]) -> tuple[int, bytes]:
        """(stream, bytes to send)."""
        stream = self._next
        self._next = self._next + 2
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                block += struct.pack(">I", len(text)) + text
        packed = self._compressor.compress(block) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        body = struct.pack(">IIBB", stream, 0, 0, 0) + packed
        return stream, self._control(_SYN_STREAM, 0, body)

    @staticmethod
    def _control(kind: int, flags: int, body: bytes) -> bytes:
        return struct.pack(">HHI", 0x8003, kind, flags << 24 | len(body)) + body

    @staticmethod
    def data(stream: int, data: bytes, end: bool = False) -> bytes:
        return struct.pack(">II", stream, (_FIN if end else 0) << 24 | len(data)) + data

    @classmethod
    def pong(cls, data: bytes) -> bytes:
        return cls._control(_PING, 0, data)

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now."""
        self._buffer += data
        events: list[Event] = []
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            size = second & 0xFFFFFF
            flags = second >> 24
            if len(self._buffer) < 8 + size:
                break
            body = bytes(self._buffer[8 : 8 + size])
            del self._buffer[: 8 + size]
            if first >> 31:
                events += self._controls(first & 0xFFFF, flags, body)
            else:
                if body:
                    events.append(Event("data", first, body))
                if flags & _FIN:
                    events.append(Event("end", first))
        return events

    @staticmethod
    def _controls(kind: int, flags: int, body: bytes) -> list[Event]:
        stream = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF if len(body) >= 4 else 0
        match kind:
            case 3:
                return [Event("reset", stream)]
            case 6:
                return [Event("ping", 0, body)]
            case 7:
                return [Event("goaway", 0)]
            case 2 if flags & _FIN:
                return [Event("end", stream)]
        return []
