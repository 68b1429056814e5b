"""Lists the cluster every few seconds and makes a table of it.

Plain lists, not watches: the cost for the API server is the same whatever changes and however many
ask for routes, and a server that missed something is right again one poll later. A server that
gives lists an ETag (Tiphys does) sends nothing again that has not changed; items with the same
bytes as before cost no decoding, and when all are the same nothing is compiled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tiphys.addons.routeserver.compiling.objects import (
    Endpoints,
    EndpointSlice,
    Ingress,
    Objects,
    Problem,
    RouteGroup,
    Service,
    read_list,
)
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.compiling.tables import Compiled, compile_routes
from tiphys.addons.routeserver.table import Table, Tables, table_of
from tiphys.client.client import Client, Known, Unreachable
from tiphys.machinery.errors import StatusError, is_not_found

log = logging.getLogger(__name__)

INTERVAL = 3.0
"""Seconds between the starts of two polls."""

_INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
_GROUPS = "/apis/zalando.org/v1/routegroups"
_SERVICES = "/api/v1/services"
_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
_ENDPOINTS = "/api/v1/endpoints"
_EMPTY = b'{"items":[]}'


@dataclass(frozen=True)
class Reading:
    """The answers of one poll, undecoded."""

    ingresses: bytes
    groups: bytes
    services: bytes
    endpoints: bytes


class Poller:
    """`polls` counts readings of the whole cluster, `failures` those that failed; the table stays
    then."""

    def __init__(
        self,
        client: Client,
        options: Options,
        tables: Tables,
        problems: Callable[[Sequence[Problem]], None] = lambda problems: None,
        interval: float = INTERVAL,
    ) -> None:
        self._client = client
        self._options = options
        self._tables = tables
        self._problems = problems
        self._interval = interval
        self._last: Reading | None = None
        self._known: dict[str, Known] = {}
        self._was_empty = False
        self.polls = 0
        self.failures = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await self.poll()
            except (StatusError, Unreachable, ValueError) as error:
                self.failures += 1
                log.warning("the routes stay as they are: %s", error)
            except Exception:  # ours to mend; routers go on meanwhile
                self.failures += 1
                log.exception("the routes stay as they are")
            due = max(due + self._interval, loop.time())
            await asyncio.sleep(due - loop.time())

    async def poll(self) -> bool:
        """Reads once; whether the table is another now. Raises StatusError, Unreachable, or
        ValueError for no lists."""
        reading = await self._read()
        self.polls += 1
        if reading == self._last:
            self._tables.empty += self._was_empty
            return False
        compiled, table = await asyncio.to_thread(made_of, reading, self._options)
        self._last = reading
        self._was_empty = not table.routes
        changed = self._tables.load(table)
        if self._was_empty:
            log.warning("no object gives any route: the table stays as it is")
        if changed:
            log.info("%d routes, %d bytes", table.complete.count, len(table.complete.text))
        self._problems(compiled.problems)
        return changed

    async def _read(self) -> Reading:
        of_pods = _SLICES if self._options.endpoint_slices else _ENDPOINTS
        answers = await asyncio.gather(
            self._list(_INGRESSES),
            self._list(_GROUPS, optional=True),
            self._list(_SERVICES),
            self._list(of_pods),
        )
        return Reading(*answers)

    async def _list(self, path: str, optional: bool = False) -> bytes:
        try:
            known = self._known.setdefault(path, Known())
            answer = await self._client.request("GET", path, known=known)
        except StatusError as error:
            if optional and is_not_found(error):  # RouteGroups are not installed
                return _EMPTY
            raise
        return _without_revision(answer)


def _without_revision(answer: bytes) -> bytes:
    """A list's own revision moves with every write to anything; its items are what counts."""
    start = answer.find(b'"items"')
    return b"{" + answer[start:] if start >= 0 else answer


def objects_of(reading: Reading, slices: bool) -> Objects:
    problems: list[Problem] = []
    objects = Objects(
        read_list(reading.ingresses, Ingress, problems),
        read_list(reading.groups, RouteGroup, problems),
        read_list(reading.services, Service, problems),
        problems=problems,
    )
    pods: Any = read_list(reading.endpoints, EndpointSlice if slices else Endpoints, problems)
    if slices:
        objects.endpoint_slices = pods
    else:
        objects.endpoints = pods
    return objects


def made_of(reading: Reading, options: Options) -> tuple[Compiled, Table]:
    """The work of a poll whose answers are new: pure, for a thread."""
    compiled = compile_routes(objects_of(reading, options.endpoint_slices), options)
    return compiled, table_of(compiled.routes)
