"""Resizing containers in place: what the spec asks for, what the node has granted, and what the
containers have.

The spec's resources become an allocation when the node has room for them. The allocation becomes
actual when the runtime has changed the container or, where its resize policy wants that, when it
was restarted. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.machinery.footprint import units
from tiphys.node.containers.records import ActualResources, ContainerRecords
from tiphys.node.resources.admission import Footprint, Rejection
from tiphys.node.states import RUNNING, PodState

Requirements = core_v1.ResourceRequirements
PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"  # condition types
_RESIZABLE = ("cpu", "memory")


class ContainerResize(NamedTuple):
    """A running container that has other resources than it was granted.

    container: its spec with the resources that it is to have
    restarts: whether it must be restarted to get them
    """

    container: Any
    id: str
    restarts: bool


def resizable(spec: core_v1.PodSpec) -> list[Any]:
    """All but ephemeral ones."""
    return [*spec.containers, *spec.init_containers]


def without_cpu_limits(spec: core_v1.PodSpec) -> core_v1.PodSpec:
    """The spec of a pod of which a container has CPUs for itself: these are the limit, and a quota
    beside them would only hold it back (upstream)."""
    unlimited = copy.copy(spec)
    unlimited.containers = [_without_cpu_limit(container) for container in spec.containers]
    unlimited.init_containers = [
        _without_cpu_limit(container) for container in spec.init_containers
    ]
    return unlimited


def _without_cpu_limit(container: core_v1.Container) -> core_v1.Container:
    limits = {name: limit for name, limit in container.resources.limits.items() if name != "cpu"}
    unlimited = copy.copy(container)
    unlimited.resources = Requirements(requests=container.resources.requests, limits=limits)
    return unlimited


def shortage(
    pod: Footprint, others: Iterable[Footprint], allocatable: Mapping[str, str]
) -> Rejection | None:
    """Why a pod cannot grow to `pod` on a node that also holds `others`; None if it can.

    Infeasible is what the node never has room for; Deferred what it has not now.
    """
    others = list(others)
    for name in _RESIZABLE:
        requested = pod.requests.get(name, 0)
        total = units(name, allocatable[name])
        amounts = f"{name}, requested: {requested}"
        if requested > total:
            text = f"Node didn't have enough capacity: {amounts}, capacity: {total}"
            return Rejection("Infeasible", text)
        used = sum(other.requests.get(name, 0) for other in others)
        if used + requested > total:
            text = f"Node didn't have enough resource: {amounts}, used: {used}, capacity: {total}"
            return Rejection("Deferred", text)
    return None


class Resources:
    """The resources of one pod's containers, kept in their records, and of the pod as a whole where
    it asks for some.

    pending: why the spec's resources are not granted yet
    error: why the runtime did not apply granted ones
    allocated_to_pod, actual_of_pod: what the pod as a whole was granted and has
    """

    def __init__(self, pod: core_v1.Pod, records: ContainerRecords) -> None:
        """Starts from the pod's status: an agent before this one may have granted something."""
        self._records = records
        self.pending: Rejection | None = None
        self.error = ""
        self.allocated_to_pod = _granted_to_pod(pod)
        self.actual_of_pod = _actual_of_pod(pod)
        # Whether an agent has given the pod as a whole what it was granted, be it nothing.
        self._pod_has_its_own = any(s.container_id for s in pod.status.container_statuses)
        statuses = {
            status.name: status
            for status in [*pod.status.container_statuses, *pod.status.init_container_statuses]
        }
        for container in resizable(pod.spec):
            self._restore(container, statuses.get(container.name))

    def _restore(self, container: Any, status: core_v1.ContainerStatus | None) -> None:
        record = self._records[container.name]
        record.allocated = container.resources
        if status is None or status.resources is None:
            return
        record.allocated = copy.copy(container.resources)
        record.allocated.requests = status.allocated_resources or status.resources.requests
        record.allocated.limits = status.resources.limits
        if status.container_id:
            id = status.container_id.partition("://")[2]
            record.actual = ActualResources(id, status.resources, _limits(self.actual_of_pod))

    def are_granted(self, pod: core_v1.Pod) -> bool:
        """Whether the node has granted what the spec asks for."""
        return self.allocated_to_pod == pod.spec.resources and all(
            self._records[container.name].allocated == container.resources
            for container in resizable(pod.spec)
        )

    def grant(self, pod: core_v1.Pod) -> None:
        """Grants what the spec asks for."""
        self.pending = None
        self.allocated_to_pod = pod.spec.resources
        for container in resizable(pod.spec):
            self._records[container.name].allocated = container.resources

    def with_allocated(self, container: Any) -> Any:
        """The container's spec with the resources that it was granted."""
        allocated = self._records[container.name].allocated
        if allocated is None or allocated == container.resources:
            return container
        changed = copy.copy(container)
        changed.resources = allocated
        return changed

    def for_runtime(self, container: core_v1.Container) -> core_v1.Container:
        """The container's spec with the limits that hold for it: those of the pod as a whole where
        it has none itself (upstream)."""
        pod_limits = _limits(self.allocated_to_pod)
        if pod_limits.keys() <= container.resources.limits.keys():
            return container
        limited = copy.copy(container)
        limited.resources = _within(container.resources, pod_limits)
        return limited

    def allocated_spec(self, pod: core_v1.Pod) -> core_v1.PodSpec:
        """The pod's spec with the resources that were granted."""
        spec = copy.copy(pod.spec)
        spec.containers = [self.with_allocated(c) for c in spec.containers]
        spec.init_containers = [self.with_allocated(c) for c in spec.init_containers]
        spec.resources = self.allocated_to_pod
        return spec

    def pod_is_unfinished(self) -> bool:
        """Whether the pod as a whole does not have what it was granted."""
        if not self._pod_has_its_own or self.allocated_to_pod is None:
            return False
        return bool(_changed(self.actual_of_pod or Requirements(), self.allocated_to_pod))

    def pod_was_reserved(self) -> None:
        """The pod as a whole has what it was granted."""
        self.actual_of_pod = self.allocated_to_pod
        self._pod_has_its_own = True

    def set_actual(self, name: str, id: str, resources: Requirements) -> None:
        """The container was started or resized with these resources."""
        self._records[name].actual = ActualResources(id, resources, _limits(self.allocated_to_pod))

    def actual(self, name: str, id: str) -> Requirements | None:
        """What the container of this id has; None if nothing but its allocation is known."""
        actual = self._records[name].actual
        if actual is None or actual.container_id != id:
            return None
        return actual.resources

    def unfinished(self, pod: core_v1.Pod, state: PodState) -> list[ContainerResize]:
        """The running containers that do not have what they were granted."""
        resizes = []
        for container in resizable(pod.spec):
            current = state.containers.get(container.name)
            if current is None or current.state != RUNNING:
                continue
            actual = self._records[container.name].actual
            allocated = self._records[container.name].allocated
            if actual is None or actual.container_id != current.id or allocated is None:
                continue
            has = _within(actual.resources, actual.pod_limits)
            if changed := _changed(has, _within(allocated, _limits(self.allocated_to_pod))):
                restarts = bool(changed & _resources_that_restart(container))
                target = self.with_allocated(container)
                resizes.append(ContainerResize(target, current.id, restarts))
        return resizes

    def memory_that_shrinks(self, pod: core_v1.Pod, state: PodState) -> dict[str, int]:
        """Container → its new limit in bytes, of those that get less without a restart."""
        pod_limits = _limits(self.allocated_to_pod)
        shrinking = {}
        for container, _, restarts in self.unfinished(pod, state):
            actual = self._records[container.name].actual
            wanted = _within(container.resources, pod_limits).limits.get("memory")
            if restarts or actual is None or wanted is None:
                continue
            has = _within(actual.resources, actual.pod_limits).limits.get("memory")
            if has is None or units("memory", wanted) < units("memory", has):
                shrinking[container.name] = units("memory", wanted)
        return shrinking

    def are_restarting(self) -> bool:
        """Whether a container was ended to be started with other resources."""
        return any(record.restart_for_resize for record in self._records.values())

    def conditions(self, pod: core_v1.Pod, state: PodState) -> list[core_v1.PodCondition]:
        """Those that hold, with type, reason and message alone."""
        held = []
        if self.pending is not None:
            reason, message = self.pending
            held.append(core_v1.PodCondition(type=PENDING, reason=reason, message=message))
        is_unfinished = self.pod_is_unfinished() or bool(self.unfinished(pod, state))
        if self.are_restarting() or is_unfinished:
            reason = "Error" if self.error else ""
            held.append(core_v1.PodCondition(type=IN_PROGRESS, reason=reason, message=self.error))
        return held


def _granted_to_pod(pod: core_v1.Pod) -> Requirements | None:
    """What the pod as a whole was granted: an agent before this one may have granted something
    else than its spec asks for."""
    wanted = pod.spec.resources
    status = pod.status
    if wanted is None or status.resources is None:
        return wanted
    granted = copy.copy(wanted)
    granted.requests = _of_names(status.allocated_resources, wanted.requests)
    # While the pod has other limits than it was granted these are not in its status: those it has
    # are granted again, and the spec's from there.
    granted.limits = _of_names(status.resources.limits, wanted.limits)
    return granted


def _actual_of_pod(pod: core_v1.Pod) -> Requirements | None:
    wanted = pod.spec.resources
    shown = pod.status.resources
    if wanted is None or shown is None:
        return None
    actual = copy.copy(wanted)
    actual.requests = _of_names(shown.requests, wanted.requests)
    actual.limits = _of_names(shown.limits, wanted.limits)
    return actual


def _of_names(amounts: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A status has what containers ask for, too."""
    return {name: amount for name, amount in amounts.items() if name in wanted}


def _limits(resources: Requirements | None) -> Mapping[str, Any]:
    return resources.limits if resources is not None else {}


def _within(resources: Requirements, pod_limits: Mapping[str, Any]) -> Requirements:
    """What holds for a container of a pod that has limits as a whole."""
    if not pod_limits:
        return resources
    limits = {name: limit for name, limit in pod_limits.items() if name in _RESIZABLE}
    return Requirements(requests=resources.requests, limits={**limits, **resources.limits})


def _resources_that_restart(container: Any) -> set[str]:
    return {
        policy.resource_name
        for policy in container.resize_policy
        if policy.restart_policy == "RestartContainer"
    }


def _changed(actual: Requirements, target: Requirements) -> set[str]:
    changed = set()
    for name in _RESIZABLE:
        requests_differ = actual.requests.get(name) != target.requests.get(name)
        limits_differ = actual.limits.get(name) != target.limits.get(name)
        if requests_differ or limits_differ:
            changed.add(name)
    return changed
