"""API servers that are none, for clients that have several."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp.web

from tiphys.client.config import Config
from tiphys.client.transport import Transport


class Pretender:
    """A server that says its name, hangs up after it has heard a request, or keeps silent; and at
    /readyz whether it is ready."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard = 0
        self.hangs_up = False
        self.is_silent = False
        self.is_ready = True

    async def answer(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        if request.path == "/readyz":
            return aiohttp.web.Response(status=200 if self.is_ready else 500)
        self.heard += 1
        if self.is_silent:
            await asyncio.Event().wait()
        if self.hangs_up:
            assert request.transport is not None
            request.transport.abort()
        return aiohttp.web.Response(text=self.name)

    async def start(self) -> None:
        app = aiohttp.web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.runner = aiohttp.web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await aiohttp.web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.place = f"127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self.runner.cleanup()


def config(three: list[Pretender], folder: Path) -> Config:
    file = folder / "servers"
    file.write_text("".join(f"{one.place}\n" for one in three))
    return Config(f"http://{three[0].place}", servers=file)


async def said(client: Transport, method: str = "GET") -> str:
    return (await client.request(method, "/x")).decode()
