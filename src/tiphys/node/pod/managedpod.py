"""One pod on this node, as the parts of its worker share it."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.addresses import led_by
from tiphys.machinery.finished import pod_finished
from tiphys.node.containers.records import ContainerRecord, ContainerRecords
from tiphys.node.containers.waiting import WaitingReasons
from tiphys.node.nodecontext import NodeContext
from tiphys.node.pod.mirrorpod import MirrorPod
from tiphys.node.pod.startup import PodStartup
from tiphys.node.pod.terminationmessage import message_of
from tiphys.node.probes.probemanager import ProbeManager
from tiphys.node.resources.admission import Footprint, Rejection
from tiphys.node.resources.resize import Resources, without_cpu_limits
from tiphys.node.states import EXITED, ContainerState, PodIdentity, PodState


class ManagedPod:
    """The pod's object, what the runtime showed last, and a record of each container.

    pod: as the API server has it
    state: as the runtime has it
    holds_room: the node counts the pod's footprint
    failure: why the node fails the pod, whatever its containers do
    disruption: what the condition DisruptionTarget says of a pod that ends for the node's sake
    eviction_grace: seconds that a pod has which the node ends; None of others
    ended: set once the node has ended it, or it is gone
    gone: nothing of the pod is left for this node to do
    has_released: its volumes were removed after its end
    startup: how long it takes until the containers have started
    handler: what its RuntimeClass calls the runtime; "" for the usual one
    mirror: what shows a static pod to the cluster; None of other pods
    """

    def __init__(
        self,
        node: NodeContext,
        pod: core_v1.Pod,
        state: PodState | None = None,
        mirror: MirrorPod | None = None,
    ) -> None:
        self.node = node
        self.mirror = mirror
        self.pod = pod
        self.state = state or PodState(pod.metadata.uid)
        self.records = ContainerRecords()
        self.resources = Resources(pod, self.records)
        self.footprint = Footprint(self.resources.allocated_spec(pod))
        self.tasks = TaskGroup(f"pod-{pod.metadata.name}")
        self.probes = ProbeManager(
            self.records, node.runtime, self.tasks, self.address, self.event, self.wake
        )
        self.probes.observe = partial(node.metrics.probes.observe, PodIdentity.of(pod))
        self.waiting = WaitingReasons(self.records, node.now, self.event, self.wake)
        self.volume_paths: dict[str, str] | None = None
        self.holds_room = False
        self.failure: Rejection | None = None
        self.disruption = ""
        self.eviction_grace: float | None = None
        self.ended = asyncio.Event()
        self._is_gone = False
        self.has_released = False
        self.handler = ""
        self.startup = PodStartup(pod, node.now())
        self._changed = asyncio.Event()
        self._is_stale = state is not None
        self._ended_starts = 0

    @property
    def identity(self) -> PodIdentity:
        return PodIdentity.of(self.pod)

    @property
    def gone(self) -> bool:
        return self._is_gone

    def leave(self) -> None:
        """Nothing of the pod is left for this node to do."""
        self._is_gone = True
        self.ended.set()

    def close(self) -> None:
        """Its worker has ended: it does not refer to itself any more, so that it is freed at once
        and not by a collection of cycles."""
        self.probes.close()
        self.waiting.close()

    # --- ended by the node ---

    def evict(self, rejection: Rejection, grace: float | None = None, disruption: str = "") -> None:
        """Has the pod fail and end within `grace` seconds, at least one (upstream); as long as its
        spec says where that is None."""
        self.disruption = disruption
        own = self.pod.spec.termination_grace_period_seconds
        seconds = grace if grace is not None else float(30 if own is None else own)
        self.failure = rejection
        self.eviction_grace = max(1.0, seconds)
        self.wake()

    @property
    def is_active(self) -> bool:
        """Whether it runs and its termination has not started."""
        return self.failure is None and not pod_finished(self.pod)

    # --- waking the worker ---

    def wake(self) -> None:
        """Something changed: the worker computes its actions again."""
        self._changed.set()

    def resync(self) -> None:
        """The runtime may show something new: the worker reads it again."""
        self._is_stale = True
        self.wake()

    def expect_changes(self) -> None:
        """What was read of the runtime will not be true any more by the next look."""
        self._is_stale = True

    def acknowledge(self) -> None:
        """What changes from here on is not known yet."""
        self._changed.clear()

    async def changed(self, timeout: float | None = None) -> None:
        """Returns when something changed, or after `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    def wake_after(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.wake)

    # --- what the runtime shows ---

    async def refresh_state(self) -> None:
        """Reads the runtime's state if it may have changed."""
        if self._is_stale:
            self._is_stale = False
            await self.read_state()

    async def read_state(self) -> None:
        """Reads the runtime's state.

        What was read while a container was started may not show that container, or not as running:
        it would be started a second time. So it is read again.
        """
        ended_starts = -1
        while ended_starts != self._ended_starts:
            ended_starts = self._ended_starts
            state = await self.node.runtime.pod(self.pod.metadata.uid)
        self.state = state
        self.note_exits()

    def note_exits(self) -> None:
        """Stops the probes of containers that ended, and reads their termination messages."""
        for current in self.state.containers.values():
            if current.state == EXITED:
                self.probes.stop(current.name)
                self._read_message(current)
        for previous in self.state.previous.values():
            if previous.state == EXITED:
                self._read_message(previous)

    def _read_message(self, ended: ContainerState) -> None:
        container = self.find_container(ended.name)
        if container is None or ended.message:
            return
        folder = self.node.volumes.folder(self.pod.metadata.uid)
        ended.message = message_of(self.pod, container, ended, folder, self.node.runtime)

    def start_ended(self, record: ContainerRecord) -> None:
        """A container was started, or could not be."""
        record.starting = None
        self._ended_starts += 1
        self.wake()

    # --- facts of the pod ---

    def find_container(self, name: str) -> Any | None:
        """The spec of a main or init container."""
        for container in [*self.pod.spec.containers, *self.pod.spec.init_containers]:
            if container.name == name:
                return container
        return None

    def pod_ips(self) -> tuple[str, ...]:
        """The pod's addresses as its status shows them; none while it has none."""
        if self.pod.spec.host_network:
            return self.node.addresses
        if self.state.sandbox is None:
            return ()
        return led_by(self.state.sandbox.ips, self.node.address)

    def address(self) -> str:
        """Where the pod's containers are reached."""
        return next(iter(self.pod_ips()), self.node.address)

    async def reserve(self, growing: bool = False) -> None:
        """Gives the pod as a whole what it was granted; see `Runtime.reserve`."""
        granted = self.resources.allocated_spec(self.pod)
        if self._has_own_cpus():
            granted = without_cpu_limits(granted)
        await self.node.runtime.reserve(self.pod, granted, growing)
        if not growing:
            self.resources.pod_was_reserved()

    def _has_own_cpus(self) -> bool:
        uid = self.pod.metadata.uid
        containers = (*self.pod.spec.init_containers, *self.pod.spec.containers)
        return any(
            self.node.placement.has_own_cpus(uid, container.name) for container in containers
        )

    async def set_up_volumes(self) -> dict[str, str]:
        """Volume name -> host path; prepares them if that was not done yet. Raises VolumeError."""
        if self.volume_paths is None:
            self.volume_paths = await self.node.volumes.set_up(self.pod)
        return self.volume_paths

    async def release_volumes(self) -> None:
        """Once, of a pod that has ended for good. Raises VolumeError."""
        if self.has_released:
            return
        await self.node.volumes.give_back(self.pod.metadata.uid)
        self.has_released = True
        await asyncio.to_thread(self.node.volumes.release, self.pod.metadata.uid)

    def folders_on_disk(self) -> tuple[dict[str, Path], dict[str, Path]]:
        """Those that the pod fills: of emptyDir volumes, and of containers' logs, by name."""
        scratch = {
            volume.name: self.node.volumes.path(self.pod, volume)
            for volume in self.pod.spec.volumes
            if volume.empty_dir is not None
        }
        log_folder = self.node.runtime.log_folder(self.identity)
        if log_folder is None:
            return scratch, {}
        return scratch, {name: log_folder / name for name in self.state.containers}

    def has_volumes(self) -> bool:
        """Whether they were set up, by this agent or by one before it."""
        sandbox = self.state.sandbox
        return self.volume_paths is not None or (sandbox is not None and sandbox.ready)

    def event(self, kind: str, reason: str, message: str, container: str = "") -> None:
        """Records an event about the pod, or about one of its containers."""
        path = f"spec.{self._group(container)}{{{container}}}" if container else ""
        self.node.recorder.record(self.pod, kind, reason, message, path)

    def _group(self, container: str) -> str:
        """The list of the spec that a container is in."""
        spec = self.pod.spec
        if any(init.name == container for init in spec.init_containers):
            return "initContainers"
        if any(ephemeral.name == container for ephemeral in spec.ephemeral_containers):
            return "ephemeralContainers"
        return "containers"
