"""No server of ours says which software it is made of; what servers behind it say is passed on."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE

from tests.attack.wire import ask
from tiphys.client.unnamed import leave_servers_unnamed
from tiphys.testing import LocalCluster


@pytest.mark.parametrize("path", ["/version", "/api/v1/nodes", "/nothing", "/livez"])
async def test_the_api_server_does_not_name_itself(server: LocalCluster, path: str) -> None:
    for method in ("GET", "PUT", "BREW"):
        answer = await ask(server.client, method, path)
        assert "server" not in answer.headers and answer.headers["date"]


@pytest.mark.parametrize("said", [None, "nginx", SERVER_SOFTWARE[:9] + SERVER_SOFTWARE[9:]])
async def test_applications_do_not_name_themselves(said: str | None) -> None:
    """As add-ons and pages of metrics are."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="ok", headers={"Server": said} if said else {})

    leave_servers_unnamed()
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/") as shown,
    ):
        assert shown.headers.get("Server") == said
    await runner.cleanup()
