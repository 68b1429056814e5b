"""A server for the webhooks of an add-on (admission, conversion), over TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping

from aiohttp import web

from tiphys.api import discovery_v1
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError

_LARGEST = 4 << 20  # bytes of a review: twice what an object may have
_READ = 10.0  # seconds in which a review must have come
_AT_ONCE = 16
# Errors of a body that no API server sends: it has validated its objects before.
_NO_REVIEW = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_LOOPBACK = "127.0.0.1"

Review = Callable[[bytes], bytes]
"""From the body of a review to that of its answer."""


class Webhook:
    """`reviews` by path. `largest` is how many bytes a review may have."""

    def __init__(self, reviews: Mapping[str, Review], largest: int = _LARGEST) -> None:
        self._reviews = reviews
        self._largest = largest
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def start(self, address: str, port: int, context: ssl.SSLContext) -> int:
        """Listens and returns the port. Raises OSError when it is taken."""
        app = web.Application(client_max_size=self._largest)
        for path in self._reviews:
            app.router.add_post(path, self._answer)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port, ssl_context=context)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        review = self._reviews[request.path]
        try:
            async with asyncio.timeout(_READ), self._turn:
                body = await request.read()
            return web.Response(body=review(body), content_type="application/json")
        except TimeoutError:
            return web.Response(status=408)
        except _NO_REVIEW as error:
            return web.Response(status=400, text=str(error)[:200])


async def api_server_address(client: Client) -> str:
    """Where pods and the API server reach the machine that add-ons run on, unless a setting says
    so."""
    try:
        slice_ = await client.get(discovery_v1.EndpointSlice, "kubernetes", "default")
    except StatusError:
        return _LOOPBACK
    return next((one.addresses[0] for one in slice_.endpoints if one.addresses), _LOOPBACK)
