"""What a pod takes of its node: resources and ports. Shared by the scheduler, which looks for room, and the node agent,
which refuses what it has no room for."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from tiphys.api import core_v1
from tiphys.machinery import quantity

CPU, MEMORY = "cpu", "memory"

Port = tuple[str, str, int]  # address, protocol, host port


def units(name: str, value: str) -> int:
    """A quantity in units that are compared: thousandths of cpu, whole numbers of everything else."""
    return quantity.milli(value) if name == CPU else quantity.ceil_units(value)


_NOTHING: Mapping[str, int] = {}


def _own(container: core_v1.Container, least: Mapping[str, int]) -> dict[str, int]:
    return {**least, **{name: units(name, value) for name, value in container.resources.requests.items()}}


def requests_of(spec: core_v1.PodSpec, least: Mapping[str, int] = _NOTHING) -> dict[str, int]:
    """What the pod needs at its neediest moment: all containers together, or one init container beside the
    sidecars started before it, plus overhead. `least` stands for what a container says nothing of."""
    total: dict[str, int] = {}
    for container in spec.containers:
        for name, value in _own(container, least).items():
            total[name] = total.get(name, 0) + value
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.init_containers:
        own = _own(container, least)
        if container.restart_policy == "Always":
            for name, value in own.items():
                sidecars[name] = sidecars.get(name, 0) + value
                total[name] = total.get(name, 0) + value
            own = {}
        for name in own.keys() | sidecars.keys():
            peak[name] = max(peak.get(name, 0), own.get(name, 0) + sidecars.get(name, 0))
    result = {name: max(total.get(name, 0), peak.get(name, 0)) for name in total.keys() | peak.keys()}
    if spec.resources is not None:
        result |= {name: units(name, value) for name, value in spec.resources.requests.items()}
    for name, over in spec.overhead.items():
        result[name] = result.get(name, 0) + units(name, over)
    return result


def occupied(pod: core_v1.Pod, least: Mapping[str, int] = _NOTHING) -> dict[str, int]:
    """What a pod on a node takes of it: while it is being resized, the more of what it has and what it is to have. A wish
    that its node can never fulfil does not count. `least` stands for what a container says nothing of."""
    held = {s.name: s for s in [*pod.status.container_statuses, *pod.status.init_container_statuses] if _held(s)}
    if not held:
        return requests_of(pod.spec, least)
    pending = next((c for c in pod.status.conditions if c.type == "PodResizePending"), None)
    hopeless = pending is not None and pending.reason == "Infeasible"
    spec = copy.copy(pod.spec)
    spec.containers = [_resized(c, held.get(c.name), hopeless) for c in spec.containers]
    spec.init_containers = [_resized(c, held.get(c.name), hopeless) for c in spec.init_containers]
    return requests_of(spec, least)


def _held(status: core_v1.ContainerStatus) -> bool:
    return bool(status.allocated_resources) or (status.resources is not None and bool(status.resources.requests))


def _resized(
    container: core_v1.Container, status: core_v1.ContainerStatus | None, hopeless: bool
) -> core_v1.Container:
    if status is None:
        return container
    actual = status.resources.requests if status.resources is not None else {}
    wished = {} if hopeless else container.resources.requests
    made = copy.copy(container)
    made.resources = core_v1.ResourceRequirements(
        requests=quantity.maximum([dict(status.allocated_resources), dict(actual), dict(wished)])
    )
    return made


def ports_of(spec: core_v1.PodSpec) -> tuple[Port, ...]:
    """The host ports that a pod takes; the address 0.0.0.0 is all of the node's."""
    containers = [*spec.containers, *(c for c in spec.init_containers if c.restart_policy == "Always")]
    return tuple(
        (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)
        for container in containers
        for port in container.ports
        if port.host_port
    )


def clash(left: Port, right: Port) -> bool:
    return left[1:] == right[1:] and (left[0] == right[0] or "0.0.0.0" in (left[0], right[0]))
