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
    unclaimed: uids of pods that run here, and that the node has not heard of yet
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

    def place(self, pod: core_v1.Pod) -> Rejection | None:
        """Gives a pod its cores and memory, after those of pods that have ended are free."""
        self._release_ended(pod.metadata.uid)
        rejection = self._placement.admit(pod)
        self._changed.set()
        return rejection

    def place_again(self, pod: core_v1.Pod) -> None:
        """Of a pod that an agent before this one has started. It runs on, whatever comes of it."""
        if rejection := self._placement.admit(pod):
            log.warning("Pod %s runs without what it asks for: %s", pod.metadata.name, rejection)
        self._changed.set()

    def release(self, uid: str) -> None:
        """The pod was not let in, or has ended."""
        self._placement.release(uid)
        self._changed.set()

    def _release_ended(self, but: str = "") -> None:
        holding = {each.pod.metadata.uid for each in self._pods() if each.holds_room}
        self._placement.keep(holding | set(self._unclaimed()) | {but})

    async def run(self, period: float) -> None:
        """Until cancelled: whenever pods come and go, and every `period` seconds, for a container
        may have started meanwhile."""
        while self._placement.pins:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(period):
                    await self._changed.wait()
            self._changed.clear()
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
