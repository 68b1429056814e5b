"""Leader election over a Lease: of several copies of a component, one works."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from tiphys.api import coordination_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client, Unreachable
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

DURATION, RENEW, RETRY = (
    15,
    10.0,
    2.0,
)  # seconds: a lease holds, must be renewed within, is tried every


class LeaderElection:
    """`acquire` returns once we lead; `hold` returns when we no longer do."""

    def __init__(
        self,
        client: Client,
        name: str,
        identity: str,
        namespace: str = "kube-system",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._name, self._namespace, self._identity = name, namespace, identity
        self._now = now
        self._seen: tuple[str, float] = ("", 0.0)  # the lease's revision and when we saw it first
        self._renewed = 0.0  # when the attempt began that renewed it last

    async def acquire(self) -> None:
        while True:
            if await self._attempt(RENEW):
                return
            await asyncio.sleep(RETRY)

    async def hold(self) -> None:
        """Another copy may take over DURATION after the lease was last renewed: RENEW after that it is given up, even if
        the server has not answered by then."""
        while (left := self._renewed + RENEW - time.monotonic()) > 0:
            await asyncio.sleep(min(RETRY, left))
            await self._attempt(self._renewed + RENEW - time.monotonic())

    async def release(self) -> None:
        """Lets another copy take over at once."""
        try:
            lease = await self._client.get(coordination_v1.Lease, self._name, self._namespace)
            if lease.spec.holder_identity == self._identity:
                lease.spec.holder_identity, lease.spec.lease_duration_seconds = "", 1
                await self._client.update(lease)
        except (StatusError, Unreachable):
            pass  # it runs out by itself

    async def _attempt(self, seconds: float) -> bool:
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                if not await self._try():
                    return False
        except (StatusError, Unreachable, TimeoutError) as error:
            log.debug("lease %s: %s", self._name, error)
            return False
        self._renewed = began  # the server may have written it as early as that
        return True

    async def _try(self) -> bool:
        stamp = timestamps.rfc3339_micro(self._now())
        try:
            lease = await self._client.get(coordination_v1.Lease, self._name, self._namespace)
        except StatusError as error:
            if error.code != 404:
                raise
            lease = coordination_v1.Lease(
                metadata=ObjectMeta(name=self._name, namespace=self._namespace)
            )
            lease.spec.holder_identity, lease.spec.lease_duration_seconds = self._identity, DURATION
            lease.spec.acquire_time = lease.spec.renew_time = stamp
            lease.spec.lease_transitions = 0
            await self._client.create(lease)
            return True
        spec = lease.spec
        if lease.metadata.resource_version != self._seen[0]:
            self._seen = (lease.metadata.resource_version, time.monotonic())
        if spec.holder_identity and spec.holder_identity != self._identity:
            if time.monotonic() - self._seen[1] < (spec.lease_duration_seconds or DURATION):
                return False
        if spec.holder_identity != self._identity:
            spec.acquire_time, spec.lease_transitions = stamp, (spec.lease_transitions or 0) + 1
        spec.holder_identity, spec.lease_duration_seconds, spec.renew_time = (
            self._identity,
            DURATION,
            stamp,
        )
        await self._client.update(lease)
        return True
