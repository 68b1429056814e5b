"""The server of an add-on's webhooks: what it answers, and what it does not take."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tiphys.addons import webhook
from tiphys.addons.authority import passing_server
from tiphys.addons.webhook import Webhook, api_server_address
from tiphys.api import discovery_v1
from tiphys.testing import LocalCluster


def echo(body: bytes) -> bytes:
    return body[::-1]


def no_review(body: bytes) -> bytes:
    raise msgspec.DecodeError("a review holds a request " + "!" * 300)


def crash(body: bytes) -> bytes:
    raise RuntimeError("ours to mend")


@asynccontextmanager
async def asking(
    folder: Path, method: str, path: str, body: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer of a webhook that takes a hundred bytes."""
    _, context = passing_server("t", ["127.0.0.1"], time.time(), folder)
    served = Webhook({"/a": echo, "/b": no_review, "/c": crash}, 100)
    port = await served.start("127.0.0.1", 0, context)
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    connector = aiohttp.TCPConnector(ssl=anybody)
    url = f"https://127.0.0.1:{port}{path}"
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, url, data=body) as answer,
    ):
        yield answer
    await served.stop()


async def test_a_review_is_answered_in_json(tmp_path: Path) -> None:
    async with asking(tmp_path, "POST", "/a", b"abc") as answer:
        assert (answer.status, await answer.read()) == (200, b"cba")
        assert answer.content_type == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "size", "status"),
    [
        ("POST", "/a", 100, 200),
        ("POST", "/a", 101, 413),
        ("POST", "/b", 1, 400),
        ("POST", "/c", 1, 500),
        ("POST", "/d", 1, 404),
        ("GET", "/a", 0, 405),
    ],
)
async def test_what_is_no_review_is_refused(
    tmp_path: Path, method: str, path: str, size: int, status: int
) -> None:
    async with asking(tmp_path, method, path, b"x" * size) as answer:
        assert answer.status == status


async def test_why_a_review_is_none_is_said_shortly(tmp_path: Path) -> None:
    async with asking(tmp_path, "POST", "/b", b"abc") as answer:
        text = await answer.text()
    assert text.startswith("a review holds a request !!!") and len(text) == 200


async def test_a_review_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "_READ", 0.02)
    never = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        await never.wait()

    async with asking(tmp_path, "POST", "/a", body()) as answer:
        assert answer.status == 408


async def test_the_add_ons_machine_is_where_the_api_server_is(server: LocalCluster) -> None:
    """The endpoints of the Service `kubernetes`; without any, the loopback."""
    client = server.client
    there = await client.get(discovery_v1.EndpointSlice, "kubernetes", "default")
    assert await api_server_address(client) == there.endpoints[0].addresses[0]
    there.endpoints = []
    await client.update(there)
    assert await api_server_address(client) == "127.0.0.1"
    await client.delete(discovery_v1.EndpointSlice, "kubernetes", "default")
    assert await api_server_address(client) == "127.0.0.1"
