"""Pods whose agents lie, and patterns that are to hold the add-on up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.addons.training.builders import job, member
from tiphys.addons.training.agents import Agents
from tiphys.addons.training.jobpods import JobPods
from tiphys.addons.training.validation import errors_of
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.operator.reconcile import owner_reference
from tiphys.testing.cluster import free_port

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def agent(answer: Answer) -> AsyncIterator[Agents]:
    """Something at 127.0.0.1 that answers like that, and what asks it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with Agents(port) as agents:
            yield agents
    finally:
        await runner.cleanup()


async def test_an_answer_without_end_is_cut_off() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b'{"status":"' + b"x" * 65536)

    async with agent(answer) as agents:
        async with asyncio.timeout(4):
            assert await agents.ask(["127.0.0.1"]) == {"127.0.0.1": None}


async def test_a_redirect_leads_nowhere() -> None:
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        raise web.HTTPFound("/elsewhere")

    async with agent(answer) as agents:
        assert await agents.ask(["127.0.0.1"]) == {"127.0.0.1": None}
        assert not await agents.stop(member(0, address="127.0.0.1"), 0)
    assert asked == ["/status", "/stop"]


async def test_a_bomb_is_not_unpacked() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        import gzip

        body = gzip.compress(b'{"status":"ready"}' + b" " * (8 << 20), 9)
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async with agent(answer) as agents:
        assert await agents.ask(["127.0.0.1"]) == {"127.0.0.1": None}


async def test_deep_json_is_no_status() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"status":"ready","progress":' + b"[" * 100_000)

    async with agent(answer) as agents:
        assert await agents.ask(["127.0.0.1"]) == {"127.0.0.1": None}


@pytest.mark.parametrize(
    ("namespace", "controller", "counts"),
    [("default", True, True), ("elsewhere", True, False), ("default", False, False)],
)
def test_a_pod_that_names_a_job_as_its_owner(
    namespace: str, controller: bool, counts: bool
) -> None:
    """One of another namespace would get a rank, and with it the data of the job."""
    made = job()
    owner = owner_reference(made)
    owner.controller = controller
    meta = ObjectMeta(name="p", namespace=namespace, uid="p", owner_references=[owner])
    pods = JobPods()
    pods.put(core_v1.Pod(metadata=meta))
    assert bool(pods.of(made)) == counts
    pods.remove(core_v1.Pod(metadata=meta))
    assert not pods.of(made)


@pytest.mark.parametrize(
    "pattern",
    [
        "(" * 1000,
        "(?:" * 1000 + ")" * 1000,
        "(a{1,9999}){1,9999}",
        "[" + "a-z" * 600 + "]",
        "(a|b|c|d)*" * 200,
    ],
)
def test_patterns_are_compiled_in_no_time(pattern: str) -> None:
    rule = {"name": "r", "logPattern": pattern}
    made = job(runPolicy={"logMonitoringConfiguration": [rule]})
    began = time.process_time()
    errors_of(made)
    assert time.process_time() - began < 0.05
