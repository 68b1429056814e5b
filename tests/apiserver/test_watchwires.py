"""Watches over WebSockets, as dashboards in browsers open them: an event is a message."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.builders import config_map
from tiphys.api.core_v1 import ConfigMap
from tiphys.client.websockets import framed
from tiphys.machinery import protobuf
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"
WATCH = f"{MAPS}?watch=true&resourceVersion=0"
TOKEN = "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(b"x").decode().rstrip(
    "="
)


@pytest.fixture
async def session(server: LocalCluster) -> AsyncIterator[aiohttp.ClientSession]:
    tls = server.client.config.ssl_context()
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(server.url, connector=connector) as opened:
        yield opened


async def told(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The next event of a configmap that is not the cluster's own."""
    while True:
        event: dict[str, Any] = json.loads(await socket.receive_str(timeout=10))
        if event["object"]["metadata"]["name"] != "kube-root-ca.crt":
            return event


async def test_what_is_there_and_what_comes_are_messages(
    server: LocalCluster, session: aiohttp.ClientSession
) -> None:
    await server.client.create(config_map("a"))
    async with session.ws_connect(WATCH) as socket:
        assert (await told(socket))["object"]["metadata"]["name"] == "a"
        await server.client.create(config_map("b", text="x" * 70_000))
        event = await told(socket)
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "b")
        await socket.send_str("nobody listens")
        await server.client.delete(ConfigMap, "a", "default")
        assert (await told(socket))["type"] == "DELETED"
    await server.eventually(lambda: not server.server.server.reader.watches.is_watching(WHO))


WHO = ("kubernetes-admin",)


async def test_the_clock_ends_it_with_a_word(session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(f"{MAPS}?watch=1&timeoutSeconds=1") as socket:
        while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type is aiohttp.WSMsgType.CLOSE


async def test_tables_and_protobuf_come_so_too(
    server: LocalCluster, session: aiohttp.ClientSession
) -> None:
    await server.client.create(config_map("a"))
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with session.ws_connect(WATCH, headers=table) as socket:
        event = json.loads(await socket.receive_str(timeout=10))
        assert event["object"]["kind"] == "Table" and event["object"]["rows"]
    coded = {"Accept": f"{protobuf.MEDIA_TYPE};stream=watch"}
    async with session.ws_connect(WATCH, headers=coded) as socket:
        message = await socket.receive_bytes(timeout=10)
        assert message.startswith(protobuf.frame(1, b"ADDED"))


async def test_a_protocol_that_is_offered_is_taken(session: aiohttp.ClientSession) -> None:
    """Browsers offer their token beside it, which is nobody's to repeat."""
    async with session.ws_connect(WATCH, protocols=(TOKEN, "base64.binary.k8s.io")) as socket:
        assert socket.protocol == "base64.binary.k8s.io"


@pytest.mark.parametrize("path", [WATCH, "/api/v1/namespaces/default/pods/x/log"])
async def test_a_handshake_that_is_none_is_refused(
    session: aiohttp.ClientSession, path: str
) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with session.get(path, headers=headers) as answer:
        assert answer.status in (400, 404), await answer.text()


@pytest.mark.parametrize(
    ("size", "head"),
    [(125, "817d"), (126, "817e007e"), (65_535, "817effff"), (65_536, "817f0000000000010000")],
)
def test_frames_say_how_long_they_are(size: int, head: str) -> None:
    frame = framed(bytes(size), binary=False)
    assert frame.hex().startswith(head) and len(frame) == size + len(head) // 2
    assert framed(b"x", binary=True) == b"\x82\x01x"
