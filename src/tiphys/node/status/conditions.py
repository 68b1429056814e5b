"""The conditions of a pod that its node sets. Pure."""

from __future__ import annotations

from typing import NamedTuple

from tiphys.api import core_v1 as v1
from tiphys.machinery.conditions import find, status_of, transition_time
from tiphys.machinery.finished import is_final
from tiphys.node.containers.restartpolicy import is_sidecar, may_restart_all, restarts_all
from tiphys.node.states import EXITED
from tiphys.node.status.containerstatus import Observation


class Condition(NamedTuple):
    type: str
    holds: bool
    reason: str = ""
    message: str = ""


def conditions(seen: Observation, status: v1.PodStatus) -> list[v1.PodCondition]:
    """`status` has the phase and the statuses of containers already. A transition time changes
    only with the value."""
    containers_ready = _containers_ready(seen.pod, status)
    sandbox = seen.state.sandbox
    rows = [
        Condition("PodReadyToStartContainers", sandbox is not None and sandbox.ready),
        _initialized(seen, status),
        _ready(seen.pod, containers_ready),
        containers_ready,
        Condition("PodScheduled", True),
        *_restarts(seen, status),
        *_disruption(seen),
        *(Condition(held.type, True, held.reason, held.message) for held in _resizes(seen)),
    ]
    return [_condition(seen, row) for row in rows]


def _restarts(seen: Observation, status: v1.PodStatus) -> list[Condition]:
    """Of pods whose rules may restart all containers: whether they are about to."""
    spec = seen.pod.spec
    if not may_restart_all(spec):
        return []
    kind = "AllContainersRestarting"
    if is_final(status.phase):
        reason = "PodCompleted" if status.phase == "Succeeded" else "PodFailed"
        return [Condition(kind, False, reason)]
    for container in (*spec.init_containers, *spec.containers):
        current = seen.state.containers.get(container.name)
        if current is None or current.state != EXITED or not restarts_all(container, current):
            continue
        message = "container exited with restart policy rule"
        return [Condition(kind, True, "RestartAllContainersStarted", message)]
    return [Condition(kind, False)]


def _disruption(seen: Observation) -> list[Condition]:
    """Of a pod that the node ends for its own sake: no fault of the pod's (Jobs look at it)."""
    if not seen.disruption:
        return []
    return [Condition("DisruptionTarget", True, "TerminationByKubelet", seen.disruption)]


def _resizes(seen: Observation) -> list[v1.PodCondition]:
    return seen.resources.conditions(seen.pod, seen.state)


def _condition(seen: Observation, row: Condition) -> v1.PodCondition:
    old = find(seen.pod.status.conditions, row.type)
    value = status_of(row.holds)
    return v1.PodCondition(
        type=row.type,
        status=value,
        reason=row.reason,
        message=row.message,
        last_transition_time=transition_time(old, value, seen.now),
        observed_generation=seen.pod.metadata.generation,
    )


def _initialized(seen: Observation, status: v1.PodStatus) -> Condition:
    if status.phase == "Succeeded":
        return Condition("Initialized", True, "PodCompleted")
    incomplete = _incomplete_inits(seen, status)
    if not incomplete or _stays_initialized(seen):
        return Condition("Initialized", True)
    message = f"containers with incomplete status: [{' '.join(incomplete)}]"
    return Condition("Initialized", False, "ContainersNotInitialized", message)


def _stays_initialized(seen: Observation) -> bool:
    """A pod whose containers all restart stays what it was."""
    before = find(seen.pod.status.conditions, "Initialized")
    is_restarting = any(record.removed is not None for record in seen.records.values())
    return is_restarting and before is not None and before.status == "True"


def _incomplete_inits(seen: Observation, status: v1.PodStatus) -> list[str]:
    """Init containers that the main ones wait for; none once a main container was created."""
    spec = seen.pod.spec
    if any(container.name in seen.state.containers for container in spec.containers):
        return []
    statuses = {init.name: init for init in status.init_container_statuses}
    incomplete = []
    for container in spec.init_containers:
        init = statuses[container.name]
        terminated = init.state.terminated
        has_succeeded = terminated is not None and terminated.exit_code == 0
        has_started = is_sidecar(container) and init.started
        if not has_succeeded and not has_started:
            incomplete.append(container.name)
    return incomplete


def _containers_ready(pod: v1.Pod, status: v1.PodStatus) -> Condition:
    if is_final(status.phase):
        reason = "PodCompleted" if status.phase == "Succeeded" else "PodFailed"
        return Condition("ContainersReady", False, reason)
    inits = {init.name: init for init in status.init_container_statuses}
    mains = {main.name: main for main in status.container_statuses}
    sidecars = [c.name for c in pod.spec.init_containers if is_sidecar(c)]
    unready = [name for name in sidecars if not inits[name].ready]
    unready += [c.name for c in pod.spec.containers if not mains[c.name].ready]
    if not unready:
        return Condition("ContainersReady", True)
    message = f"containers with unready status: [{' '.join(unready)}]"
    return Condition("ContainersReady", False, "ContainersNotReady", message)


def _ready(pod: v1.Pod, containers_ready: Condition) -> Condition:
    """A pod is ready when its containers are and its readiness gates are open."""
    if not containers_ready.holds:
        return containers_ready._replace(type="Ready")
    closed = []
    for gate in pod.spec.readiness_gates:
        if message := _closed_gate(gate.condition_type, pod):
            closed.append(message)
    if not closed:
        return Condition("Ready", True)
    return Condition("Ready", False, "ReadinessGatesNotReady", ", ".join(closed))


def _closed_gate(gate: str, pod: v1.Pod) -> str:
    """What keeps a readiness gate closed; "" if it is open."""
    condition = find(pod.status.conditions, gate)
    if condition is None:
        return f'corresponding condition of pod readiness gate "{gate}" does not exist.'
    if condition.status == "True":
        return ""
    return f'the status of pod readiness gate "{gate}" is not "True", but {condition.status}'
