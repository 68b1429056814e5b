"""The sidecars that are connected: what each has for itself alone, and a new certificate for each
before its old one expires.

Its private key is made here, kept in memory alone, and reaches it over the stream that its token
opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from tiphys.addons.authority import Authority
from tiphys.addons.mesh import Settings, inbound
from tiphys.addons.mesh.admittance import Admittance, NotAdmitted, Workload
from tiphys.addons.mesh.identity import spiffe
from tiphys.addons.mesh.outbound import changes
from tiphys.addons.mesh.probes import read
from tiphys.addons.mesh.transport import secrets
from tiphys.addons.optional import Context
from tiphys.api import core_v1
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError
from tiphys.network.xds.cache import SECRET, Cache, View

log = logging.getLogger(__name__)

_LATE = 10.0  # seconds that our copy of a pod may be behind the API server's word for it
_PAUSE = 0.05
_RENEWED = (0.4, 0.5)  # of a lifetime, by lot: not all at once


class Sidecar:
    """One stream. `call` is its context."""

    def __init__(self, workload: Workload, view: View, call: Any) -> None:
        self.workload = workload
        self.view = view
        self.call = call
        self.renewed_at = 0.0
        self.names: dict[str, set[str]] = {}


class Sidecars:
    """`mode_of` gives the mode of a namespace's pods."""

    def __init__(
        self,
        shared: Cache,
        authority: Authority,
        settings: Settings,
        admittance: Admittance,
        context: Context,
        mode_of: Callable[[str], str],
    ) -> None:
        self._shared = shared
        self._authority = authority
        self._settings = settings
        self._admittance = admittance
        self._mode_of = mode_of
        self._now = context.now
        self._tasks = context.tasks
        self._pods = context.informers.of(core_v1.Pod)
        self.connected: set[Sidecar] = set()
        self.issued = 0

    def start(self) -> None:
        """From now on who loses his pod loses his stream."""
        self._pods.on_change(self._on_pod)

    @asynccontextmanager
    async def admit(self, context: Any) -> AsyncIterator[Cache]:
        """What a sidecar is served, while its stream lasts."""
        workload, pod = await self._identified(context)
        sidecar = Sidecar(workload, View(self._shared), context)
        self._certify(sidecar)
        self._configure(sidecar, pod)
        self.connected.add(sidecar)
        try:
            yield sidecar.view
        finally:
            self.connected.discard(sidecar)

    async def _identified(self, context: Any) -> tuple[Workload, core_v1.Pod]:
        try:
            workload = await self._admittance.identify(context.invocation_metadata())
            return workload, await self._pod_of(workload)
        except NotAdmitted as refusal:
            log.info("A sidecar was not admitted: %s", refusal)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(refusal))
        except (StatusError, Unreachable, TimeoutError) as error:
            log.warning("The identity of a sidecar could not be verified: %s", error)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "it cannot be said who you are")
        raise AssertionError("abort raises")

    async def _pod_of(self, workload: Workload) -> core_v1.Pod:
        async with asyncio.timeout(_LATE):
            while True:
                pod = self._pods.get(workload.key)
                if pod is not None and pod.metadata.uid == workload.uid:
                    return pod
                await asyncio.sleep(_PAUSE)

    def refresh(self, namespace: str) -> None:
        """How the pods of a namespace are spoken to has changed."""
        self._tasks.start(self._refresh(namespace), "refresh")

    async def _refresh(self, namespace: str) -> None:
        for sidecar in [one for one in self.connected if one.workload.namespace == namespace]:
            pod = self._pods.get(sidecar.workload.key)
            if pod is not None:
                self._configure(sidecar, pod)
            await asyncio.sleep(0)  # a third of a millisecond each

    async def renew(self) -> None:
        """Until it is cancelled."""
        pause = min(self._settings.lifetime / 20, 30.0)
        while True:
            await asyncio.sleep(pause)
            now = self._now()
            for sidecar in [one for one in self.connected if one.renewed_at <= now]:
                self._certify(sidecar)
                await asyncio.sleep(0)  # signing takes a tenth of a millisecond

    def _certify(self, sidecar: Sidecar) -> None:
        workload = sidecar.workload
        lifetime = self._settings.lifetime
        identity = spiffe(self._settings.trust_domain, workload.namespace, workload.account)
        now = self._now()
        pair = self._authority.workload(identity, now, lifetime)
        sidecar.renewed_at = now + lifetime * random.uniform(*_RENEWED)
        sidecar.view.update({SECRET: secrets(pair, self._authority.root)})
        self.issued += 1

    def _configure(self, sidecar: Sidecar, pod: core_v1.Pod) -> None:
        mode = self._mode_of(sidecar.workload.namespace)
        resources = inbound.resources_of(
            mode,
            self._settings.trust_domain,
            self._settings.lifetime,
            read(pod.metadata.annotations),
        )
        sidecar.view.update(changes(sidecar.names, resources))
        sidecar.names = {type_url: set(named) for type_url, named in resources.items()}

    def _on_pod(self, old: Any, new: Any) -> None:
        if old is None or (new is not None and new.metadata.uid == old.metadata.uid):
            return
        for sidecar in self.connected:
            if sidecar.workload.uid == old.metadata.uid:
                self._tasks.start(_end(sidecar.call), "end")


async def _end(call: Any) -> None:
    with contextlib.suppress(grpc.aio.AbortError, grpc.aio.UsageError):  # it may have ended itself
        await call.abort(grpc.StatusCode.UNAUTHENTICATED, "your pod is gone")
