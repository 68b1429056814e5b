"""The client of the route server, in a router: asks every few seconds, and keeps what it has when
nobody answers."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

import aiohttp

from tiphys.addons.routeserver.eskip import EskipError, Route, read_routes
from tiphys.addons.routeserver.polling import INTERVAL

log = logging.getLogger(__name__)
_PATIENCE = (
    2.0  # seconds for an answer: less than the interval, so that a slow server does not cost a turn
)


class Fetcher:
    """`load` gets every new table as `read` reads it. `answers` counts statuses, 0 where there was
    none; `received` counts bytes of bodies."""

    def __init__(
        self,
        url: str,
        load: Callable[[Sequence[Route]], None],
        interval: float = INTERVAL,
        session: aiohttp.ClientSession | None = None,
        read: Callable[[str], Sequence[Route]] = read_routes,
    ) -> None:
        self._url = url
        self._load = load
        self._interval = interval
        self._session = session
        self._read = read
        self._etag = ""
        self.answers: Counter[int] = Counter()
        self.received = 0

    async def run(self, delay: float = 0.0) -> None:
        """Until it is cancelled; starts after `delay` seconds, so that many do not all poll in one
        moment."""
        await asyncio.sleep(delay)
        session = self._session or aiohttp.ClientSession(auto_decompress=True)
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while True:
                await self.fetch(session)
                due = max(due + self._interval, loop.time())
                await asyncio.sleep(due - loop.time())
        finally:
            if self._session is None:
                await session.close()

    async def fetch(self, session: aiohttp.ClientSession) -> None:
        """Asks once. What goes wrong is counted and logged: the last table stays."""
        headers = {"Accept-Encoding": "gzip"}
        if self._etag:
            headers["If-None-Match"] = self._etag
        timeout = aiohttp.ClientTimeout(total=_PATIENCE)
        try:
            async with session.get(self._url, headers=headers, timeout=timeout) as answer:
                self.answers[answer.status] += 1
                if answer.status != 200:
                    return
                text = await answer.text()
                self.received += int(answer.headers.get("Content-Length", len(text)))
                etag = answer.headers.get("ETag", "")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.answers[0] += 1
            log.debug("the routes stay as they are: %s: %s", self._url, error)
            return
        await self._take(text, etag)

    async def _take(self, text: str, etag: str) -> None:
        try:
            routes = await asyncio.to_thread(self._read, text)  # large tables take a while
        except EskipError as error:
            log.warning("the routes stay as they are: %s sends no eskip: %s", self._url, error)
            return
        if routes:
            self._load(routes)
            self._etag = etag
