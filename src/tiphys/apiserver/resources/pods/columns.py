"""The table of pods."""

from __future__ import annotations

import time

from tiphys.api.core_v1 import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    Pod,
)
from tiphys.apiserver.resources.columns import AGE, NAME, WIDE, Column
from tiphys.machinery import conditions, durations, timestamps
from tiphys.machinery.finished import pod_finished


def _sidecars(pod: Pod) -> set[str]:
    """Init containers that go on beside the others."""
    return {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}


def _has(pod: Pod, condition_type: str) -> bool:
    return conditions.is_true(pod.status.conditions, condition_type)


def _ready(pod: Pod) -> str:
    sidecars = _sidecars(pod)
    ready = sum(s.ready for s in pod.status.container_statuses if s.state.running is not None)
    ready += sum(s.ready for s in pod.status.init_container_statuses if s.name in sidecars)
    return f"{ready}/{len(pod.spec.containers) + len(sidecars)}"


def pod_reason(pod: Pod) -> str:
    """One word for how a pod does: its phase, or what a container of it waits for or ended with."""
    if pod.metadata.deletion_timestamp:
        if pod.status.reason == "NodeLost":
            return "Unknown"
        if not pod_finished(pod):
            return "Terminating"
    initializing = _initializing(pod)
    reason = initializing or _scheduling(pod) or pod.status.reason or pod.status.phase
    if initializing and not _has(pod, "Initialized"):
        return reason
    return _container_reason(pod, reason)


def _scheduling(pod: Pod) -> str:
    scheduled = conditions.find(pod.status.conditions, "PodScheduled")
    is_gated = scheduled is not None and scheduled.reason == "SchedulingGated"
    return "SchedulingGated" if is_gated else ""


def _initializing(pod: Pod) -> str:
    """Of the first init container that is not done; "" when all are."""
    index = _current_init(pod)
    if index is None:
        return ""
    state = pod.status.init_container_statuses[index].state
    return f"Init:{_init_reason(state) or f'{index}/{len(pod.spec.init_containers)}'}"


def _current_init(pod: Pod) -> int | None:
    """The number of the first init container that is not done."""
    sidecars = _sidecars(pod)
    for index, status in enumerate(pod.status.init_container_statuses):
        terminated = status.state.terminated
        has_succeeded = terminated is not None and terminated.exit_code == 0
        if not has_succeeded and not (status.name in sidecars and status.started):
            return index
    return None


def _init_reason(state: ContainerState) -> str:
    if state.terminated is not None:
        return _exit_reason(state.terminated)
    if state.waiting is not None and state.waiting.reason != "PodInitializing":
        return state.waiting.reason
    return ""


def _exit_reason(terminated: ContainerStateTerminated) -> str:
    if terminated.reason:
        return terminated.reason
    if terminated.signal:
        return f"Signal:{terminated.signal}"
    return f"ExitCode:{terminated.exit_code}"


def _container_reason(pod: Pod, reason: str) -> str:
    """The reason of the first container that waits or has ended; `reason` if none has."""
    running = False
    failure = ""
    for status in reversed(pod.status.container_statuses):
        state = status.state
        if state.waiting is not None and state.waiting.reason:
            reason = state.waiting.reason
        elif state.terminated is not None:
            reason = _exit_reason(state.terminated)
            if state.terminated.exit_code:
                failure = reason
        elif status.ready and state.running is not None:
            running = True
    if reason != "Completed":
        return reason
    if running and _has(pod, "Ready"):
        return "Running"
    return failure or ("NotReady" if running else reason)


def _counted(pod: Pod) -> list[ContainerStatus]:
    """Whose restarts count: those of init containers until they are done, then the rest."""
    inits = pod.status.init_container_statuses
    current = _current_init(pod)
    if current is not None and not _has(pod, "Initialized"):
        return inits[: current + 1]
    sidecars = _sidecars(pod)
    return [
        *pod.status.container_statuses,
        *(status for status in inits if status.name in sidecars),
    ]


def _restarts(pod: Pod) -> str:
    statuses = _counted(pod)
    count = sum(status.restart_count for status in statuses)
    ends = [s.last_state.terminated for s in statuses if s.last_state.terminated is not None]
    last = max((timestamps.parse(end.finished_at) for end in ends), default=0.0)
    if not count or not last:
        return str(count)
    return f"{count} ({durations.human(time.time() - last)} ago)"


def _ip(pod: Pod) -> str:
    ips = pod.status.pod_ips
    return ips[0].ip if ips else pod.status.pod_ip or "<none>"


def _gates(pod: Pod) -> str:
    gates = [gate.condition_type for gate in pod.spec.readiness_gates]
    if not gates:
        return "<none>"
    return f"{sum(_has(pod, gate) for gate in gates)}/{len(gates)}"


COLUMNS = (
    NAME,
    Column("Ready", _ready),
    Column("Status", pod_reason),
    Column("Restarts", _restarts),
    AGE,
    Column("IP", _ip, priority=WIDE),
    Column("Node", lambda o: o.spec.node_name or "<none>", priority=WIDE),
    Column("Nominated Node", lambda o: o.status.nominated_node_name or "<none>", priority=WIDE),
    Column("Readiness Gates", _gates, priority=WIDE),
)
