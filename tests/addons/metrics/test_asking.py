"""Whom the metrics API asks, when, and what becomes of what they say."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tiphys.addons.authority import passing_server
from tiphys.addons.metrics.sampling import Sampler
from tiphys.addons.metrics.serving import ResourceMetrics, is_wanted, pause_after, summary_url
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.testing import LocalCluster


@pytest.mark.parametrize(
    ("unasked", "nodes", "wanted"),
    [
        (0.0, 5000, True),
        (299.0, 21, True),
        (300.0, 21, False),
        (300.0, 20, True),
        (9999.0, 1, True),
    ],
)
def test_many_nodes_are_asked_while_somebody_wants_to_know(
    unasked: float, nodes: int, wanted: bool
) -> None:
    assert is_wanted(unasked, nodes) is wanted


def row(seconds: float) -> dict[str, Any]:
    cpu = {"usageCoreNanoSeconds": int(seconds * 1e9)}
    return {"cpu": cpu, "memory": {"workingSetBytes": 4096}}


def test_the_second_look_comes_soon_and_the_others_every_ten_seconds() -> None:
    sampler = Sampler()
    assert pause_after(sampler) == 1.0, "nobody has said anything"
    for at, pause in ((100.0, 1.0), (101.0, 10.0), (111.0, 10.0)):
        sampler.keep_only({"n"})
        sampler.note("n", {"node": row(at)}, at)
        assert pause_after(sampler) == pause


def node(port: int = 10250, *addresses: tuple[str, str]) -> core_v1.Node:
    listed = [{"type": kind, "address": address} for kind, address in addresses]
    endpoints = {"kubeletEndpoint": {"Port": port}}
    status = {"addresses": listed, "daemonEndpoints": endpoints}
    return from_builtins({"metadata": {"name": "n"}, "status": status}, core_v1.Node)


@pytest.mark.parametrize(
    ("port", "addresses", "url"),
    [
        (10250, [("InternalIP", "10.0.0.1")], "https://10.0.0.1:10250/stats/summary"),
        (10250, [("InternalIP", "fd00::1")], "https://[fd00::1]:10250/stats/summary"),
        (
            1,
            [("ExternalIP", "1.1.1.1"), ("InternalIP", "10.0.0.1"), ("InternalIP", "10.0.0.2")],
            "https://10.0.0.1:1/stats/summary",
        ),
        (65535, [("InternalIP", "10.0.0.1")], "https://10.0.0.1:65535/stats/summary"),
        (65536, [("InternalIP", "10.0.0.1")], ""),
        (0, [("InternalIP", "10.0.0.1")], ""),
        (10250, [("InternalIP", "evil.example")], ""),
        (10250, [("Hostname", "10.0.0.1")], ""),
        (10250, [], ""),
    ],
)
def test_a_node_is_asked_at_its_first_internal_address(
    port: int, addresses: list[tuple[str, str]], url: str
) -> None:
    assert summary_url(node(port, *addresses)) == url


# --- a node that answers ---


class Kubelet:
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.status, self.body = 200, json.dumps({"node": row(1)})
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        location = {"Location": "/elsewhere"}
        return web.Response(status=self.status, text=self.body, headers=location)


@asynccontextmanager
async def asking(
    server: LocalCluster, folder: Path, name: str = "n"
) -> AsyncIterator[tuple[Kubelet, ResourceMetrics]]:
    """A node `n` whose certificate is for `name`, and who asks it."""
    kubelet = Kubelet()
    root, context = passing_server("t", [name], time.time(), folder)
    app = web.Application()
    app.router.add_get("/{path:.*}", kubelet.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made = node(runner.addresses[0][1], ("InternalIP", "127.0.0.1"))
    await server.client.create(made)
    await server.client.update_status(made)
    tls = ssl.create_default_context(cadata=root)
    metrics = ResourceMetrics(server.server.registry, tls)
    yield kubelet, metrics
    await metrics.close()
    await runner.cleanup()


async def test_two_looks_at_a_node_make_its_rate(server: LocalCluster, tmp_path: Path) -> None:
    async with asking(server, tmp_path) as (kubelet, metrics):
        await metrics.collect()
        assert metrics.sampler.is_new and metrics.sampler.machine("n") is None
        kubelet.body = json.dumps({"node": row(2)})
        await metrics.collect()
        assert not metrics.sampler.is_new
        sample = metrics.sampler.machine("n")
        assert sample is not None and sample.cpu > 0 and sample.memory == 4096
        assert kubelet.asked == ["/stats/summary"] * 2
        await server.client.delete(core_v1.Node, "n")
        await metrics.collect()
        assert metrics.sampler.machine("n") is None and len(kubelet.asked) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "nonsense"),
        (200, "[]"),
        (200, '{"node":7}'),
        (200, '{"pods":[{}]}'),
        (500, json.dumps({"node": row(1)})),
        (302, json.dumps({"node": row(1)})),
    ],
)
async def test_a_node_that_says_nonsense_has_no_numbers(
    server: LocalCluster, tmp_path: Path, status: int, body: str
) -> None:
    async with asking(server, tmp_path) as (kubelet, metrics):
        kubelet.status, kubelet.body = status, body
        await metrics.collect()
        assert kubelet.asked == ["/stats/summary"], "and no redirect is followed"
        assert not metrics.sampler.has_counters


async def test_a_node_shows_a_certificate_of_its_name(server: LocalCluster, tmp_path: Path) -> None:
    async with asking(server, tmp_path, name="other") as (kubelet, metrics):
        await metrics.collect()
        assert kubelet.asked == []


async def test_a_hollow_node_is_not_asked_and_nobody_is_without_a_certificate(
    server: LocalCluster, tmp_path: Path
) -> None:
    async with asking(server, tmp_path) as (kubelet, metrics):
        nameless = ResourceMetrics(server.server.registry, None)
        await nameless.collect()
        label = {"metadata": {"labels": {"type": "hollow"}}}
        await server.client.patch(core_v1.Node, "n", label, media="application/merge-patch+json")
        await metrics.collect()
        assert kubelet.asked == []
