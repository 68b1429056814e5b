"""WebSockets of clients: who asks for one, and messages as frames."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiohttp import web

from tiphys.client.websockets import framed, upgrade, wants_socket
from tiphys.machinery.errors import StatusError


@pytest.mark.parametrize(
    ("headers", "wants"),
    [
        ({"Upgrade": "websocket"}, True),
        ({"Upgrade": "WebSocket"}, True),
        ({"Upgrade": "h2c, websocket"}, True),
        ({"Upgrade": "SPDY/3.1"}, False),
        ({}, False),
    ],
)
def test_who_asks_for_a_socket(headers: dict[str, str], wants: bool) -> None:
    assert wants_socket(SimpleNamespace(headers=headers)) is wants  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, "00"),
        (125, "7d"),
        (126, "7e 007e"),
        (65535, "7e ffff"),
        (65536, "7f 0000000000010000"),
    ],
)
def test_a_message_is_one_frame(size: int, head: str) -> None:
    message = b"x" * size
    assert framed(message, binary=False) == b"\x81" + bytes.fromhex(head) + message
    assert framed(message, binary=True) == b"\x82" + bytes.fromhex(head) + message


class Socket:
    """Is prepared, or refuses with a text."""

    def __init__(self, error: web.HTTPBadRequest | None) -> None:
        self._error = error

    async def prepare(self, request: object) -> None:
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize(("text", "said"), [("no key", "no key"), ("", "bad handshake")])
async def test_a_handshake_that_is_none_is_a_bad_request(text: str, said: str) -> None:
    error = web.HTTPBadRequest(text=text)
    with pytest.raises(StatusError) as refused:
        await upgrade(Socket(error), None)  # type: ignore[arg-type]
    assert (refused.value.code, str(refused.value)) == (400, said)
    await upgrade(Socket(None), None)  # type: ignore[arg-type]
