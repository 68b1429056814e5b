"""What a pod takes of its node: resources and ports. Shared by the scheduler, which looks for room,
and the node agent, which refuses what it has no room for."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from tiphys.api import core_v1
from tiphys.api.base import Quantity
from tiphys.machinery import conditions, quantity

CPU, MEMORY = "cpu", "memory"
_HUGE = "hugepages-"
_ZERO = Quantity("0")
Requests = Mapping[str, str]

Port = tuple[str, str, int]  # address, protocol, host port


def units(name: str, value: str) -> int:
    """A quantity in units that are compared: thousandths of cpu, whole numbers of everything
    else."""
    return quantity.milli(value) if name == CPU else quantity.ceil_units(value)


_NOTHING: Mapping[str, int] = {}


def _own(container: core_v1.Container, least: Mapping[str, int]) -> dict[str, int]:
    return {
        **least,
        **{name: units(name, value) for name, value in container.resources.requests.items()},
    }


def requests_of(spec: core_v1.PodSpec, least: Mapping[str, int] = _NOTHING) -> dict[str, int]:
    """The peak requests of the pod: all containers together, or one init container
    beside the sidecars started before it, plus overhead. `least` is used for what a container does
    not request."""
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
    result = {
        name: max(total.get(name, 0), peak.get(name, 0)) for name in total.keys() | peak.keys()
    }
    if spec.resources is not None:
        pod_level = spec.resources.requests
        result |= {
            name: units(name, value)
            for name, value in pod_level.items()
            if name in (CPU, MEMORY) or name.startswith(_HUGE)
        }
    for name, over in spec.overhead.items():
        result[name] = result.get(name, 0) + units(name, over)
    return result


def occupied(pod: core_v1.Pod, least: Mapping[str, int] = _NOTHING) -> dict[str, int]:
    """What a pod on a node takes of it: while it is being resized, the maximum of actual,
    allocated and requested resources. An infeasible request does not count.
    `least` is used for what a container does not request."""
    status = pod.status
    reported = {
        s.name: s
        for s in [*status.container_statuses, *status.init_container_statuses]
        if s.resources is not None
    }
    if not reported and status.resources is None:
        return requests_of(pod.spec, least)
    pending = conditions.find(status.conditions, "PodResizePending")
    hopeless = pending is not None and pending.reason == "Infeasible"

    def taken(
        wish: Requests, actual: core_v1.ResourceRequirements, allocated: Requests
    ) -> core_v1.ResourceRequirements:
        lists = [actual.requests, allocated] if hopeless else [wish, actual.requests, allocated]
        return core_v1.ResourceRequirements(requests=quantity.maximum(lists))

    def resized(container: core_v1.Container) -> core_v1.Container:
        seen = reported.get(container.name)
        if seen is None or seen.resources is None:
            return container
        changed = copy.copy(container)
        changed.resources = taken(
            container.resources.requests, seen.resources, seen.allocated_resources
        )
        return changed

    spec = copy.copy(pod.spec)
    spec.containers = [resized(c) for c in spec.containers]
    spec.init_containers = [
        resized(c) if c.restart_policy == "Always" else c for c in spec.init_containers
    ]
    if spec.resources is not None and status.resources is not None:
        pod_level = taken(spec.resources.requests, status.resources, status.allocated_resources)
        pod_level.requests = {
            name: pod_level.requests.get(name, _ZERO) for name in spec.resources.requests
        }
        spec.resources = pod_level
    return requests_of(spec, least)


def ports_of(spec: core_v1.PodSpec) -> tuple[Port, ...]:
    """The host ports that a pod takes; the address 0.0.0.0 is all of the node's."""
    containers = [
        *spec.containers,
        *(c for c in spec.init_containers if c.restart_policy == "Always"),
    ]
    return tuple(
        (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)
        for container in containers
        for port in container.ports
        if port.host_port
    )


def clash(left: Port, right: Port) -> bool:
    return left[1:] == right[1:] and (left[0] == right[0] or "0.0.0.0" in (left[0], right[0]))
