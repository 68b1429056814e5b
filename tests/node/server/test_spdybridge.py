"""What joins a client's WebSocket and the runtime's SPDY."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import WSMessage, WSMsgType

from tiphys.node.runtime import Streams
from tiphys.node.server.spdybridge import (
    ERROR,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    V5,
    _payload,
    _target,
    channels_of,
    offers,
)


@pytest.mark.parametrize(
    ("streams", "channels"),
    [
        (Streams(), [ERROR]),
        (Streams(stdin=True, stdout=True, stderr=True), [ERROR, STDIN, STDOUT, STDERR]),
        (
            Streams(stdin=True, stdout=True, stderr=True, tty=True),
            [ERROR, STDIN, STDOUT, RESIZE],
        ),
    ],
)
def test_channels_of_a_command(streams: Streams, channels: list[int]) -> None:
    assert channels_of(streams) == channels


@pytest.mark.parametrize(
    ("headers", "offered"),
    [
        ({"Upgrade": "WebSocket", "Sec-WebSocket-Protocol": f"v4.channel.k8s.io, {V5}"}, True),
        ({"Upgrade": "websocket", "Sec-WebSocket-Protocol": "v4.channel.k8s.io"}, False),
        ({"Upgrade": "SPDY/3.1", "Sec-WebSocket-Protocol": V5}, False),
        ({}, False),
    ],
)
def test_what_a_client_speaks(headers: dict[str, str], offered: bool) -> None:
    request: Any = SimpleNamespace(headers=headers)
    assert offers(request, V5) is offered


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (WSMessage(WSMsgType.BINARY, b"\0x", ""), b"\0x"),
        (WSMessage(WSMsgType.TEXT, "\0ü", ""), b"\0\xc3\xbc"),
        (WSMessage(WSMsgType.PING, b"p", ""), b""),
    ],
)
def test_payloads_of_frames(message: WSMessage, payload: bytes) -> None:
    assert _payload(message) == payload


@pytest.mark.parametrize(
    ("url", "target"), [("http://h:1/a/b", "/a/b"), ("http://h:1/a?b=c&d", "/a?b=c&d")]
)
def test_targets_of_requests(url: str, target: str) -> None:
    assert _target(url) == target
