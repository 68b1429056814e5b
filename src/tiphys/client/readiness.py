"""Whether the API server that a client asks is ready, where there are several.

A server whose own etcd is cut off from the others takes connections, and answers with errors, or
late, or not at all; its watches are silent. It says itself, at /readyz, that it is not ready: then
a client goes to another one that is, with all of its watches, and comes back some time after the
first says that it is ready again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from tiphys.client.servers import Servers

log = logging.getLogger(__name__)

EVERY = 2.0  # seconds between two probes
WITHIN = 4.0  # seconds for an answer: a server gives its store two
# Unanswered probes after which another server is used: a busy one is late, too.
_SILENT = 2
_SETTLED = 5  # successful probes of the preferred server, after which it is used again

Ask = Callable[[str], Awaitable[bool | None]]
"""Whether the server at a URL says that it is ready; None without an answer."""


class Readiness:
    """Keeps `servers.current` at one that is ready.

    leave:  ends what waits for the server that is not ready, watches too
    return_: has new requests go to the preferred server; what is under way may finish elsewhere
    """

    def __init__(
        self,
        servers: Servers,
        ask: Ask,
        leave: Callable[[], Awaitable[None]],
        return_: Callable[[], None],
    ) -> None:
        self._servers = servers
        self._ask = ask
        self._leave = leave
        self._return = return_
        self._silent = 0  # unanswered probes of the current server
        self._settled = 0  # successful probes of the preferred server

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY * random.uniform(0.8, 1.2))
            if self._servers.count > 1:
                await self.look()

    async def look(self) -> None:
        current = self._servers.current
        answer = await self._ask(current)
        self._silent = self._silent + 1 if answer is None else 0
        if answer is False or self._silent >= _SILENT:
            self._settled = 0
            await self._go_elsewhere(current)
        elif current != self._servers.preferred:
            await self._look_back()

    async def _go_elsewhere(self, current: str) -> None:
        """Where no other is ready it is of no use: all may be choosing a leader of etcd."""
        for server in self._servers.known():
            if server == current or not await self._ask(server):
                continue
            if self._servers.current == current:
                log.warning("API server %s is not ready; switching to %s", current, server)
                self._servers.current = server
                await self._leave()
            self._silent = 0
            return

    async def _look_back(self) -> None:
        preferred = self._servers.preferred
        self._settled = self._settled + 1 if await self._ask(preferred) else 0
        if self._settled >= _SETTLED:
            log.info("API server %s is ready again", preferred)
            self._settled = 0
            self._servers.current = preferred
            self._return()
