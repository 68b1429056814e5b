"""The worker of one pod: reads what the runtime shows, computes what to do, does it, reports the
status, and waits until something changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping

from tiphys.api import core_v1
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError
from tiphys.machinery.finished import pod_finished
from tiphys.node.nodecontext import NodeContext
from tiphys.node.pod.containerstart import ContainerStarter
from tiphys.node.pod.housekeeping import keep_house
from tiphys.node.pod.inplaceresize import apply_resources, grant_resources
from tiphys.node.pod.lifecycle import Kill, PodActions, compute_actions, deadline_exceeded
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.mirrorpod import MirrorPod
from tiphys.node.pod.reporting import StatusReporter
from tiphys.node.pod.restarting import restart_all
from tiphys.node.pod.sandboxstart import UNREPORTED, SandboxStarter
from tiphys.node.pod.termination import PodTerminator
from tiphys.node.resources.admission import Rejection
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import PodState, Usage
from tiphys.node.volumes.volumefiles import VolumeError, VolumePending, VolumesExhausted

log = logging.getLogger(__name__)

_RETRY = 2.0  # seconds after a step that failed
_LOOK_AGAIN = 0.3  # seconds between checks of a volume that is being attached, as upstream
_LIMIT_EXCEEDED = "VolumeAttachmentLimitExceeded"
_NO_ROOM = "Node has reached its volume attachment limit, rejecting pod"
_PATIENCE = 123.0  # seconds after which an event says what a pod waits for, as upstream
_ABANDONED_GRACE = 1.0  # seconds that a pod has whose object is gone
_DEADLINE_EXCEEDED = Rejection(
    "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
)


class PodWorker:
    """Runs one pod until it is gone from this node."""

    def __init__(
        self,
        node: NodeContext,
        pod: core_v1.Pod,
        state: PodState | None = None,
        mirror: MirrorPod | None = None,
    ) -> None:
        """`state` is what an agent before this one left of the pod, `mirror` what shows a static
        pod to the cluster."""
        managed = ManagedPod(node, pod, state, mirror)
        self.managed = managed
        self._reporter = StatusReporter(managed)
        self._terminator = PodTerminator(managed, self._reporter)
        self._sandbox = SandboxStarter(managed, self._reporter)
        self._starter = ContainerStarter(managed, self._terminator)
        self._pending_since = 0.0
        self._has_stepped = False

    # --- what the agent asks ---

    @property
    def pod(self) -> core_v1.Pod:
        return self.managed.pod

    @property
    def state(self) -> PodState:
        return self.managed.state

    def update(self, pod: core_v1.Pod) -> None:
        """The pod's object changed."""
        node = self.managed.node
        self.managed.startup.observe(pod, node.now(), node.metrics)
        self.managed.pod = pod
        if pod_finished(pod):
            self.managed.holds_room = False
        self.managed.wake()

    async def reject(self, rejection: Rejection) -> None:
        """Fails the pod without having run anything of it. Raises StatusError, Unreachable."""
        await self._reporter.reject(rejection)

    async def keep_house(self, used: Mapping[str, Usage]) -> None:
        """Rotates logs and checks disk usage. `used` is by container."""
        await keep_house(self.managed, used)

    async def abandon(self) -> None:
        """The pod's object is gone although this worker has not ended it: whatever still runs is
        ended. Raises RuntimeFault, TimeoutError."""
        managed = self.managed
        if managed.gone or self._terminator.is_deleting:
            return
        managed.leave()
        await managed.records.end_starts()
        managed.wake()
        managed.state = await managed.node.runtime.pod(managed.pod.metadata.uid)
        await self._terminator.kill(_ABANDONED_GRACE)
        with contextlib.suppress(RuntimeFault):  # the agent tries again later
            await managed.node.devices.release(managed.pod)
        await self._terminator.clean_up()

    # --- the loop ---

    async def run(self) -> None:
        """Returns when the pod is gone from this node."""
        managed = self.managed
        refresh_every = managed.node.volumes.refresh_every
        refreshed_at = time.monotonic()
        if managed.state.sandbox is not None:  # an agent before this one has started it
            await managed.reserve()
        try:
            while not managed.gone:
                managed.acknowledge()
                pause = await self._try_step()
                if managed.gone:
                    break
                await managed.changed(_sooner(pause, refresh_every))
                if refresh_every is None or not managed.has_volumes():
                    continue
                if time.monotonic() - refreshed_at > refresh_every:
                    refreshed_at = time.monotonic()
                    await self._refresh_volumes()
        finally:
            managed.probes.stop_all()
            await managed.tasks.stop()
            managed.node.metrics.probes.forget(managed.pod.metadata.uid)

    async def _refresh_volumes(self) -> None:
        managed = self.managed
        try:
            await managed.node.volumes.refresh(managed.pod)
        except (StatusError, Unreachable, OSError) as error:
            log.info("Volumes of pod %s are not refreshed: %s", managed.identity, error)

    async def _try_step(self) -> float | None:
        """One step; seconds until the next one is due, or None."""
        identity = self.managed.identity
        retry = _RETRY
        began = time.monotonic()
        try:
            return await self._step()
        except VolumePending as pending:
            log.debug("Pod %s waits for volume %s: %s", identity, pending.volume, pending)
            self._note_pending(pending)
            retry = _LOOK_AGAIN
        except VolumeError as error:
            self._event_of_failure("FailedMount", error.event)
        except RuntimeFault as fault:
            self._event_of_failure(fault.reason, str(fault))
        except (StatusError, Unreachable, TimeoutError, OSError) as error:
            log.info("Pod %s is tried again: %s", identity, error)
        except Exception:  # a bug in one step must not end the pod's only worker
            log.exception("Pod %s is tried again after an unexpected error", identity)
            return _RETRY
        finally:
            self._note_step(time.monotonic() - began)
        try:
            await self._reporter.report(is_final=self._terminator.is_terminating)
        except (StatusError, Unreachable) as error:
            log.info("The status of pod %s is not written: %s", identity, error)
        return retry

    def _note_step(self, seconds: float) -> None:
        operation = "sync" if self._has_stepped else "create"
        if self._terminator.is_terminating:
            operation = "terminated"
        self._has_stepped = True
        self.managed.node.metrics.pods.worked(operation, seconds)

    def _note_pending(self, pending: VolumePending) -> None:
        """Says which volume a pod waits for, as often as upstream, which waits that long."""
        now = time.monotonic()
        self._pending_since = self._pending_since or now
        if now - self._pending_since > _PATIENCE:
            self._pending_since = now
            text = (
                f"unmounted volumes=[{pending.volume}], unattached volumes=[{pending.volume}], "
                "failed to process volumes=[]: timed out waiting for the condition"
            )
            if isinstance(pending, VolumesExhausted):
                self._give_away(f"{_NO_ROOM}. {text}")
                return
            self._event_of_failure("FailedMount", f"Unable to attach or mount volumes: {text}")

    def _give_away(self, text: str) -> None:
        """A pod that cannot have its volumes here fails, so that another is created elsewhere."""
        self._event_of_failure(_LIMIT_EXCEEDED, text)
        self.managed.evict(Rejection(_LIMIT_EXCEEDED, f"Pod was rejected: {text}"))

    def _event_of_failure(self, reason: str, message: str) -> None:
        self.managed.event("Warning", reason, message)

    async def _step(self) -> float | None:
        managed = self.managed
        await managed.refresh_state()
        if managed.pod.metadata.deletion_timestamp:
            await self._terminator.terminate()
            return None
        if managed.eviction_grace is not None:
            await self._end_evicted(managed.eviction_grace)
            return None
        managed.probes.watch(managed.pod, managed.state)
        grant_resources(managed)
        now = managed.node.now()
        actions = compute_actions(managed.pod, managed.state, managed.records, now)
        # A container that is being started may show as created and not running, which is no reason
        # to start it again.
        actions.start = [
            start
            for start in actions.start
            if managed.records[start.container.name].starting is None
        ]
        await apply_resources(managed, actions)
        await self._carry_out(actions)
        return actions.retry_after

    async def _end_evicted(self, grace: float) -> None:
        """Ends a pod that the node does not let run on, and keeps its object."""
        managed = self.managed
        await self._terminator.kill(grace, with_events=True)
        await managed.node.devices.release(managed.pod)
        await self._reporter.report()
        await managed.release_volumes()
        managed.ended.set()

    async def _carry_out(self, actions: PodActions) -> None:
        managed = self.managed
        managed.waiting.update(actions.waiting, managed.pod)
        if actions.kill_pod:
            await self._terminator.kill(self._terminator.grace_period())
        for kill in actions.kill:
            await self._kill_container(kill)
        if actions.reset:
            await restart_all(managed, self._reporter, actions.reset)
            return
        if actions.finished:
            actions.retry_after = None
            await self._finish()
            return
        if actions.make_sandbox:
            actions.retry_after = None
            await self._sandbox.start()
            managed.wake()
            return
        await self._start_containers(actions)
        await self._reporter.report()
        if actions.kill:
            managed.wake()

    async def _kill_container(self, kill: Kill) -> None:
        managed = self.managed
        name = kill.container.name
        managed.event("Normal", "Killing", kill.message, name)
        managed.records[name].is_replaced |= kill.replaced
        grace = self._terminator.grace_period(name)
        managed.probes.stop(name)
        await self._terminator.stop_container(kill.container, grace)
        managed.expect_changes()

    async def _finish(self) -> None:
        """Reports the end of a pod of which nothing runs any more."""
        managed = self.managed
        if not pod_finished(managed.pod):
            if deadline_exceeded(managed.pod, managed.node.now()):
                managed.failure = _DEADLINE_EXCEEDED
        await managed.node.devices.release(managed.pod)
        await self._reporter.report()
        await managed.release_volumes()

    async def _start_containers(self, actions: PodActions) -> None:
        managed = self.managed
        for start in actions.start:
            self._starter.begin(start.container, start.attempt)
        starts = managed.records.starts()
        if actions.start and starts:
            # Most starts end at once: their status need not be written twice.
            await asyncio.wait(starts, timeout=UNREPORTED)
            managed.probes.watch(managed.pod, managed.state)


def _sooner(one: float | None, other: float | None) -> float | None:
    """The shorter of two times to wait; None is for ever."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
