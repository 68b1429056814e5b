"""Probes over HTTP, against servers that answer what they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.health import Health
from tiphys.node.hollow import HollowRuntime
from tiphys.node.httpprobe import Answer, Get
from tiphys.node.naming import host_and_domain, host_in_kernel
from tiphys.node.runtime import RUNNING, ContainerState, PodState, RuntimeFault


@asynccontextmanager
async def answering(pages: dict[str, str]) -> AsyncIterator[tuple[int, list[str]]]:
    """(port, what was asked) of a server. A page is a status line and headers."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        asked.append(path)
        writer.write(f"HTTP/1.1 {pages[path]}\r\n\r\nbody".encode() if path in pages else b"")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked


async def ask(port: int, path: str = "/") -> Answer:
    return await Get("HTTP", "127.0.0.1", port, path, ()).ask(5)


async def test_redirects_are_followed_on_the_same_host() -> None:
    async with answering(
        {"/": "302 F\r\nLocation: /a?b=c", "/a?b=c": "301 M\r\nLocation: d", "/d": "204 N"}
    ) as (port, asked):
        assert (await ask(port)).well and asked == ["/", "/a?b=c", "/d"]


async def test_redirects_to_others_are_well_and_warned_of() -> None:
    pages = {"/": "302 F\r\nLocation: http://localhost:1/", "/304": "304 N\r\nContent-Length: 0"}
    async with answering(pages) as (port, asked):
        assert await ask(port) == Answer(
            True, "Probe terminated redirects, Response body: body", warning=True
        )
        assert (await ask(port, "/304")).warning and asked == ["/", "/304"]


async def test_redirects_end_after_ten() -> None:
    async with answering({"/": "302 F\r\nLocation: /"}) as (port, asked):
        assert await ask(port) == Answer(
            False, f'Get "http://127.0.0.1:{port}/": stopped after 10 redirects'
        )
        assert len(asked) == 10


async def test_failures_are_told_in_upstreams_words() -> None:
    async with answering({"/": "500 X"}) as (port, _):
        assert (await ask(port)).text == "HTTP probe failed with statuscode: 500"
        assert (await ask(port, "/none")).text == f'Get "http://127.0.0.1:{port}/none": EOF'
    told = f'Get "http://127.0.0.1:{port}/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    assert await ask(port) == Answer(False, told)


async def test_what_was_ready_stays_ready_for_a_new_agent() -> None:
    """And is asked again; what it was not told of waits for its first success."""
    probe = {
        "readinessProbe": {"tcpSocket": {"port": 1}},
        "startupProbe": {"tcpSocket": {"port": 1}},
    }
    one, runtime = (
        pod(containers=[{"name": n, "image": "i", **probe} for n in ("old", "new")]),
        HollowRuntime(),
    )
    one.status.container_statuses = [
        core_v1.ContainerStatus(name="old", container_id="r://1", ready=True, started=True)
    ]
    running = {n: ContainerState(i, n, 0, RUNNING) for n, i in (("old", "1"), ("new", "2"))}
    health = Health(runtime, str, lambda *_: None, lambda: None)
    health.watch(one, PodState("u", containers=running))
    assert health.ready == {"old"} and health.started == {"old"}
    health.stop_all()


def test_a_host_name_may_be_the_whole_name_or_another() -> None:
    one = pod(setHostnameAsFQDN=True, subdomain="s", hostname="h")
    assert (
        host_in_kernel(one, *host_and_domain(one, "cluster.local"))
        == "h.s.default.svc.cluster.local"
    )
    one.spec.hostname_override = "o.example.com"
    assert host_in_kernel(one, *host_and_domain(one, "cluster.local")) == "o.example.com"
    long = pod(setHostnameAsFQDN=True, subdomain="s" * 40, hostname="h")
    with pytest.raises(
        RuntimeFault, match=r"is too long \(64 characters is the max, 68 characters requested\)"
    ):
        host_in_kernel(long, *host_and_domain(long, "cluster.local"))


async def test_a_container_that_is_told_to_end_is_asked_whether_it_is_ready_but_not_whether_it_lives() -> (
    None
):
    probe = {"tcpSocket": {"port": 1}}
    one = pod(
        containers=[{"name": "c", "image": "i", "livenessProbe": probe, "readinessProbe": probe}]
    )
    health = Health(HollowRuntime(), str, lambda *_: None, lambda: None)
    health.watch(one, PodState("u", containers={"c": ContainerState("1", "c", 0, RUNNING)}))
    readiness, liveness = health._asked["c"][1]
    health.ending("c")
    await asyncio.wait({liveness})
    assert liveness.cancelled() and not readiness.done()
    health.stop_all()
