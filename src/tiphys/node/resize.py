"""Resizing in place: what a pod is let have, what its containers have been given, and what is left to do about it.

A wish (the spec) becomes an allocation when the node has room for it; an allocation becomes fact when the runtime has
changed the container, or the container has been started anew, as its resize policy says. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery.footprint import units
from tiphys.node.admission import Footprint
from tiphys.node.runtime import RUNNING, PodState

Requirements = core_v1.ResourceRequirements
PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"  # conditions
_RESIZABLE = ("cpu", "memory")


def resizable(spec: core_v1.PodSpec) -> list[Any]:
    """Containers that may be resized: all but init containers that run once, and ephemeral ones."""
    return [*spec.containers, *(c for c in spec.init_containers if c.restart_policy == "Always")]


def shortage(
    pod: Footprint, others: Iterable[Footprint], allocatable: Mapping[str, str]
) -> tuple[str, str] | None:
    """Why (reason, message) a pod cannot be as large as `pod` on a node that also holds `others`; None: it can."""
    others = list(others)
    for name in _RESIZABLE:
        asked, room = pod.requests.get(name, 0), units(name, allocatable[name])
        if asked > room:
            return (
                "Infeasible",
                f"Node didn't have enough capacity: {name}, requested: {asked}, capacity: {room}",
            )
        used = sum(other.requests.get(name, 0) for other in others)
        if used + asked > room:
            text = f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {room}"
            return "Deferred", text
    return None


class Resources:
    """The resources of one pod's containers, by name. Starts from what the status tells: the node may be new here."""

    def __init__(self, pod: core_v1.Pod) -> None:
        told = {
            s.name: s for s in [*pod.status.container_statuses, *pod.status.init_container_statuses]
        }
        self.allocated: dict[str, Requirements] = {}
        self._given: dict[
            str, tuple[str, Requirements]
        ] = {}  # name → (container's id, what it has)
        self.pending: tuple[str, str] | None = None  # (reason, message) while a wish waits
        self.error = ""  # why an allocation could not be made fact
        self.renewing: set[str] = set()  # containers that end to be started with other resources
        for container in resizable(pod.spec):
            status, wish = told.get(container.name), container.resources
            if status is None or status.resources is None:
                self.allocated[container.name] = wish
                continue
            allocated = copy.copy(wish)
            allocated.requests = status.allocated_resources or status.resources.requests
            allocated.limits = status.resources.limits
            self.allocated[container.name] = allocated
            if status.container_id:
                self._given[container.name] = (
                    status.container_id.partition("://")[2],
                    status.resources,
                )

    def wishes(self, pod: core_v1.Pod) -> dict[str, Requirements]:
        return {container.name: container.resources for container in resizable(pod.spec)}

    def allocate(self, pod: core_v1.Pod) -> None:
        """The pod is let have what it wishes for."""
        self.allocated, self.pending = self.wishes(pod), None

    def of(self, container: Any) -> Any:
        """A container with what it is let have."""
        allocated = self.allocated.get(container.name)
        if allocated is None or allocated == container.resources:
            return container
        made = copy.copy(container)
        made.resources = allocated
        return made

    def spec(self, pod: core_v1.Pod) -> core_v1.PodSpec:
        """The pod's spec with what it is let have."""
        spec = copy.copy(pod.spec)
        spec.containers = [self.of(c) for c in spec.containers]
        spec.init_containers = [self.of(c) for c in spec.init_containers]
        return spec

    def give(self, name: str, id: str, resources: Requirements) -> None:
        """A container has been started or changed with these resources."""
        self._given[name] = id, resources

    def actual(self, name: str, id: str) -> Requirements | None:
        """What a container has; None when it is not known to have anything else than it is let have."""
        given = self._given.get(name)
        return given[1] if given is not None and given[0] == id else None

    def unfinished(self, pod: core_v1.Pod, state: PodState) -> list[tuple[Any, str, bool]]:
        """(container with what it is to have, its id, whether it must be started anew for that) of those that run with
        something else."""
        found = []
        for container in resizable(pod.spec):
            running = state.containers.get(container.name)
            if running is None or running.state != RUNNING:
                continue
            actual, target = (
                self.actual(container.name, running.id),
                self.allocated.get(container.name),
            )
            if actual is not None and target is not None and (changed := _changed(actual, target)):
                restarts = {
                    p.resource_name
                    for p in container.resize_policy
                    if p.restart_policy == "RestartContainer"
                }
                found.append((self.of(container), running.id, bool(changed & restarts)))
        return found

    def conditions(self, pod: core_v1.Pod, state: PodState) -> list[tuple[str, str, str]]:
        """(type, reason, message) of the conditions that hold."""
        found = [(PENDING, *self.pending)] if self.pending is not None else []
        if self.renewing or self.unfinished(pod, state):
            found.append((IN_PROGRESS, "Error" if self.error else "", self.error))
        return found


def _changed(actual: Requirements, target: Requirements) -> set[str]:
    return {
        name
        for name in _RESIZABLE
        if (actual.requests.get(name), actual.limits.get(name))
        != (target.requests.get(name), target.limits.get(name))
    }
