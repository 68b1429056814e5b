"""A shop that slows down the more it has to do, and counts its orders: one process of asyncio.

PORT is where it listens, VERSION what it says it is, STATE a file in which test orders are kept.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from aiohttp import web

# So long that what else the machine does matters little.
_WORK = 0.1  # seconds that an order takes when nothing else is done
_CROWD = 8.0  # orders at a time by which each takes as long again


class Shop:
    def __init__(self) -> None:
        self.orders, self.under_way = 0, 0
        self.state = Path(os.environ["STATE"])

    async def order(self, request: web.Request) -> web.Response:
        self.under_way += 1
        try:
            await asyncio.sleep(_WORK * (1 + self.under_way / _CROWD) ** 2)
        finally:
            self.under_way -= 1
        self.orders += 1
        self.state.write_text("orders of a test")
        return web.json_response({"order": self.orders})

    async def metrics(self, request: web.Request) -> web.Response:
        version = os.environ.get("VERSION", "")
        return web.Response(text=f'orders_total{{version="{version}"}} {self.orders}\n')

    async def forget(self, request: web.Request) -> web.Response:
        self.state.unlink(missing_ok=True)
        return web.Response(status=204)


if __name__ == "__main__":
    shop = Shop()
    app = web.Application()
    app.router.add_post("/orders", shop.order)
    app.router.add_delete("/orders", shop.forget)
    app.router.add_get("/metrics", shop.metrics)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None)
