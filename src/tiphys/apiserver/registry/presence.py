"""Which API servers of a cluster there are, where several share a store: each keeps a key in it
that ends when it is not written any more, as upstream's lease reconciler does (`/masterleases/`).
"""

from __future__ import annotations

import asyncio
import logging

from tiphys.store.cache import ResourceCache
from tiphys.store.engine import Conflict, StoreError
from tiphys.store.store import Store

log = logging.getLogger(__name__)

PREFIX = "/tiphys.io/apiservers/"
LASTS = 15  # seconds after the last write; upstream's --endpoint-reconciler lease TTL
_EVERY = 5.0  # seconds between two writes


class Presence:
    """One server's part. `address` is where clients find it; all of them have one port."""

    def __init__(self, store: Store, address: str) -> None:
        self.address = address
        self._store = store
        self._key = f"{PREFIX}{address}"
        self._written = 0  # revision of our last write

    @property
    def cache(self) -> ResourceCache:
        """Of the keys; it changes when a server comes or goes, and with each renewal."""
        return self._store.cache(PREFIX)

    def addresses(self) -> list[str]:
        """Of all servers, in order; this one is always among them."""
        names = {entry.key.removeprefix(PREFIX) for entry in self.cache}
        return sorted({self.address, *names})

    @property
    def is_followed(self) -> bool:
        """Whether another process serves at this one's address by now: the key shows its write."""
        entry = self.cache.get(self._key)
        return entry is not None and self._written > 0 and entry.revision != self._written

    async def enter(self) -> None:
        """Shows that this server is there, for `LASTS` seconds. Raises StoreError."""
        if not self._store.is_shared:
            return
        value = b'{"metadata":{"name":"%s"}}' % self.address.encode()
        entry = await self._store.put(self.cache, self._key, value, None, LASTS)
        self._written = entry.revision

    async def keep(self) -> None:
        """Shows it again and again, until it is cancelled. Who is followed leaves that to the
        other, for as long as that one does."""
        while self._store.is_shared:
            await asyncio.sleep(_EVERY)
            if self.is_followed:
                continue
            try:
                await self.enter()
            except (StoreError, Conflict) as error:
                log.warning("This server cannot renew its key in the store: %s", error)

    async def leave(self) -> None:
        """Has clients go elsewhere at once, where there is another server. Who follows this one at
        its address has written since."""
        if self.addresses() == [self.address]:
            return
        try:
            await self._store.delete(self._key, self._written)
        except (StoreError, Conflict) as error:
            log.info("The key of this server is left to expire in the store: %s", error)
