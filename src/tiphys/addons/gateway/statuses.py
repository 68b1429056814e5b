"""Says in the objects how they are: writes what is new, tells events once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from tiphys.addons.gateway.compiling import Outcome
from tiphys.addons.gateway.publishing import Refused
from tiphys.api import networking_v1
from tiphys.api.base import Struct, encode, to_builtins
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.client.events import EventRecorder
from tiphys.client.informer import key_of
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)
_AT_ONCE = 8  # writes


class Writer:
    def __init__(self, client: Client, recorder: EventRecorder, now: Callable[[], float]) -> None:
        self._client = client
        self._recorder = recorder
        self._now = now
        self._told: set[tuple[str, str, str]] = set()
        self._ours: dict[str, networking_v1.Ingress] = {}
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def write(self, outcome: Outcome, refused: Refused) -> None:
        self._tell(outcome)
        writes = [(one, ingress_status(outcome.address)) for one in outcome.ingress.ours]
        ours = {key_of(one): one for one in outcome.ingress.ours}
        left = [one for key, one in self._ours.items() if key not in ours]
        writes += [(one, networking_v1.IngressStatus()) for one in left]
        self._ours = ours
        await asyncio.gather(*(self._put(obj, status) for obj, status in writes))

    def _tell(self, outcome: Outcome) -> None:
        """Each event once, until the reason for it has gone."""
        now = set()
        for obj, reason, message in outcome.ingress.events:
            key = (obj.metadata.uid, reason, message)
            now.add(key)
            if key not in self._told:
                self._recorder.record(obj, "Warning", reason, message)
        self._told = now

    async def _put(self, obj: Any, status: Struct) -> None:
        if encode(obj.status) == encode(status):
            return
        patch = {"status": to_builtins(status) or None}
        async with self._turn:
            try:
                await self._client.patch(
                    type(obj),
                    obj.metadata.name,
                    patch,
                    obj.metadata.namespace,
                    "status",
                    media=MERGE,
                )
            except StatusError as error:
                if error.code != 404:  # it is gone, and so is what could be said of it
                    log.warning("the status of %s was not written: %s", key_of(obj), error)
            except Unreachable as error:
                log.info("%s", error)


def ingress_status(address: str) -> networking_v1.IngressStatus:
    entry = networking_v1.IngressLoadBalancerIngress(ip=address)
    if not address.replace(".", "").isdigit() and ":" not in address:
        entry = networking_v1.IngressLoadBalancerIngress(hostname=address)
    return networking_v1.IngressStatus(
        load_balancer=networking_v1.IngressLoadBalancerStatus(ingress=[entry])
    )
