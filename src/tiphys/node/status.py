"""A pod's status, from its spec and what the runtime shows. Pure."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.machinery import timestamps
from tiphys.node.resize import Resources
from tiphys.node.restarting import is_sidecar, restarts
from tiphys.node.runtime import EXITED, RUNNING, ContainerState, PodState

_MESSAGES = 12 << 10  # bytes of all termination messages of a pod, as upstream


def _terminated(state: ContainerState, scheme: str) -> v1.ContainerStateTerminated:
    reason = (
        state.reason
        if state.reason not in ("", "Unknown")
        else ("Completed" if state.exit_code == 0 else "Error")
    )
    return v1.ContainerStateTerminated(
        exit_code=state.exit_code,
        signal=0,
        reason=reason,
        message=state.message,
        started_at=timestamps.rfc3339(state.started_at)
        if state.started_at
        else timestamps.rfc3339(0),
        finished_at=timestamps.rfc3339(state.finished_at),
        container_id=f"{scheme}://{state.id}",
    )


def container_status(
    container: Any,
    state: PodState,
    waiting: dict[str, tuple[str, str]],
    ready: bool,
    started: bool,
    scheme: str,
    default: str,
    before: v1.ContainerStatus | None,
    resources: Resources | None = None,
) -> v1.ContainerStatus:
    found, last = state.containers.get(container.name), state.previous.get(container.name)
    status = v1.ContainerStatus(
        name=container.name, image=container.image, ready=False, started=False
    )
    if resources is not None:
        allocated = resources.of(container).resources
        actual = (
            resources.actual(container.name, found.id)
            if found is not None and found.state == RUNNING
            else None
        )
        status.allocated_resources = allocated.requests
        status.resources = v1.ResourceRequirements(
            limits=(actual or allocated).limits, requests=(actual or allocated).requests
        )
    if found is None:
        reason, message = waiting.get(container.name, (default, ""))
        status.state = v1.ContainerState(
            waiting=v1.ContainerStateWaiting(reason=reason, message=message)
        )
        if before is not None:
            status.restart_count = before.restart_count
        return status
    status.image = found.image or container.image
    status.image_id, status.container_id, status.restart_count = (
        found.image_ref,
        f"{scheme}://{found.id}",
        found.attempt,
    )
    if found.state == RUNNING:
        status.state = v1.ContainerState(
            running=v1.ContainerStateRunning(started_at=timestamps.rfc3339(found.started_at))
        )
        status.ready, status.started = ready, started
    elif found.state == EXITED:
        if container.name in waiting:
            reason, message = waiting[container.name]
            status.state = v1.ContainerState(
                waiting=v1.ContainerStateWaiting(reason=reason, message=message)
            )
            last = found
        else:
            status.state = v1.ContainerState(terminated=_terminated(found, scheme))
            status.started = False
    else:
        reason, message = waiting.get(container.name, ("ContainerCreating", ""))
        status.state = v1.ContainerState(
            waiting=v1.ContainerStateWaiting(reason=reason, message=message)
        )
    if last is not None and last.state == EXITED:
        status.last_state = v1.ContainerState(terminated=_terminated(last, scheme))
    return status


def phase(pod: v1.Pod, state: PodState) -> str:
    """Pending until every container has started once; then what the ended ones make of it."""
    policy, spec = pod.spec.restart_policy, pod.spec
    of_inits = "OnFailure" if policy == "Always" else policy
    for container in spec.init_containers:
        found = state.containers.get(container.name)
        if (
            not is_sidecar(container)
            and found is not None
            and found.state == EXITED
            and found.exit_code
            and not restarts(of_inits, container, found)
        ):
            return "Failed"
    mains = [state.containers.get(c.name) for c in spec.containers]
    if any(c is None or c.state not in (RUNNING, EXITED) for c in mains):
        return (
            "Pending"
            if pod.status.phase in ("", "Pending")
            else "Running"
            if any(c is not None for c in mains)
            else "Pending"
        )
    known = [c for c in mains if c is not None]
    if any(c.state == RUNNING for c in known) or any(
        restarts(policy, container, found)
        for container, found in zip(spec.containers, known, strict=True)
    ):
        return "Running"
    return "Failed" if any(c.exit_code for c in known) else "Succeeded"


def conditions(
    pod: v1.Pod,
    state: PodState,
    status: v1.PodStatus,
    now: float,
    resources: Resources | None = None,
) -> list[v1.PodCondition]:
    """The conditions that are the node's to set; a transition time changes only with the value."""
    stamp = timestamps.rfc3339(now)
    standing = {c.type: c for c in pod.status.conditions}
    done = status.phase in ("Succeeded", "Failed")
    mains = {s.name: s for s in status.container_statuses}
    unready = [c.name for c in pod.spec.containers if not mains[c.name].ready]
    inits = {s.name: s for s in status.init_container_statuses}
    incomplete = [
        c.name
        for c in pod.spec.init_containers
        if not ((s := inits[c.name].state).terminated is not None and s.terminated.exit_code == 0)
        and not (is_sidecar(c) and inits[c.name].started)
    ]
    if any(c.name in state.containers for c in pod.spec.containers):
        incomplete = []
    sidecars = [
        c.name for c in pod.spec.init_containers if is_sidecar(c) and not inits[c.name].ready
    ]
    gates = [
        text for gate in pod.spec.readiness_gates if (text := _unmet(gate.condition_type, standing))
    ]
    ready_reason, ready_message = "", ""
    if done:
        ready_reason = "PodCompleted" if status.phase == "Succeeded" else "PodFailed"
    elif unready or sidecars:
        ready_reason, ready_message = (
            "ContainersNotReady",
            f"containers with unready status: [{' '.join([*sidecars, *unready])}]",
        )
    gate_reason, gate_message = (
        (ready_reason, ready_message)
        if ready_reason
        else ("ReadinessGatesNotReady", ", ".join(gates))
        if gates
        else ("", "")
    )
    init_reason = (
        ("PodCompleted", "")
        if status.phase == "Succeeded"
        else (
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(incomplete)}]",
        )
        if incomplete
        else ("", "")
    )
    rows = [
        ("PodReadyToStartContainers", bool(state.sandbox and state.sandbox.ready), "", ""),
        ("Initialized", not incomplete or init_reason[0] == "PodCompleted", *init_reason),
        ("Ready", not gate_reason, gate_reason, gate_message),
        ("ContainersReady", not ready_reason, ready_reason, ready_message),
        ("PodScheduled", True, "", ""),
        *(
            (kind, True, why, text)
            for kind, why, text in (resources.conditions(pod, state) if resources else ())
        ),
    ]
    made = []
    for kind, ok, reason, message in rows:
        value, old = "True" if ok else "False", standing.get(kind)
        since = (
            old.last_transition_time
            if old is not None and old.status == value and old.last_transition_time
            else stamp
        )
        made.append(
            v1.PodCondition(
                type=kind,
                status=value,
                reason=reason,
                message=message,
                last_transition_time=since,
                observed_generation=pod.metadata.generation,
            )
        )
    return made


def _unmet(gate: str, standing: dict[str, v1.PodCondition]) -> str:
    """What keeps a readiness gate shut, "" if it is open."""
    condition = standing.get(gate)
    if condition is None:
        return f'corresponding condition of pod readiness gate "{gate}" does not exist.'
    if condition.status == "True":
        return ""
    return f'the status of pod readiness gate "{gate}" is not "True", but {condition.status}'


def pod_status(
    pod: v1.Pod,
    state: PodState,
    waiting: dict[str, tuple[str, str]],
    ready: set[str],
    started: set[str],
    scheme: str,
    host_ip: str,
    now: float,
    resources: Resources | None = None,
) -> v1.PodStatus:
    """The whole status. `ready` and `started` name containers whose probes say so."""
    spec = pod.spec
    status = v1.PodStatus(
        qos_class=pod.status.qos_class,
        host_ip=host_ip,
        host_ips=[v1.HostIP(ip=host_ip)] if host_ip else [],
    )
    status.observed_generation = pod.metadata.generation
    status.start_time = pod.status.start_time or timestamps.rfc3339(now)
    status.nominated_node_name = ""
    before = {
        s.name: s for s in [*pod.status.container_statuses, *pod.status.init_container_statuses]
    }
    has_init = any(not is_sidecar(c) for c in spec.init_containers) or bool(spec.init_containers)

    def make(
        container: Any, default: str, resources: Resources | None = resources
    ) -> v1.ContainerStatus:
        name = container.name
        return container_status(
            container,
            state,
            waiting,
            name in ready,
            name in started,
            scheme,
            default,
            before.get(name),
            resources,
        )

    status.container_statuses = [
        make(c, "PodInitializing" if has_init else "ContainerCreating") for c in spec.containers
    ]
    status.init_container_statuses = [make(c, "PodInitializing") for c in spec.init_containers]
    for container, s in zip(spec.init_containers, status.init_container_statuses, strict=True):
        if not is_sidecar(container) and s.state.terminated is not None:
            s.ready = s.state.terminated.exit_code == 0
    status.ephemeral_container_statuses = [
        make(c, "ContainerCreating", None) for c in spec.ephemeral_containers
    ]
    status.phase = phase(pod, state)
    if pod.status.reason in ("DeadlineExceeded", "Evicted"):
        status.phase, status.reason, status.message = (
            "Failed",
            pod.status.reason,
            pod.status.message,
        )
    if status.phase in ("Succeeded", "Failed"):
        for s in status.container_statuses:
            s.ready = False
    ip = host_ip if spec.host_network else state.sandbox.ip if state.sandbox else ""
    ip = ip or pod.status.pod_ip
    if ip:
        status.pod_ip, status.pod_ips = ip, [v1.PodIP(ip=ip)]
    status.conditions = conditions(pod, state, status, now, resources)
    _cut_messages(status)
    return status


def _cut_messages(status: v1.PodStatus) -> None:
    """All termination messages of a pod together keep within a bound: each container has an equal part of it."""
    every = [
        *status.container_statuses,
        *status.init_container_statuses,
        *status.ephemeral_container_statuses,
    ]
    for one in every:
        for ended in (one.state.terminated, one.last_state.terminated):
            if ended is not None:
                ended.message = _cut(ended.message, _MESSAGES // len(every))


def _cut(text: str, limit: int) -> str:
    """At most so many bytes of a text, whole characters."""
    return text if len(text) * 4 <= limit else text.encode()[:limit].decode(errors="ignore")


def settle(pod: v1.Pod, status: v1.PodStatus) -> None:
    """Nothing of the pod will run any more: it has succeeded or failed, also if it never ran. What was begun and never
    seen to end counts as failed, as upstream."""
    if status.phase in ("Failed", "Succeeded"):
        return
    mains = status.container_statuses
    if _has_initialized(pod, status):
        _end(mains)
    begun = [n for n, one in enumerate(status.init_container_statuses) if _was_begun(one)]
    _end(status.init_container_statuses[: max(begun, default=0) + 1])
    ended = [one.state.terminated for one in mains]
    well = all(one is not None and one.exit_code == 0 for one in ended)
    status.phase = "Succeeded" if well else "Failed"


def _was_begun(status: v1.ContainerStatus) -> bool:
    return status.state.waiting is None or status.last_state.terminated is not None


def _has_initialized(pod: v1.Pod, status: v1.PodStatus) -> bool:
    if not pod.spec.init_containers or any(_was_begun(one) for one in status.container_statuses):
        return True
    last = status.init_container_statuses[-1]
    if is_sidecar(pod.spec.init_containers[-1]):
        return last.state.running is not None and bool(last.started)
    ended = last.state.terminated or last.last_state.terminated
    return ended is not None and ended.exit_code == 0


def _end(statuses: list[v1.ContainerStatus]) -> None:
    for one in statuses:
        if one.state.terminated is None:
            text = "The container could not be located when the pod was terminated"
            ended = v1.ContainerStateTerminated(
                exit_code=137, reason="ContainerStatusUnknown", message=text
            )
            one.state = v1.ContainerState(terminated=ended)
            one.ready = one.started = False
