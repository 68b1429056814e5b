"""Attempts to write into the audit log what did not happen, or to do something that is not in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

from tests.apiserver.audit.builders import CONFIG_MAPS, EVERYTHING, Audited, audited

FORGED = '{"kind":"Event","stage":"ResponseComplete","user":{"username":"system:admin"}}'


async def raw(server: Audited, head: bytes, body: bytes = b"") -> bytes:
    """The answer to bytes that are sent as they are."""
    context = server.client.config.ssl_context()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.cluster.port, ssl=context)
    try:
        async with asyncio.timeout(10):
            length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            writer.write(head + b"Host: x\r\n" + length + body)
            return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_every_line_is_an_event_that_happened(tmp_path: Path) -> None:
    forged = FORGED.encode()
    evil = "\n" + FORGED + "\n\u2028\u2029\r\x00"
    async with audited(tmp_path, EVERYTHING) as server:
        await raw(server, b"GET /%0a" + forged.replace(b'"', b"%22") + b" HTTP/1.1\r\n")
        await raw(server, b"GET /version HTTP/1.1\r\nUser-Agent: \xff\xfe" + forged + b"\r\n")
        await raw(server, b'GET /version HTTP/1.1\r\nAudit-ID: x"\xff' + forged + b"\r\n")
        await raw(server, b"GET /version?\xff" + b" HTTP/1.1\r\nX-Forwarded-For: \xff\r\n")
        made = {"metadata": {"name": "c", "annotations": {"a": evil}}}
        body = json.dumps(made, indent=1).replace("\n", "\r\n").encode()
        head = f"POST {CONFIG_MAPS} HTTP/1.1\r\nContent-Type: application/json\r\n".encode()
        assert b" 201 " in await raw(server, head, body)
        lines = server.log.read_bytes().split(b"\n")
        event = server.last(CONFIG_MAPS)
    assert lines.pop() == b""
    users = {json.loads(line)["user"].get("username") for line in lines}
    assert "system:admin" not in users
    assert event["requestObject"]["metadata"]["annotations"]["a"] == evil


async def test_nobody_says_who_else_asked(tmp_path: Path) -> None:
    async with audited(tmp_path, EVERYTHING) as server:
        joe = server.cluster.client_as("joe")
        headers = {"X_Remote_User": "system:admin", "X_Forwarded_For": "1.2.3.4"}
        await server.as_user(joe, "GET", CONFIG_MAPS, None, **headers)
        event = server.last(CONFIG_MAPS)
    assert event["user"]["username"] == "joe"
    assert event["sourceIPs"][-1] == "127.0.0.1"


async def test_what_is_refused_early_is_told_all_the_same(tmp_path: Path) -> None:
    async with audited(tmp_path, EVERYTHING) as server:
        await server.ask("GET", f"{CONFIG_MAPS}?timeout=never")
        await server.ask("POST", CONFIG_MAPS, None, Content_Type="text/plain")
        await server.ask("GET", "/apis/nowhere/v1/things")
        await server.ask("BREW", "/version")
        await server.ask("GET", CONFIG_MAPS, None, Impersonate_Group="devs")
        codes = [
            event["responseStatus"]["code"]
            for event in server.events("/", "ResponseComplete")
            if event["user"].get("username") == "kubernetes-admin"
        ]
    assert codes[:3] == [400, 415, 404] and codes[-1] == 400


async def test_a_long_head_is_cut(tmp_path: Path) -> None:
    async with audited(tmp_path, EVERYTHING) as server:
        await server.ask("GET", "/version", None, User_Agent="x" * 100_000)
        agent = server.last("/version")["userAgent"]
    assert len(agent) < 1100 and agent.endswith("...TRUNCATED")
