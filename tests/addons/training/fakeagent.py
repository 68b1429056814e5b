"""A stand-in for the agent: its states and its answers, without torch. Tests of the real one are in
`test_agent.py`."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from tiphys.machinery import timestamps


class FakeAgent:
    """`starts` and `stops` are the bodies of what it was told."""

    def __init__(self) -> None:
        self.state = "READY"
        self.reason = ""
        self.rank = -1
        self.epoch = ""
        self.starts: list[dict[str, Any]] = []
        self.stops: list[dict[str, Any]] = []
        self.ended = asyncio.Event()
        self.transitions: dict[str, str] = {}
        self.progress: dict[str, Any] = {}
        self._runner: web.AppRunner | None = None

    async def serve(self, address: str, port: int) -> None:
        app = web.Application()
        app.router.add_get("/status", self._status)
        app.router.add_post("/start", self._start)
        app.router.add_post("/stop", self._stop)
        app.router.add_post("/shutdown", self._shutdown)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def fault(self, reason: str = "WorkerCrash", now: float = 0.0) -> None:
        self.state, self.reason = "FAULTED", reason
        self.transitions["FAULTED"] = timestamps.rfc3339_micro(now)

    def complete(self) -> None:
        self.state = "COMPLETED"

    async def _status(self, request: web.Request) -> web.Response:
        answer: dict[str, Any] = {"status": self.state.lower(), "transitions": self.transitions}
        if self.reason:
            answer["reason"] = self.reason
        if self.progress:
            answer["progress"] = self.progress
        if self.epoch:
            answer["ipversion"] = self.epoch
        if self.rank >= 0:
            answer["assigned_rank"] = str(self.rank)
        return web.json_response(answer)

    async def _start(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.starts.append(body)
        if self.state == "READY":
            self.state, self.reason = "RUNNING", "Running"
        self.rank, self.epoch = body["rank"], body["ipVersion"]
        return web.Response()

    async def _stop(self, request: web.Request) -> web.Response:
        self.stops.append(await request.json())
        if self.state in ("RUNNING", "FAULTED", "COMPLETED"):
            self.state, self.reason = "READY", ""
        return web.Response()

    async def _shutdown(self, request: web.Request) -> web.Response:
        self.state = "SHUTDOWN"
        self.ended.set()
        return web.Response()
