"""What the operator makes of an agent's answers, and of those that are none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.addons.training.builders import member
from tiphys.addons.training.agents import Agents
from tiphys.addons.training.observation import AgentState
from tiphys.testing.cluster import free_port


class Agent:
    """Answers everything alike."""

    def __init__(self) -> None:
        self.status, self.body = 200, json.dumps({"status": "ready"}).encode()
        self.asked: list[tuple[str, str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append((request.method, request.path, json.loads(body) if body else None))
        return web.Response(status=self.status, body=self.body, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def asking() -> AsyncIterator[tuple[Agent, Agents]]:
    agent, app = Agent(), web.Application()
    app.router.add_route("*", "/{path:.*}", agent.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with Agents(runner.addresses[0][1]) as agents:
        yield agent, agents
    await runner.cleanup()


HERE = member(0, address="127.0.0.1")


async def test_each_address_is_asked_once() -> None:
    async with asking() as (agent, agents):
        found = await agents.ask(["127.0.0.1", "127.0.0.1"])
        [(address, report)] = found.items()
        assert address == "127.0.0.1" and report is not None and report.state is AgentState.READY
        assert agent.asked == [("GET", "/status", None)]
        assert await agents.ask([]) == {}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"nonsense"),
        (200, b'{"status":"ready","message":"' + b"m" * (256 << 10) + b'"}'),
        (500, b'{"status":"ready"}'),
        (302, b'{"status":"ready"}'),
    ],
)
async def test_what_is_no_answer_is_silence(status: int, body: bytes) -> None:
    async with asking() as (agent, agents):
        agent.status, agent.body = status, body
        assert await agents.ask(["127.0.0.1"]) == {"127.0.0.1": None}
        assert [path for _, path, _ in agent.asked] == ["/status"], "no redirect is followed"
        assert await agents.stop(HERE, 0) is (status == 200 and len(body) <= 256 << 10)


async def test_an_agent_that_is_away_is_silent() -> None:
    async with Agents(free_port()) as agents:
        assert await agents.ask(["127.0.0.1"]) == {"127.0.0.1": None}
        assert not await agents.shut_down(HERE)


async def test_an_agent_is_told() -> None:
    async with asking() as (agent, agents):
        assert await agents.start(HERE, {"rank": 1})
        assert await agents.stop(HERE, 5)
        assert await agents.shut_down(HERE)
        assert agent.asked == [
            ("POST", "/start", {"rank": 1}),
            ("POST", "/stop", {"restart_mode": "plr", "is_graceful": True, "timeout": 5}),
            ("POST", "/shutdown", {}),
        ]
