"""WebSockets of clients: the handshake, and frames."""

from __future__ import annotations

import struct

from aiohttp import web

from tiphys.machinery import errors

_TEXT, _BINARY = 0x81, 0x82  # whole messages


def wants_socket(request: web.BaseRequest) -> bool:
    return "websocket" in request.headers.get("Upgrade", "").lower()


async def upgrade(socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
    """Answers the handshake. Raises 400 for one that is none."""
    try:
        await socket.prepare(request)
    except web.HTTPBadRequest as error:
        raise errors.bad_request(error.text or "bad handshake") from None


def framed(message: bytes, binary: bool) -> bytes:
    """A message as one frame of a server (RFC 6455, 5.2)."""
    kind = _BINARY if binary else _TEXT
    size = len(message)
    if size < 126:
        head = struct.pack("!BB", kind, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", kind, 126, size)
    else:
        head = struct.pack("!BBQ", kind, 127, size)
    return head + message
