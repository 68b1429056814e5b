"""The status of one container, from what the runtime shows and what the node remembers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.machinery import timestamps
from tiphys.node.containers.records import ContainerRecords, WaitingReason
from tiphys.node.devices.healths import Health
from tiphys.node.resources.admission import Rejection
from tiphys.node.resources.resize import Resources
from tiphys.node.states import EXITED, RUNNING, ContainerState, PodState

Devices = Mapping[str, Mapping[str, Mapping[str, Health]]]


@dataclass(frozen=True)
class Observation:
    """What the status of a pod is made from.

    scheme: of container ids, the runtime's name: ``containerd``
    now: seconds since the epoch
    failure: why the node fails the pod, whatever its containers do
    disruption: what the condition DisruptionTarget says; "" for none
    recursive_read_only: whether the runtime can make mounts read-only with all below them
    is_final: nothing of the pod runs any more, so no container is ready
    devices: health of the devices of containers: by container, resource and device
    """

    pod: v1.Pod
    state: PodState
    records: ContainerRecords
    resources: Resources
    scheme: str
    host_ips: tuple[str, ...]
    now: float
    failure: Rejection | None = None
    disruption: str = ""
    recursive_read_only: bool = False
    is_final: bool = False
    devices: Devices = field(default_factory=dict)


def container_status(seen: Observation, container: Any, default_reason: str) -> v1.ContainerStatus:
    """`default_reason` is why a container waits that nothing is known of."""
    name = container.name
    record = seen.records[name]
    current = seen.state.containers.get(name)
    status = v1.ContainerStatus(name=name, image=container.image, ready=False, started=False)
    status.volume_mounts = [_mount(seen, mount) for mount in container.volume_mounts]
    if current is None:
        status.state = _waiting(record.waiting or WaitingReason(default_reason, ""))
        status.restart_count = record.next_attempt
        if record.removed is not None:
            status.last_state = _terminated(record.removed, seen.scheme)
        return status
    status.image = current.image or container.image
    status.image_id = current.image_ref
    status.container_id = f"{seen.scheme}://{current.id}"
    status.restart_count = current.attempt
    if container.lifecycle is not None:
        status.stop_signal = container.lifecycle.stop_signal
    last = seen.state.previous.get(name) or record.removed
    if current.state == RUNNING:
        started_at = timestamps.rfc3339(current.started_at)
        status.state = v1.ContainerState(running=v1.ContainerStateRunning(started_at=started_at))
        status.ready = record.ready and not seen.is_final
        status.started = record.started
    elif current.state == EXITED and record.waiting is None:
        status.state = _terminated(current, seen.scheme)
    elif current.state == EXITED and record.waiting is not None:
        status.state = _waiting(record.waiting)
        last = current
    else:
        status.state = _waiting(record.waiting or WaitingReason("ContainerCreating", ""))
    if last is not None and last.state == EXITED:
        status.last_state = _terminated(last, seen.scheme)
    return status


def add_resources(seen: Observation, container: Any, status: v1.ContainerStatus) -> None:
    """Shows what the container was granted and what it has; a container that does not run has
    what it was granted."""
    allocated = seen.resources.with_allocated(container).resources
    current = seen.state.containers.get(container.name)
    actual = None
    if current is not None and current.state == RUNNING:
        actual = seen.resources.actual(container.name, current.id)
    shown = actual or allocated
    status.allocated_resources = allocated.requests
    status.resources = v1.ResourceRequirements(limits=shown.limits, requests=shown.requests)


def add_devices(seen: Observation, status: v1.ContainerStatus) -> None:
    """Shows how the devices are that a container has."""
    status.allocated_resources_status = [
        v1.ResourceStatus(
            name=resource,
            resources=[
                v1.ResourceHealth(
                    resource_id=id, health=health.state, message=health.message or None
                )
                for id, health in healths.items()
            ],
        )
        for resource, healths in seen.devices.get(status.name, {}).items()
    ]


def _mount(seen: Observation, mount: v1.VolumeMount) -> v1.VolumeMountStatus:
    shown = v1.VolumeMountStatus(
        name=mount.name, mount_path=mount.mount_path, read_only=mount.read_only
    )
    if mount.read_only:
        wanted = mount.recursive_read_only in ("Enabled", "IfPossible")
        is_recursive = wanted and seen.recursive_read_only
        shown.recursive_read_only = "Enabled" if is_recursive else "Disabled"
    return shown


def _waiting(reason: WaitingReason) -> v1.ContainerState:
    waiting = v1.ContainerStateWaiting(reason=reason.reason, message=reason.message)
    return v1.ContainerState(waiting=waiting)


def _terminated(container: ContainerState, scheme: str) -> v1.ContainerState:
    reason = container.reason
    if reason in ("", "Unknown"):
        reason = "Completed" if container.exit_code == 0 else "Error"
    terminated = v1.ContainerStateTerminated(
        exit_code=container.exit_code,
        signal=0,
        reason=reason,
        message=container.message,
        started_at=timestamps.rfc3339(container.started_at),
        finished_at=timestamps.rfc3339(container.finished_at),
        container_id=f"{scheme}://{container.id}",
    )
    return v1.ContainerState(terminated=terminated)
