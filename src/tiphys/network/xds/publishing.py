"""Hands resources to Envoy in an order in which no request finds a name without what it stands for.

First what others name (clusters with their endpoints, secrets), and when Envoy has taken it what
names them (listeners, routes), and when it has taken that too what is no longer named goes. Source:
"eventual consistency considerations" in the documentation of xDS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, LISTENER, ROUTE, SECRET, Cache, Message
from tiphys.network.xds.server import XdsServer

log = logging.getLogger(__name__)

_PATIENCE = (
    5.0  # seconds that Envoy may take for a step, so that one that hangs does not stop everything
)
_NAMED = (CLUSTER, SECRET)
_NAMING = (LISTENER, ROUTE)
Resources = Mapping[str, Mapping[str, Message]]
Refused = dict[str, dict[str, str]]


class Publisher:
    """`endpoints_of` gives the assignment of a cluster by its name."""

    def __init__(
        self, cache: Cache, server: XdsServer, endpoints_of: Callable[[str], Message]
    ) -> None:
        self._cache = cache
        self._server = server
        self._endpoints_of = endpoints_of
        self._refused: set[str] = set()  # listeners, the last time

    async def publish(self, resources: Resources) -> Refused:
        """Makes `resources` all there is. Returns what Envoy refused: why, by type and name."""
        named = set(resources.get(CLUSTER, {}))
        before = {type_url: set(self._cache.all(type_url)) for type_url in (*_NAMED, *_NAMING)}
        changed = self._cache.update(
            {
                CLUSTER: resources.get(CLUSTER, {}),
                ENDPOINTS: {name: self._endpoints_of(name) for name in sorted(named)},
                SECRET: resources.get(SECRET, {}),
            }
        )
        new = changed.get(CLUSTER, frozenset())
        refused = await self._settle({CLUSTER: new, ENDPOINTS: new})
        naming = {type_url: resources.get(type_url, {}) for type_url in _NAMING}
        gone = before[LISTENER] - set(naming[LISTENER])
        changed = self._cache.update(
            {LISTENER: {**dict.fromkeys(gone), **naming[LISTENER]}, ROUTE: naming[ROUTE]}
        )
        self._server.send_again(LISTENER, self._refused & set(naming[LISTENER]))
        refused |= await self._settle({LISTENER: naming[LISTENER]})
        self._refused = set(refused.get(LISTENER, ()))
        # No client asks for the routes of a listener that was refused.
        bad = refused.get(LISTENER, {})
        routes = [route for route in changed.get(ROUTE, ()) if route.partition("/")[0] not in bad]
        refused |= await self._settle({ROUTE: routes})
        removals: dict[str, dict[str, Message | None]] = {}
        for type_url in (*_NAMED, ROUTE):
            kept = set(resources.get(type_url, {}))
            removals[type_url] = dict.fromkeys(before[type_url] - kept)
        removals[ENDPOINTS] = dict.fromkeys(set(self._cache.all(ENDPOINTS)) - named)
        await self._settle(self._cache.update(removals))
        return refused

    async def unchanged(self, resources: Resources) -> Refused:
        """Those that were published before are still all there is, but for endpoints. Returns what
        Envoy, which may be another one by now, has against listeners."""
        self.refresh()
        refused = await self._settle({LISTENER: resources.get(LISTENER, {})})
        self._refused = set(refused.get(LISTENER, ()))
        return refused

    def refresh(self, ports: set[str] | None = None) -> None:
        """Endpoints of ports of services (``SERVICE.NAMESPACE:PORT``) changed, of all of them for
        None, and nothing else."""
        changed = {
            name: self._endpoints_of(name)
            for name in self._cache.all(ENDPOINTS)
            if ports is None or name.partition("|")[0] in ports
        }
        if changed:
            self._cache.update({ENDPOINTS: changed})

    async def _settle(self, names: Mapping[str, Iterable[str]]) -> Refused:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._server.settled(names)
        except TimeoutError:
            log.warning("Envoy has not said what it makes of its configuration for %g s", _PATIENCE)
            return {}
