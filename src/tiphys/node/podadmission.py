"""Whether a node takes a pod that is bound to it, and what a pod may grow to: the counterpart of
the admit handlers of upstream's kubelet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from tiphys.api import core_v1
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError
from tiphys.node.nodecontext import NodeContext
from tiphys.node.pod.evictor import Evictor
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.placing import PodPlacer
from tiphys.node.pod.preemption import NoneToPreempt, make_room
from tiphys.node.pod.worker import PodWorker
from tiphys.node.resources.admission import (
    NODE_AFFINITY,
    Footprint,
    Rejection,
    clashing_ports,
    insufficient_room,
    shortages,
    unfit,
)
from tiphys.node.resources.pressure import is_critical, refused_under_pressure
from tiphys.node.resources.resize import shortage
from tiphys.node.resources.sysctls import SysctlAllowlist
from tiphys.node.shutdown.nodeshutdown import REFUSED, NodeShutdown

log = logging.getLogger(__name__)

_RETRY = 1.0  # seconds after the API server did not answer


class PodAdmission:
    """
    workers: of all pods of the node, by uid
    suits:   whether the node has the labels that a pod asks for. Raises StatusError, Unreachable
    """

    def __init__(
        self,
        node: NodeContext,
        workers: Mapping[str, PodWorker],
        sysctls: SysctlAllowlist,
        placer: PodPlacer,
        evictor: Evictor,
        shutdown: NodeShutdown,
        suits: Callable[[core_v1.PodSpec], Awaitable[bool]],
    ) -> None:
        self._node = node
        self._workers = workers
        self._sysctls = sysctls
        self._placer = placer
        self._evictor = evictor
        self._shutdown = shutdown
        self._suits = suits

    async def is_admitted(self, worker: PodWorker) -> bool:
        """Whether the node takes a pod, which then holds room; another one is rejected. Tries until
        the API server answers."""
        while True:
            try:
                return await self._admit(worker)
            except (StatusError, Unreachable) as error:
                log.info("Pod %s is not admitted yet: %s", worker.managed.identity, error)
                await asyncio.sleep(_RETRY)

    async def _admit(self, worker: PodWorker) -> bool:
        """A deleted pod needs no room."""
        if worker.pod.metadata.deletion_timestamp:
            return True
        managed = worker.managed
        uid = managed.pod.metadata.uid
        rejection = (
            (REFUSED if self._shutdown.is_under_way else None)
            or unfit(managed.pod.spec, self._node.runtime.abilities, self._sysctls)
            or refused_under_pressure(managed.pod, self._evictor.conditions)
            or await self._placer.place(managed.pod)
            or await self._find_room(managed)
        )
        if rejection is None:
            managed.holds_room = True  # while the labels are read, too
            rejection = NODE_AFFINITY
            if await self._suits(managed.pod.spec):
                rejection = await self._node.devices.allocate(managed.pod)
            if rejection is None:
                return True
            managed.holds_room = False
        self._placer.release(uid)
        await worker.reject(rejection)
        self._node.metrics.pods.rejected(rejection.reason)
        return bool(worker.pod.metadata.deletion_timestamp)

    async def _find_room(self, managed: ManagedPod) -> Rejection | None:
        """Why the node has no room for a pod. Others make room for a critical one, if nothing else
        keeps it from running here. Raises StatusError, Unreachable."""
        footprint = managed.footprint
        allocatable = self._node.allocatable
        others = self._footprints(managed.pod.metadata.uid)
        missing = {
            shortage.name: shortage.missing
            for shortage in shortages(footprint, others, allocatable)
        }
        if not missing or not is_critical(managed.pod):
            return insufficient_room(footprint, others, allocatable)
        if clash := clashing_ports(footprint, others):
            return clash
        if not await self._suits(managed.pod.spec):
            return NODE_AFFINITY
        managed.holds_room = True  # what others leave is its own
        running = [worker.managed for worker in self._workers.values() if worker.managed.holds_room]
        try:
            preempted = await make_room(managed.pod, running, missing)
        except NoneToPreempt as error:
            managed.holds_room = False
            return Rejection("UnexpectedAdmissionError", str(error))
        self._node.metrics.preemptions.labels(next(iter(missing))).inc(len(preempted))
        return None

    def _footprints(self, without: str) -> list[Footprint]:
        """Those that hold room on the node, but for the pod of one uid."""
        return [
            worker.managed.footprint
            for uid, worker in self._workers.items()
            if worker.managed.holds_room and uid != without
        ]

    # --- pods that grow ---

    def shortage(self, uid: str, wanted: Footprint) -> Rejection | None:
        """Why a pod cannot grow to a footprint."""
        return shortage(wanted, self._footprints(uid), self._node.allocatable)

    def retry_resizes(self) -> None:
        """A pod has left: those that wait for room to grow look again."""
        for worker in self._workers.values():
            if worker.managed.resources.pending is not None:
                worker.managed.resync()
