"""Leader election over a Lease: of several copies of a component, one works.

The protocol is client-go's: whoever holds the lease renews it; another copy takes it once it has
not seen it change for as long as the holder said it lasts. Each copy measures that by its own
clock, so their clocks need not agree.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from tiphys.api import coordination_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client, Unreachable
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError, is_not_found

log = logging.getLogger(__name__)

# Seconds; client-go's LeaseDuration, RenewDeadline and RetryPeriod.
DURATION = 15  # that a lease lasts after its last renewal
RENEW = 10.0  # after which a holder that could not renew it stops to lead
RETRY = 2.0  # between two attempts


class _Observed(NamedTuple):
    """The lease as we saw it last: its resourceVersion, and when (monotonic) it first had that."""

    version: str
    since: float


class LeaderElection:
    """One copy's part in an election: `acquire` returns once it leads, `hold` once it no longer
    does.

    name, namespace: of the Lease
    identity:        of this copy; no two may have the same
    now:             wall clock, for the times that the Lease shows
    """

    def __init__(
        self,
        client: Client,
        name: str,
        identity: str,
        namespace: str = "kube-system",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._now = now
        self._observed = _Observed("", 0.0)
        self._renewed = 0.0  # when (monotonic) the attempt began that renewed the lease last

    async def acquire(self) -> None:
        self._client.metrics.set_leading(self._name, False)
        while True:
            if await self._attempt(RENEW):
                self._client.metrics.set_leading(self._name, True)
                return
            await asyncio.sleep(RETRY)

    async def hold(self) -> None:
        """Renews the lease; returns `RENEW` after the last renewal, even if the server has not
        answered by then.

        Another copy may take over `DURATION` after it: in between there is no leader.
        """
        while True:
            left = self._seconds_left()
            if left <= 0:
                self._client.metrics.set_leading(self._name, False)
                return
            await asyncio.sleep(min(RETRY, left))
            await self._attempt(self._seconds_left())

    def _seconds_left(self) -> float:
        return self._renewed + RENEW - time.monotonic()

    async def release(self) -> None:
        """Lets another copy take over at once. A lease that cannot be released expires by
        itself."""
        self._client.metrics.set_leading(self._name, False)
        try:
            lease = await self._client.get(coordination_v1.Lease, self._name, self._namespace)
            if lease.spec.holder_identity != self._identity:
                return
            lease.spec.holder_identity = ""
            lease.spec.lease_duration_seconds = 1
            await self._client.update(lease)
        except (StatusError, Unreachable) as error:
            log.debug("Lease %s was not released: %s", self._name, error)

    async def _attempt(self, seconds: float) -> bool:
        """Tries to get or renew the lease within some seconds; returns whether it did."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                if not await self._get_or_renew():
                    return False
        except (StatusError, Unreachable, TimeoutError) as error:
            log.debug("Lease %s was neither acquired nor renewed: %s", self._name, error)
            return False
        self._renewed = began  # the server may have written it as early as that
        return True

    async def _get_or_renew(self) -> bool:
        try:
            lease = await self._client.get(coordination_v1.Lease, self._name, self._namespace)
        except StatusError as error:
            if not is_not_found(error):
                raise
            await self._client.create(self._new_lease())
            return True
        if self._is_held_by_another(lease):
            return False
        spec = lease.spec
        stamp = timestamps.rfc3339_micro(self._now())
        if spec.holder_identity != self._identity:
            spec.holder_identity = self._identity
            spec.acquire_time = stamp
            spec.lease_transitions = (spec.lease_transitions or 0) + 1
        spec.lease_duration_seconds = DURATION
        spec.renew_time = stamp
        await self._client.update(lease)
        return True

    def _new_lease(self) -> coordination_v1.Lease:
        stamp = timestamps.rfc3339_micro(self._now())
        spec = coordination_v1.LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=DURATION,
            acquire_time=stamp,
            renew_time=stamp,
            lease_transitions=0,
        )
        metadata = ObjectMeta(name=self._name, namespace=self._namespace)
        return coordination_v1.Lease(metadata=metadata, spec=spec)

    def _is_held_by_another(self, lease: coordination_v1.Lease) -> bool:
        version = lease.metadata.resource_version
        if version != self._observed.version:
            self._observed = _Observed(version, time.monotonic())
        if lease.spec.holder_identity in (None, "", self._identity):
            return False
        lasts = lease.spec.lease_duration_seconds or DURATION
        return time.monotonic() - self._observed.since < lasts
