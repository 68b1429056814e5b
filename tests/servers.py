"""Servers that the API server asks, over TLS on the loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tiphys.cluster.certificates import Authority

Answer = Callable[[web.Request], Any]


class Behind:
    """A server and what it was asked. `answer` may be changed while it runs."""

    def __init__(self, answer: Answer, authority: Path) -> None:
        self.answer = answer
        self.authority = authority
        self.url = ""
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self._news = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        if request.can_read_body:
            self.bodies.append(await request.json())
        self._news.set()
        answer = self.answer(request)
        if isinstance(answer, Awaitable):
            answer = await answer
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)

    async def asked(self, times: int) -> None:
        """Waits until it was asked so many times in all."""
        async with asyncio.timeout(20):
            while len(self.paths) < times:
                self._news.clear()
                await self._news.wait()


def _nothing(request: web.Request) -> Any:
    return {}


@contextlib.asynccontextmanager
async def served(answer: Answer = _nothing) -> AsyncIterator[Behind]:
    """A server of any path, with a certificate for 127.0.0.1."""
    with tempfile.TemporaryDirectory(prefix="tiphys-") as folder:
        authority = Authority(Path(folder))
        certificate, key = authority.ensure("server", "server", (), ("127.0.0.1",), server=True)
        behind = Behind(answer, authority.path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", behind.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        behind.url = f"https://127.0.0.1:{port}"
        try:
            yield behind
        finally:
            await runner.cleanup()


def kubeconfig(folder: Path, behind: Behind, path: str = "/hook") -> Path:
    """A file that says where the server is."""
    file = folder / "webhook.kubeconfig"
    authority = base64.b64encode(behind.authority.read_bytes()).decode()
    cluster = {"server": behind.url + path, "certificate-authority-data": authority}
    content = {
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "us", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "us"}}],
        "current-context": "it",
    }
    file.write_text(yaml.safe_dump(content))
    return file
