"""Pods as CRI lists them: sandboxes, containers and statistics, by the pod's uid. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.node.cri import messages as m
from tiphys.node.cri.config import (
    CONTAINER_LABEL,
    IMAGE_ANNOTATION,
    NAMESPACE_LABEL,
    POD_LABEL,
    UID_LABEL,
)
from tiphys.node.states import (
    CREATED,
    EXITED,
    RUNNING,
    ContainerState,
    PodState,
    SandboxState,
    Usage,
)

_STATES = {0: CREATED, 1: RUNNING, 2: EXITED, 3: EXITED}  # ContainerState of CRI; 3 is unknown
_SANDBOX_READY = 0  # PodSandboxState of CRI
_NANOSECONDS = 1e9


def pod_states(
    sandboxes: Iterable[m.PodSandbox], containers: Iterable[m.Container]
) -> dict[str, PodState]:
    """By pod uid. The newest is the one that was created last."""
    states: dict[str, PodState] = {}
    for sandbox in sorted(sandboxes, key=lambda sandbox: sandbox.created_at):
        meta = sandbox.metadata or m.PodSandboxMetadata()
        state = states.setdefault(meta.uid, PodState(meta.uid, meta.name, meta.namespace))
        if state.sandbox is not None:
            state.old_sandboxes.append(state.sandbox.id)
        state.sandbox = SandboxState(
            sandbox.id,
            meta.attempt,
            ready=is_ready(sandbox.state),
            created_at=sandbox.created_at / _NANOSECONDS,
        )
    for container in sorted(containers, key=lambda container: container.created_at):
        labels = container.labels
        uid = labels.get(UID_LABEL, "")
        unknown = PodState(uid, labels.get(POD_LABEL, ""), labels.get(NAMESPACE_LABEL, ""))
        states.setdefault(uid, unknown).add(_container_state(container))
    return states


def is_ready(sandbox_state: int) -> bool:
    return sandbox_state == _SANDBOX_READY


def _container_state(container: m.Container) -> ContainerState:
    meta = container.metadata or m.ContainerMetadata()
    return ContainerState(
        container.id,
        meta.name,
        meta.attempt,
        _STATES[container.state],
        created_at=container.created_at / _NANOSECONDS,
        sandbox=container.pod_sandbox_id,
        asked_image=container.annotations.get(IMAGE_ANNOTATION, ""),
    )


def with_status(known: ContainerState, status: m.ContainerStatus) -> ContainerState:
    """A listed container with what its status adds."""
    return ContainerState(
        known.id,
        known.name,
        known.attempt,
        _STATES[status.state],
        created_at=status.created_at / _NANOSECONDS,
        started_at=status.started_at / _NANOSECONDS,
        finished_at=max(0, status.finished_at) / _NANOSECONDS,
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        image=status.image.image if status.image is not None else "",
        image_ref=status.image_ref,
        sandbox=known.sandbox,
        asked_image=status.annotations.get(IMAGE_ANNOTATION, ""),
    )


def usage_by_pod(stats: Iterable[m.ContainerStats]) -> dict[str, dict[str, Usage]]:
    """By pod uid and container name."""
    usage: dict[str, dict[str, Usage]] = {}
    for sandbox in stats:
        if sandbox.attributes is None:
            continue
        labels = sandbox.attributes.labels
        of_pod = usage.setdefault(labels.get(UID_LABEL, ""), {})
        of_pod[labels.get(CONTAINER_LABEL, "")] = _usage(sandbox)
    return usage


def _usage(stats: m.ContainerStats) -> Usage:
    cpu = stats.cpu or m.CpuUsage()
    memory = stats.memory or m.MemoryUsage()
    layer = stats.writable_layer
    return Usage(
        cpu=_value(cpu.usage_core_nano_seconds),
        working_set=_value(memory.working_set_bytes),
        usage=_value(memory.usage_bytes),
        rss=_value(memory.rss_bytes),
        faults=_value(memory.page_faults),
        major=_value(memory.major_page_faults),
        available=_value(memory.available_bytes),
        disk=_value(layer.used_bytes) if layer is not None else 0,
        inodes=_value(layer.inodes_used) if layer is not None else 0,
    )


def _value(counter: m.UInt64Value | None) -> int:
    return counter.value if counter is not None else 0
