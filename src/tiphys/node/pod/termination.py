"""Ending a pod: hooks before the end, grace periods, the order of containers, and what is removed
when nothing runs any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from tiphys.api import core_v1
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.node.containers.restartpolicy import is_sidecar
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.reporting import StatusReporter
from tiphys.node.probes.prober import Target
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import ContainerState
from tiphys.node.volumes.volumefiles import VolumeError

log = logging.getLogger(__name__)

_DEFAULT_GRACE = 30.0  # seconds
_AFTER_HOOK = 2.0  # seconds that a container has after a hook took all the time, as upstream


class PodTerminator:
    """Ends one pod, or single containers of it."""

    def __init__(self, managed: ManagedPod, reporter: StatusReporter) -> None:
        self._managed = managed
        self._reporter = reporter
        self.is_terminating = False
        self.is_deleting = False  # from then on that its object goes is this worker's doing

    # --- grace periods ---

    def grace_period(self, name: str = "") -> float:
        """Seconds that the pod has to end, or a container of it whose probe failed.

        A deletion says how long; else the failed probe; else the pod's spec.
        """
        pod = self._managed.pod
        candidates = (
            pod.metadata.deletion_grace_period_seconds,
            self._grace_of_probe(name),
            pod.spec.termination_grace_period_seconds,
        )
        for seconds in candidates:
            if seconds is not None:
                return float(seconds)
        return _DEFAULT_GRACE

    def _grace_of_probe(self, name: str) -> int | None:
        container = self._managed.find_container(name)
        if container is None:
            return None
        failed = self._managed.records[name].failed_probe
        probes = {"liveness": container.liveness_probe, "startup": container.startup_probe}
        probe = probes.get(failed)
        return probe.termination_grace_period_seconds if probe is not None else None

    # --- stopping ---

    async def stop_container(self, container: ContainerState, grace: float) -> None:
        """Runs the container's preStop hook and ends it, within `grace` seconds together. Raises
        RuntimeFault."""
        left = await self._run_pre_stop(container, grace)
        await self._stop(container, left)
        await self._managed.node.runtime.ended(container)

    async def _stop(self, container: ContainerState, grace: float) -> None:
        spec = self._managed.find_container(container.name)
        lifecycle = spec.lifecycle if spec is not None else None
        signal = (lifecycle.stop_signal if lifecycle is not None else None) or ""
        with contextlib.suppress(TimeoutError):
            await self._managed.node.runtime.stop_container(container, grace, signal)

    async def _run_pre_stop(self, container: ContainerState, grace: float) -> float:
        """Returns the seconds that are left of `grace`."""
        managed = self._managed
        spec = managed.find_container(container.name)
        hook = spec.lifecycle.pre_stop if spec is not None and spec.lifecycle is not None else None
        if hook is None or grace <= 0:
            return grace
        started_at = time.monotonic()
        target = Target(spec, container.id, managed.address, managed.node.runtime)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                answer = await target.run(hook, grace)
                if not answer.well:
                    text = f"PreStopHook failed: {answer.text}"
                    managed.event("Warning", "FailedPreStopHook", text, container.name)
        return max(_AFTER_HOOK, grace - (time.monotonic() - started_at))

    async def kill(self, grace: float, with_events: bool = False) -> None:
        """Stops everything within `grace` seconds: the main containers together, then the sidecars
        in reverse order, then the sandbox. Raises RuntimeFault, TimeoutError."""
        managed = self._managed
        runtime = self._managed.node.runtime
        interrupted = await managed.records.end_starts()
        if interrupted:  # a container may run that has not been observed yet
            await managed.read_state()
        running = managed.state.running()
        sidecars = [c.name for c in managed.pod.spec.init_containers if is_sidecar(c)]
        for container in running:
            managed.probes.stop_liveness(container.name)
            if with_events:
                text = f"Stopping container {container.name}"
                managed.event("Normal", "Killing", text, container.name)
        mains = [container for container in running if container.name not in sidecars]
        running_sidecars = [container for container in running if container.name in sidecars]
        running_sidecars.sort(key=lambda container: sidecars.index(container.name), reverse=True)
        await self._stop_in_order([mains, *([sidecar] for sidecar in running_sidecars)], grace)
        sandbox = managed.state.sandbox
        if sandbox is not None and sandbox.ready:
            await runtime.stop_sandbox(sandbox.id)
            sandbox.ready = False
        for container in running:
            managed.state.containers[container.name] = await runtime.ended(container)
        if interrupted:  # a container may have been created by a start that was cancelled
            await managed.read_state()
        managed.note_exits()

    async def _stop_in_order(self, groups: list[list[ContainerState]], grace: float) -> None:
        """Each group after the one before it. All hooks run at once, and no container waits for its
        turn longer than `grace`: the time is the pod's, as upstream. Raises RuntimeFault.
        """
        turns = [asyncio.Event() for _ in range(len(groups) + 1)]
        turns[0].set()

        async def stop(container: ContainerState, turn: asyncio.Event) -> None:
            began = time.monotonic()
            left = await self._run_pre_stop(container, grace)
            if not turn.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await turn.wait()
                left = max(min(_AFTER_HOOK, grace), grace - (time.monotonic() - began))
            await self._stop(container, left)

        async def stop_group(number: int, group: list[ContainerState]) -> None:
            try:
                await asyncio.gather(*(stop(container, turns[number]) for container in group))
            finally:
                turns[number + 1].set()

        stopping = (stop_group(number, group) for number, group in enumerate(groups))
        results = await asyncio.gather(*stopping, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    # --- a deleted pod ---

    async def terminate(self) -> None:
        """Ends a deleted pod and removes it from the API server and the node. Raises RuntimeFault,
        VolumeError, TimeoutError, StatusError, Unreachable; may be called again then."""
        managed = self._managed
        node = self._managed.node
        if not self.is_terminating:
            self.is_terminating = True
            try:
                await self._kill_within_grace()
            except (RuntimeFault, TimeoutError):
                self.is_terminating = False
                raise
        await node.devices.release(managed.pod)
        await self._reporter.report(is_final=True)
        # As upstream, the object stays until drivers have taken back what they gave.
        await node.volumes.give_back(managed.pod.metadata.uid)
        managed.holds_room = False
        self.is_deleting = True
        await self._delete()
        managed.leave()
        # Nothing runs and the address is released: nothing else waits for what is left on disk, and
        # other pods end sooner. A static pod may come again as the very same.
        node.quiet.disturb()
        if managed.mirror is None:
            await node.quiet.wait()
        await self.clean_up()

    async def _kill_within_grace(self) -> None:
        """Kills the pod, reports which containers have ended, and hurries when the grace period is
        shortened meanwhile."""
        managed = self._managed
        grace = self.grace_period()
        killing = managed.tasks.start(self._try_kill(grace), "kill")
        killing.add_done_callback(lambda _: managed.wake())
        while not killing.done():
            await managed.changed()
            managed.acknowledge()
            if not killing.done():
                await self._report_progress()
            if not killing.done() and self.grace_period() < grace:
                grace = self.grace_period()
                await self._hurry(grace)
        if (error := await killing) is not None:
            raise error
        if self._reports_progress():  # what was read meanwhile may be older than the end
            await managed.read_state()

    async def _try_kill(self, grace: float) -> Exception | None:
        """Returns what the runtime failed with."""
        try:
            await self.kill(grace, with_events=True)
        except (RuntimeFault, TimeoutError) as error:
            return error
        return None

    async def _hurry(self, grace: float) -> None:
        for container in self._managed.state.running():
            with contextlib.suppress(RuntimeFault):
                await self._stop(container, grace)

    def _reports_progress(self) -> bool:
        """Whether others want to know which containers of the pod have ended. For a single
        container without a readiness probe the final report says it all."""
        spec = self._managed.pod.spec
        containers = len(spec.containers) + len(spec.init_containers)
        return containers > 1 or spec.containers[0].readiness_probe is not None

    async def _report_progress(self) -> None:
        managed = self._managed
        if not self._reports_progress():
            return
        try:
            await managed.refresh_state()
            if managed.state.running():
                await self._reporter.report()
        except (RuntimeFault, StatusError, Unreachable, TimeoutError) as error:
            log.info("Pod %s: its progress of ending is not reported: %s", managed.identity, error)

    async def _delete(self) -> None:
        """Removes the pod's object. Raises StatusError while it stays: nothing else removes it."""
        if self._managed.mirror is not None:
            self._managed.mirror.withdraw()
            return
        meta = self._managed.pod.metadata
        client = self._managed.node.client
        try:
            await client.delete(core_v1.Pod, meta.name, meta.namespace, grace=0, uid=meta.uid)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise

    async def clean_up(self) -> None:
        """Removes what the node has of a pod of which nothing runs."""
        managed = self._managed
        node = self._managed.node
        uid = managed.pod.metadata.uid
        for sandbox in managed.state.sandbox_ids():
            with contextlib.suppress(RuntimeFault, TimeoutError):
                await node.runtime.remove_sandbox(sandbox)
        node.isolation.release(managed.pod)
        with contextlib.suppress(VolumeError):  # the agent tries it again and again
            await node.volumes.give_back(uid)
        await asyncio.to_thread(node.volumes.tear_down, uid)
        if any(volume.image is not None for volume in managed.pod.spec.volumes):
            with contextlib.suppress(RuntimeFault):
                await node.runtime.release_images(uid)
        node.references.forget(uid)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(node.runtime.remove_logs, uid)
        node.runtime.forget(uid)
