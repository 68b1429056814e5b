"""Attacks on the server's front: heads, bodies, selectors, definitions. None may hold the loop or
fill the memory."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.apiserver.builders import CRDS, call, definition
from tests.fuzz.sockets import attack
from tests.fuzz.target import LONGEST_HOLD
from tiphys.apiserver.eventloop import aside, watchdog
from tiphys.apiserver.http.pages import Pages
from tiphys.apiserver.http.respond import shortened
from tiphys.client import front
from tiphys.client.client import JSON_PATCH, MERGE
from tiphys.client.collection import resident_memory
from tiphys.machinery.errors import StatusError
from tiphys.machinery.patch import PatchError, json_patch
from tiphys.machinery.selectors import parse_labels
from tiphys.store.deadlines import Deadlines
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"
YAML = "application/yaml"


async def connected(server: LocalCluster) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of somebody without a certificate."""
    tls = ssl.create_default_context(cafile=str(server.authority.path))
    return await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=tls, server_hostname="localhost"
    )


async def refused(server: LocalCluster, *args: Any, **kwargs: Any) -> StatusError:
    with pytest.raises(StatusError) as raised:
        await server.client.request(*args, **kwargs)
    return raised.value


def config(name: str = "a", **parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **parts}


# --- heads and connections ---


async def test_a_head_of_more_than_a_mebibyte_is_refused_and_costs_no_memory(
    server: LocalCluster,
) -> None:
    reader, writer = await connected(server)
    value = b"x" * 900_000

    async def send() -> None:
        writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n")
        for number in range(40):  # of 300 that were meant to come
            writer.write(b"H%d: %b\r\n" % (number, value))
            await writer.drain()

    before = resident_memory()
    answer, _ = await asyncio.gather(reader.readline(), send(), return_exceptions=True)
    assert isinstance(answer, bytes) and answer.startswith(b"HTTP/1.1 431")
    assert resident_memory() - before < 30 << 20


async def test_a_head_of_a_thousand_headers_is_the_most(server: LocalCluster) -> None:
    reader, writer = await connected(server)
    writer.write(
        b"GET /livez HTTP/1.1\r\nHost: a\r\n"
        + b"".join(b"H%d: x\r\n" % n for n in range(1100))
        + b"\r\n"
    )
    assert b" 400" in await reader.readline()


async def test_a_head_that_never_ends_ends_its_connection(
    server: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(front, "_SWEEP", 0.1)
    silent, slow = await connected(server), await connected(server)
    slow[1].write(b"GET /livez HTTP/1.1\r\nHost")
    async with asyncio.timeout(10):
        for reader, _ in (silent, slow):
            with pytest.raises(ConnectionResetError):
                assert await reader.read() == b""
                raise ConnectionResetError


async def test_beyond_the_limit_of_connections_the_one_that_has_waited_longest_goes(
    server: LocalCluster,
) -> None:
    front = server.server._runner.server
    front.most = len(front.connections) + 2
    waiting = [await connected(server) for _ in range(4)]
    await server.eventually(lambda: len(front.connections) <= front.most)
    waiting[-1][1].write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await waiting[-1][0].readline()).startswith(b"HTTP/1.1 200")


async def test_a_connection_without_requests_is_closed_after_upstreams_90_seconds(
    server: LocalCluster,
) -> None:
    assert front.IDLE_SECONDS == 90 and front.HEAD_SECONDS == 32
    reader, writer = await connected(server)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"ok")
    connection = next(
        iter(one for one in server.server._runner.server.connections if one.certificate is None)
    )
    assert connection.keepalive_timeout == 90


async def test_no_cipher_without_forward_secrecy_or_authentication_is_offered(
    server: LocalCluster,
) -> None:
    for ciphers, offered in (
        ("ECDHE+AESGCM", True),
        ("ECDHE+SHA1", False),
        ("AES128-SHA", False),
        ("AES256-GCM-SHA384", False),
    ):
        tls = ssl.create_default_context(cafile=str(server.authority.path))
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        tls.set_ciphers(ciphers)
        try:
            await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=tls, server_hostname="localhost"
            )
        except (ssl.SSLError, ConnectionResetError):
            assert not offered, ciphers
        else:
            assert offered, ciphers


async def test_half_sent_bodies_take_no_seats(server: LocalCluster) -> None:
    halves = []
    for _ in range(30):
        tls = server.client.config.ssl_context()
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=tls, server_hostname="localhost"
        )
        writer.write(f"POST {MAPS} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{{".encode())
        halves.append((reader, writer))
    receiving = server.server.server._bodies.under_way
    await server.eventually(lambda: receiving.get("kubernetes-admin", 0) >= 3000)
    assert sum(level.used for level in server.server.server.fairness.levels.values()) <= 1
    for _, writer in halves:
        writer.transport.abort()
    await server.eventually(lambda: "kubernetes-admin" not in receiving)


async def test_the_body_of_one_who_may_not_write_is_not_read(server: LocalCluster) -> None:
    reader, writer = await connected(server)
    writer.write(f"POST {MAPS} HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n{{".encode())
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        await reader.read()  # and the connection ends, whatever else was to come


async def test_a_request_ends_after_its_time_whatever_it_does(
    server: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.server.server, "_deadlines", Deadlines(0.2))
    tls = server.client.config.ssl_context()
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=tls, server_hostname="localhost"
    )
    writer.write(f"POST {MAPS} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{{".encode())
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 504")


# --- bodies ---


def bomb(levels: int = 9) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n" + "\n".join(lines)


async def test_an_alias_bomb_is_refused_in_upstreams_words(server: LocalCluster) -> None:
    error = await refused(server, "POST", MAPS, bomb().encode(), content=YAML)
    assert error.code == 400 and "yaml: document contains excessive aliasing" in str(error)
    applied = await refused(
        server,
        "PATCH",
        f"{MAPS}/a",
        bomb().encode(),
        {"fieldManager": "x"},
        "application/apply-patch+yaml",
    )
    assert (
        applied.code == 400
        and "error decoding YAML: yaml: document contains excessive aliasing" in str(applied)
    )


async def test_copies_of_a_json_patch_are_bounded_together(server: LocalCluster) -> None:
    await call(server, "POST", MAPS, config(data={"a": "x" * 1000}))
    copies = [{"op": "copy", "from": "/data", "path": f"/data/{number}"} for number in range(20)]
    error = await refused(
        server, "PATCH", f"{MAPS}/a", json.dumps(copies).encode(), content=JSON_PATCH
    )
    assert error.code == 422 and (await call(server, "GET", f"{MAPS}/a"))["data"].keys() == {"a"}
    with pytest.raises(
        PatchError, match="exceeding the limit 3145728"
    ):  # upstream's answer does not say so
        json_patch({"data": {"a": "x" * 1000}}, copies)
    many = [{"op": "test", "path": "/data/a", "value": "x"}] * 10_001
    error = await refused(
        server, "PATCH", f"{MAPS}/a", json.dumps(many).encode(), content=JSON_PATCH
    )
    assert error.code == 413 and "maximum operations in a JSON patch is 10000, got 10001" in str(
        error
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","generation":'
        + b"9" * 5000
        + b"}}",
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"\xff":"x"}}',
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b"\x1f\x8b\x08\x00not gzip",
        b"[" * 100_000,
    ],
)
async def test_what_cannot_be_read_is_the_senders_fault(server: LocalCluster, body: bytes) -> None:
    assert (await refused(server, "POST", MAPS, body)).code in (400, 422)


@pytest.mark.parametrize("amount", ["9" * 5000 + "Gi", "1e999999999", "1e" + "9" * 5000, "٣"])
async def test_no_amount_takes_long_to_read(server: LocalCluster, amount: str) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q"},
        "spec": {"hard": {"cpu": amount}},
    }
    error = await refused(
        server, "POST", "/api/v1/namespaces/default/resourcequotas", json.dumps(quota).encode()
    )
    assert error.code == 400 and "quantities must match" in str(error)


def test_warnings_are_cut_as_upstream_cuts_them() -> None:
    assert shortened(["a" * 4000, "", "b", "b"]) == ["a" * 4000, "b"]
    many = shortened([f"{number} " + "é" * 1000 for number in range(100)])
    assert {len(text) for text in many} == {256} and len(many) == 16


def test_a_selector_of_very_many_terms_matches_as_a_small_one_does() -> None:
    terms = ",".join(f"a{number}!=b" for number in range(3000))
    large = parse_labels(f"{terms},app in (x,y),app!=y,!gone,n>3")
    assert large.matches({"app": "x", "n": "4"}) and large.matches(
        {"app": "x", "n": "4", "a1": "c"}
    )
    for labels in (
        {"app": "y", "n": "4"},
        {"app": "x"},
        {"app": "x", "n": "3"},
        {"app": "x", "n": "4", "gone": ""},
        {"app": "x", "n": "4", "a2": "b"},
    ):
        assert not large.matches(labels)


# --- the event loop ---


@pytest.fixture
def held(server: LocalCluster) -> Callable[[], float]:
    """The longest hold of the loop that the server's watchdog has seen, in seconds of processor
    time."""
    seen: watchdog.Watchdog = server.server.server.watchdog
    seen.longest = 0.0
    return lambda: seen.longest


def wide(name: str, count: int) -> bytes:
    return json.dumps(config(name, data={f"k{number}": "v" for number in range(count)})).encode()


@pytest.mark.parametrize("content", ["application/json", YAML])
async def test_a_large_body_does_not_hold_the_loop(
    server: LocalCluster, held: Callable[[], float], content: str
) -> None:
    body = wide("a", 20_000)
    if content == YAML:
        body = body.replace(b'{"apiVersion"', b'{"apiVersion" ')
        body = b"# yaml\n" + body
    assert len(body) > aside.LARGE
    await server.client.request("POST", MAPS, body, content=content)
    await server.client.request("PATCH", f"{MAPS}/a", b'{"data":{"k1":"w"}}', content=MERGE)
    assert held() < 2 * LONGEST_HOLD


def huge() -> dict[str, Any]:
    field = {
        "type": "object",
        "description": "x" * 100,
        "properties": {"a": {"type": "string", "pattern": "^[a-z]+$"}},
    }
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {f"f{n}": field for n in range(700)}}
        },
    }
    return definition(schema={"openAPIV3Schema": schema})


async def test_a_large_definition_holds_up_nobody(
    server: LocalCluster, held: Callable[[], float]
) -> None:
    body = json.dumps(huge()).encode()
    await server.client.request("POST", CRDS, body)
    path = f"{CRDS}/crontabs.stable.example.com"
    await server.eventually(
        lambda: server.server.registry.served.find("stable.example.com", "v1", "crontabs")
    )
    for _ in range(2):
        await server.client.request(
            "PATCH", path, b'{"metadata":{"labels":{"a":"b"}}}', content=MERGE
        )
        await server.client.request("GET", "/openapi/v2")
    assert held() < 2 * LONGEST_HOLD


async def test_a_change_of_one_definition_makes_no_document_of_another_anew(
    server: LocalCluster,
) -> None:
    await call(server, "POST", CRDS, definition())
    await server.eventually(
        lambda: server.server.registry.served.find("stable.example.com", "v1", "crontabs")
    )
    await server.client.request("GET", "/openapi/v3")
    documents = server.server.server.documents
    before = documents.v3("stable.example.com", "v1")
    other = json.loads(
        json.dumps(definition())
        .replace("crontab", "other")
        .replace("CronTab", "Other")
        .replace("stable", "x")
        .replace('"ct"', '"ot"')
    )
    await call(server, "POST", CRDS, other)
    await server.eventually(
        lambda: server.server.registry.served.find("x.example.com", "v1", "others")
    )
    await server.client.request("GET", "/openapi/v3")
    assert (
        documents.v3("stable.example.com", "v1") is before
        and documents.v3("x.example.com", "v1") is not None
    )


async def test_what_holds_the_loop_is_named_in_the_metrics(
    server: LocalCluster, held: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    health = Pages._health

    def slow(self: Pages, *given: Any) -> Any:
        end = time.thread_time() + 4 * LONGEST_HOLD
        while time.thread_time() < end:
            pass
        return health(self, *given)

    monkeypatch.setattr(Pages, "_health", slow)
    await server.client.request("GET", "/livez")
    await server.eventually(lambda: held() > 3 * LONGEST_HOLD)
    said = (await server.client.request("GET", "/metrics")).decode()
    assert 'tiphys_event_loop_longest_hold_seconds{during="GET /livez"}' in said


# --- all of it at once ---


@pytest.mark.slow
async def test_two_minutes_of_random_bytes_break_nothing() -> None:
    run = await attack(seed=7, minutes=2)
    assert run.codes[200] > 100
