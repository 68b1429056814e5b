"""What to do about a pod, computed from its spec and what the runtime shows. Pure.

The counterpart of `computePodActions` in upstream's kubelet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.machinery import durations, timestamps
from tiphys.machinery.finished import pod_finished
from tiphys.node.containers.records import ContainerRecords, WaitingReason
from tiphys.node.containers.restartpolicy import (
    init_policy,
    is_restarted,
    is_sidecar,
    policy_of,
    restarts_all,
)
from tiphys.node.states import EXITED, RUNNING, ContainerState, PodIdentity, PodState

_SOON = 0.1  # seconds: the shortest time until a deadline is checked again


class Start(NamedTuple):
    """A container of the spec to start, as this attempt."""

    container: Any
    attempt: int


class Kill(NamedTuple):
    """A container to end; the message goes into its Killing event. `replaced`: it is started again
    at once, whatever the pod's policy is."""

    container: ContainerState
    message: str
    replaced: bool = False


@dataclass
class PodActions:
    """What the worker should do now.

    make_sandbox: create a sandbox, a new one if there was one
    kill_pod: nothing of the pod should run any more
    reset: the containers to remove, in this order, so that all of the pod restarts
    waiting: the containers that are not restarted yet
    finished: the pod has reached its end
    retry_after: seconds after which to compute the actions again; None: only when something changes
    """

    make_sandbox: bool = False
    kill_pod: bool = False
    start: list[Start] = field(default_factory=list)
    kill: list[Kill] = field(default_factory=list)
    reset: list[ContainerState] = field(default_factory=list)
    waiting: dict[str, WaitingReason] = field(default_factory=dict)
    finished: bool = False
    retry_after: float | None = None

    def retry(self, seconds: float) -> None:
        if self.retry_after is None or seconds < self.retry_after:
            self.retry_after = seconds

    def end_pod(self) -> PodActions:
        self.finished = True
        self.kill_pod = True
        return self


def compute_actions(
    pod: core_v1.Pod, state: PodState, records: ContainerRecords, now: float
) -> PodActions:
    """`now` is in seconds since the epoch. Of the records it reads what the probes say, which
    containers ended to be resized, and the back-offs; it changes nothing."""
    actions = PodActions()
    spec = pod.spec
    if deadline_exceeded(pod, now) or pod_finished(pod):
        return actions.end_pod()
    if spec.active_deadline_seconds is not None and state.sandbox is not None:
        deadline = state.sandbox.created_at + spec.active_deadline_seconds
        actions.retry(max(_SOON, deadline - now))
    if all(_has_completed(pod, state, records, container) for container in spec.containers):
        return actions.end_pod()
    if state.sandbox is None or not state.sandbox.ready:
        actions.make_sandbox = True
        actions.kill_pod = bool(state.running())
        return actions
    actions.reset = _to_reset(pod, state)
    if actions.reset:
        return actions
    actions.start = list(_restarts_anyway(pod, state, records))
    if actions.start:
        return actions
    step = _Step(pod, state, records, now, actions)
    if step.initialize():
        for container in spec.containers:
            step.keep(container, spec.restart_policy)
        for ephemeral in spec.ephemeral_containers:
            if ephemeral.name not in state.containers:
                actions.start.append(Start(ephemeral, 0))
    return actions


def deadline_exceeded(pod: core_v1.Pod, now: float) -> bool:
    """Whether the pod has been active for longer than activeDeadlineSeconds."""
    limit = pod.spec.active_deadline_seconds
    started_at = timestamps.parse(pod.status.start_time)
    if limit is None or not started_at:
        return False
    return now - started_at >= limit


def _has_completed(
    pod: core_v1.Pod, state: PodState, records: ContainerRecords, container: Any
) -> bool:
    """Whether a container has ended and stays so."""
    current = state.containers.get(container.name)
    if current is None or current.state != EXITED:
        return False
    if records[container.name].restart_anyway:
        return False
    return not is_restarted(pod.spec.restart_policy, container, current)


def _to_reset(pod: core_v1.Pod, state: PodState) -> list[ContainerState]:
    """All containers, once one has ended whose rules restart all. Those whose end it was come last:
    should the agent end in between, the next one goes on."""
    sources: list[ContainerState] = []
    others: list[ContainerState] = []
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        current = state.containers.get(container.name)
        if current is None:
            continue
        is_source = current.state == EXITED and restarts_all(container, current)
        (sources if is_source else others).append(current)
    return [*others, *sources] if sources else []


def _restarts_anyway(
    pod: core_v1.Pod, state: PodState, records: ContainerRecords
) -> Iterable[Start]:
    """Containers that were ended to be started with other resources or from another image, whatever
    their policy is."""
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        current = state.containers.get(container.name)
        if current is None or current.state != EXITED:
            continue
        if records[container.name].restart_anyway:
            yield Start(container, current.attempt + 1)


@dataclass
class _Step:
    """One computation for a pod whose sandbox is ready."""

    pod: core_v1.Pod
    state: PodState
    records: ContainerRecords
    now: float
    actions: PodActions

    def initialize(self) -> bool:
        """Brings up the init containers in their order. True once the main containers may run."""
        spec = self.pod.spec
        policy = init_policy(spec.restart_policy)
        mains_created = any(self._is_of_sandbox(c.name) for c in spec.containers)
        for container in spec.init_containers:
            if self._must_be_repeated(container, policy):
                self._start_next(container)
                return False
            if is_sidecar(container):
                self.keep(container, "Always")
                if not mains_created and not self._sidecar_has_started(container):
                    return False
            elif not mains_created and not self._init_has_succeeded(container):
                self._run_init(container, policy)
                return False
        return True

    def _run_init(self, container: Any, policy: str) -> None:
        current = self.state.containers.get(container.name)
        if current is not None and current.state == EXITED:
            if not is_restarted(policy, container, current):
                self.actions.end_pod()
                return
        self.keep(container, policy, is_replaced=False)

    def _must_be_repeated(self, container: Any, policy: str) -> bool:
        """Whether an init container ran in an earlier sandbox only. What it did there may be lost:
        it may have filled a volume that is empty now."""
        if container.name not in self.state.containers:
            return False
        return policy_of(policy, container) != "Never" and not self._is_of_sandbox(container.name)

    def _is_of_sandbox(self, name: str) -> bool:
        """Whether a container was created in the sandbox that is there now."""
        current = self.state.containers.get(name)
        if current is None or self.state.sandbox is None:
            return False
        return current.sandbox in ("", self.state.sandbox.id)

    def _sidecar_has_started(self, container: Any) -> bool:
        current = self.state.containers.get(container.name)
        is_running = current is not None and current.state == RUNNING
        return is_running and self.records[container.name].started

    def _init_has_succeeded(self, container: Any) -> bool:
        current = self.state.containers.get(container.name)
        return current is not None and current.state == EXITED and current.exit_code == 0

    def keep(self, container: Any, policy: str, is_replaced: bool = True) -> None:
        """Starts a container that does not run, ends one whose probe failed, and waits with one
        that ended too often. `is_replaced`: as soon as it has another image, as all but init
        containers are."""
        current = self.state.containers.get(container.name)
        if current is None:
            attempt = self.records[container.name].next_attempt
            self.actions.start.append(Start(container, attempt))
        elif current.state == RUNNING:
            if is_replaced and not current.is_of(container.image):
                message = f"Container {container.name} definition changed, will be restarted"
                self.actions.kill.append(Kill(current, message, replaced=True))
            elif probe := self.records[container.name].failed_probe:
                message = f"Container {container.name} failed {probe} probe, will be restarted"
                self.actions.kill.append(Kill(current, message))
        elif current.state == EXITED:
            if is_restarted(policy, container, current):
                self._restart(container, current)
        else:
            self._start_next(container)

    def _restart(self, container: Any, ended: ContainerState) -> None:
        backoff = self.records[container.name].restarts
        remaining = backoff.remaining(ended.finished_at, self.now)
        if remaining <= 0 or not ended.is_of(container.image):
            self._start_next(container)
            return
        message = (
            f"back-off {durations.go_text(backoff.delay)} restarting failed "
            f"container={container.name} pod={PodIdentity.of(self.pod)}"
        )
        self.actions.waiting[container.name] = WaitingReason("CrashLoopBackOff", message)
        self.actions.retry(remaining)

    def _start_next(self, container: Any) -> None:
        attempt = self.state.containers[container.name].attempt + 1
        self.actions.start.append(Start(container, attempt))
