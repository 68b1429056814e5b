"""A bare aiohttp server over TLS that answers every request with 2.6 kB: the floor below any server
here, and the scale by which machines are compared. `bare.py PKI PORT`."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

import uvloop
from aiohttp import web

BODY = b"x" * 2600


async def answer(request: web.BaseRequest) -> web.Response:
    return web.Response(body=BODY, content_type="application/json")


async def main(pki: Path, port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    context.load_verify_locations(pki / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    runner = web.ServerRunner(web.Server(answer), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    await asyncio.Event().wait()


uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
