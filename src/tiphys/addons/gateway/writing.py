"""Writes statuses that changed, and each event once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

from tiphys.addons.gateway.compiling import Outcome
from tiphys.addons.gateway.statuses import (
    class_status,
    gateway_status,
    ingress_status,
    policy_status,
    route_status,
)
from tiphys.api import networking_v1
from tiphys.api.base import Struct, encode, to_builtins
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers, key_of
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.mergepatch import replacing

log = logging.getLogger(__name__)
_AT_ONCE = 8  # writes


class Writer:
    def __init__(
        self,
        client: Client,
        recorder: EventRecorder,
        informers: Informers,
        published: str,
        now: Callable[[], float],
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._informers = informers
        self._published = published
        self._now = now
        self._reported: set[tuple[str, str, str]] = set()
        self._own_ingresses: dict[str, networking_v1.Ingress] = {}
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def write(self, outcome: Outcome) -> None:
        self._tell(outcome)
        await asyncio.gather(*(self._put(obj, status) for obj, status in self._statuses(outcome)))

    def _statuses(self, outcome: Outcome) -> Iterator[tuple[Any, Struct]]:
        now = self._now()
        ours = {key_of(one): one for one in outcome.ingress.ours}
        for key, ingress in self._own_ingresses.items():
            if key not in ours:
                yield ingress, networking_v1.IngressStatus()
        self._own_ingresses = ours
        for ingress in ours.values():
            yield ingress, ingress_status(outcome.address)
        report = outcome.gateways
        for gateway_class, verdict in report.classes:
            yield gateway_class, class_status(gateway_class, verdict, now)
        for gateway in report.gateways:
            yield gateway.gateway, gateway_status(gateway, self._published, now)
        for route in report.routes:
            yield route.route, route_status(route, now)
        for policy in report.policies:
            yield policy.policy, policy_status(policy, now)

    def _tell(self, outcome: Outcome) -> None:
        """Each event once, until the reason for it has gone."""
        now = set()
        for obj, reason, message in outcome.ingress.events:
            key = (obj.metadata.uid, reason, message)
            now.add(key)
            if key not in self._reported:
                self._recorder.record(obj, "Warning", reason, message)
        self._reported = now

    async def _put(self, obj: Any, status: Struct) -> None:
        # The newest copy: what was compiled may not have seen our last write yet.
        current = self._informers.of(type(obj)).get(key_of(obj))
        if current is None or encode(current.status) == encode(status):
            return
        patch = {"status": replacing(to_builtins(current.status), to_builtins(status))}
        meta = obj.metadata
        async with self._turn:
            try:
                await self._client.patch(
                    type(obj), meta.name, patch, meta.namespace, "status", media=MERGE
                )
            except StatusError as error:
                if not is_not_found(error):  # it is gone, and its status with it
                    log.warning("the status of %s was not written: %s", key_of(obj), error)
            except Unreachable as error:
                log.info("%s", error)
