"""Giving the pods of a node their cores and memory as they come and go, and keeping running
containers on the CPUs that they may use: the shared ones change when a pod gets some for itself, or
ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection

from tiphys.api import core_v1
from tiphys.node.managers.placement import Placement
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Rejection
from tiphys.node.runtime import Runtime, RuntimeFault
from tiphys.node.states import RUNNING, ContainerState

log = logging.getLogger(__name__)


class PodPlacer:
    """
    pods:      those of the node
    unclaimed: uids of pods that run here, and that the node has not received yet
    """

    def __init__(
        self,
        placement: Placement,
        runtime: Runtime,
        pods: Callable[[], Collection[ManagedPod]],
        unclaimed: Callable[[], Collection[str]],
    ) -> None:
        self._placement = placement
        self._runtime = runtime
        self._pods = pods
        self._unclaimed = unclaimed
        self._changed = asyncio.Event()
        self._deciding = asyncio.Lock()
        self._placed: set[str] = set()  # uids of pods that do not hold room yet
        self._ended: set[str] = set()  # uids of pods that ended while another was decided on

    async def place(self, pod: core_v1.Pod) -> Rejection | None:
        """Gives a pod its cores and memory, after those of pods that have ended are free."""
        async with self._deciding:
            self._release_ended()
            self._placed.add(pod.metadata.uid)
            return await self._admit(pod)

    async def place_again(self, pod: core_v1.Pod) -> None:
        """Of a pod that an agent before this one has started. It runs on, whatever comes of it."""
        async with self._deciding:
            rejection = await self._admit(pod)
        if rejection is not None:
            log.warning("Pod %s runs without what it asks for: %s", pod.metadata.name, rejection)

    async def _admit(self, pod: core_v1.Pod) -> Rejection | None:
        """On a thread: a pod of 4,000 containers takes seconds where there are eight NUMA nodes."""
        if not self._placement.gives:
            return None
        rejection = await asyncio.to_thread(self._placement.admit, pod)
        for uid in self._ended:
            self._placement.release(uid)
        self._ended.clear()
        self._changed.set()
        return rejection

    def release(self, uid: str) -> None:
        """The pod was not let in, or has ended."""
        self._placed.discard(uid)
        if self._deciding.locked():
            self._ended.add(uid)
            return
        self._placement.release(uid)
        self._changed.set()

    def _release_ended(self) -> None:
        holding = {managed.pod.metadata.uid for managed in self._pods() if managed.holds_room}
        self._placed -= holding
        self._placement.keep(holding | self._placed | set(self._unclaimed()))

    async def run(self, period: float) -> None:
        """Until cancelled: whenever pods come and go, and every `period` seconds, for a container
        may have started meanwhile."""
        while self._placement.pins:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(period):
                    await self._changed.wait()
            self._changed.clear()
            async with self._deciding:
                self._release_ended()
            await self.pin_containers()

    async def pin_containers(self) -> None:
        """Moves containers that run elsewhere. What the runtime refuses is tried again the next
        time."""
        running = [
            (managed.pod.metadata.uid, container)
            for managed in self._pods()
            for container in managed.state.containers.values()
            if container.state == RUNNING
        ]
        for uid, container in running:
            await self._pin(uid, container)
        self._placement.forget_containers({container.id for _, container in running})

    async def _pin(self, uid: str, container: ContainerState) -> None:
        cpus = self._placement.cpus(uid, container.name)
        if not cpus or self._placement.is_applied(container.id, cpus):
            return
        try:
            await self._runtime.pin_container(container.id, cpus)
        except (RuntimeFault, TimeoutError) as error:
            log.info("Container %s is not moved to CPUs %s yet: %s", container.id, cpus, error)
            return
        self._placement.note_applied(container.id, cpus)
