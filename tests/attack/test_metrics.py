"""Attacks by way of metrics: series without end, and many who ask for pages at a time."""

from __future__ import annotations

import asyncio

import pytest

from tests.fuzz.target import LONGEST_HOLD
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

METHODS = ("GET", "POST", "DELETE", "LOCK")
MAPS = "/api/v1/namespaces/default/configmaps"


async def lines(server: LocalCluster) -> int:
    """Of the page. It is asked for twice: the first time adds the series of the page itself."""
    await server.client.request("GET", "/metrics")
    return (await server.client.request("GET", "/metrics")).count(b"\n")


async def ask(client: Client, method: str, path: str) -> None:
    with pytest.raises(StatusError):
        await client.request(method, path)


@pytest.mark.parametrize(
    "path",
    [
        "/apis/g{}/v1/things",
        "/apis/apps/w{}/deployments",
        "/api/v1/things{}",
        f"{MAPS}/a/sub{{}}",
        "/healthz{}",
        "/made/up/{}",
    ],
)
async def test_what_is_asked_for_makes_no_series(server: LocalCluster, path: str) -> None:
    nobody = server.client_as("nobody")
    for method in METHODS:
        await ask(nobody, method, path.format(0))
    before = await lines(server)
    for number in range(1, 10):
        for method in METHODS:
            await ask(nobody, method, path.format(number))
    assert await lines(server) == before


async def test_names_and_dry_runs_make_no_series(server: LocalCluster) -> None:
    await ask(server.client, "GET", f"{MAPS}/a?dryRun=x")
    before = await lines(server)
    for number in range(50):
        await ask(server.client, "GET", f"{MAPS}/a{number}?dryRun=x{number}")
    assert await lines(server) == before


async def test_many_pages_at_a_time_do_not_hold_the_loop(server: LocalCluster) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(lines(server))
    assert server.server.server.watchdog.longest < 2 * LONGEST_HOLD
