"""The topology manager: asks for hints before a pod is let in, makes one of them, and has
everything allocated by it (upstream's `pkg/kubelet/cm/topologymanager`). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tiphys.api import core_v1
from tiphys.node.managers import options
from tiphys.node.managers.hints import (
    NOWHERE,
    Hint,
    Hints,
    Mask,
    breadth,
    flattened,
    mask_of,
    merged,
    nodes_of,
    single_node_only,
)
from tiphys.node.managers.options import TopologyOptions
from tiphys.node.managers.topology import Topology


class AllocationError(Exception):
    """Something cannot be allocated to a pod. `reason` as the pod's status shows it."""

    def __init__(self, message: str, reason: str = "") -> None:
        if not reason:
            reason = "UnexpectedAdmissionError"
            message = f"Allocate failed due to {message}, which is unexpected"
        super().__init__(message)
        self.reason = reason


class HintProvider(Protocol):
    """Who gives containers something that is near a NUMA node: cores, memory, devices."""

    def container_hints(self, pod: core_v1.Pod, container: core_v1.Container) -> Hints:
        """Where the container could have what it asks for."""
        ...

    def pod_hints(self, pod: core_v1.Pod) -> Hints:
        """Where all containers of the pod together could."""
        ...

    def allocate(self, pod: core_v1.Pod, container: core_v1.Container, affinity: Hint) -> None:
        """Gives the container what it asks for, once: it may have it already. Raises
        AllocationError."""
        ...


def is_sidecar(container: core_v1.Container) -> bool:
    return container.restart_policy == "Always"


def containers_of(spec: core_v1.PodSpec) -> list[core_v1.Container]:
    """Those that something is allocated to, in the order in which they start."""
    return [*spec.init_containers, *spec.containers]


class EndingInits:
    """The init containers that end before others start, by name: sidecars do not. Looked up for the
    pod that was asked about last, for it may have thousands."""

    def __init__(self) -> None:
        self._pod: core_v1.Pod | None = None
        self._names: frozenset[str] = frozenset()

    def has(self, pod: core_v1.Pod, container: core_v1.Container) -> bool:
        if pod is not self._pod:
            self._pod = pod
            inits = pod.spec.init_containers
            self._names = frozenset(init.name for init in inits if not is_sidecar(init))
        return container.name in self._names


class TopologyManager:
    """Raises ValueError for a machine of too many NUMA nodes, and where its policy needs distances
    that the machine does not report."""

    def __init__(
        self,
        topology: Topology,
        policy: str = options.NONE,
        scope: str = options.CONTAINER,
        settings: TopologyOptions = TopologyOptions(),
    ) -> None:
        self._policy = policy
        self._scope = scope
        self._everywhere = mask_of(topology.nodes)
        self._order: Callable[[Mask], tuple[float, ...]] = breadth
        self.providers: list[HintProvider] = []
        if policy == options.NONE:
            return
        if len(topology.nodes) > settings.most_nodes:
            raise ValueError(
                f"unsupported on machines with more than {settings.most_nodes} NUMA Nodes"
            )
        if settings.closest and policy != options.SINGLE_NODE:
            self._order = _closeness(topology)

    def allocate(self, pod: core_v1.Pod) -> None:
        """Raises AllocationError; what was allocated until then stays."""
        affinity = NOWHERE
        if self._policy != options.NONE and self._scope == options.POD:
            affinity = self._affinity([manager.pod_hints(pod) for manager in self.providers])
        for container in containers_of(pod.spec):
            if self._policy != options.NONE and self._scope == options.CONTAINER:
                hints = [manager.container_hints(pod, container) for manager in self.providers]
                affinity = self._affinity(hints)
            for provider in self.providers:
                provider.allocate(pod, container, affinity)

    def _affinity(self, hints: Sequence[Hints]) -> Hint:
        """Raises AllocationError."""
        lists = flattened(hints)
        if self._policy == options.SINGLE_NODE:
            lists = single_node_only(lists)
        best = merged(lists, self._everywhere, self._order)
        if self._policy != options.BEST_EFFORT and not best.preferred:
            message = "Resources cannot be allocated with Topology locality"
            raise AllocationError(message, "TopologyAffinityError")
        if self._policy == options.SINGLE_NODE and best.nodes == self._everywhere:
            return Hint(None, best.preferred)
        return best


def _closeness(topology: Topology) -> Callable[[Mask], tuple[float, ...]]:
    """Orders sets of nodes: fewer first, then those close to each other, then lower ones. Raises
    ValueError."""
    distances = {number: node.distances for number, node in topology.nodes.items()}
    if any(not row for row in distances.values()):
        raise ValueError("cannot discover NUMA topology: error getting NUMA distances")

    def order(mask: Mask) -> tuple[float, ...]:
        nodes = nodes_of(mask)
        total = sum(distances[node][other] for node in nodes for other in nodes)
        return len(nodes), total / len(nodes) ** 2, mask

    return order
