"""The CPU manager with the policy ``static``: containers of guaranteed pods that ask for whole CPUs
get them for themselves; all others run on the shared pool, which has what is left
(upstream's `pkg/kubelet/cm/cpumanager/policy_static.go`)."""

from __future__ import annotations

import math

from tiphys.api import core_v1
from tiphys.machinery import quantity
from tiphys.node.managers.alignment import AllocationError, EndingInits, containers_of, is_sidecar
from tiphys.node.managers.assignment import NotEnoughCPUs, take
from tiphys.node.managers.checkpoint import CheckpointError
from tiphys.node.managers.cpusets import NONE, CPUSet, written
from tiphys.node.managers.cpustate import CPUState
from tiphys.node.managers.distribution import distribute
from tiphys.node.managers.hints import Hint, Hints, Mask, mask_of, masks, nodes_of
from tiphys.node.managers.options import CPUOptions
from tiphys.node.managers.topology import Topology


def whole_cpus(pod: core_v1.Pod, container: core_v1.Container) -> int:
    """How many CPUs a container is to have for itself; 0 if it shares. Pods that ask for resources
    as a whole share (upstream's gate PodLevelResourceManagers is off)."""
    if pod.status.qos_class != "Guaranteed" or has_pod_resources(pod):
        return 0
    milli_cpu = quantity.milli(container.resources.requests.get("cpu", "0"))
    return 0 if milli_cpu % 1000 else milli_cpu // 1000


def has_pod_resources(pod: core_v1.Pod) -> bool:
    own = pod.spec.resources
    return own is not None and bool(own.requests or own.limits)


def whole_cpus_of_pod(pod: core_v1.Pod) -> int:
    """At its neediest moment: all containers that run together, or an init container beside the
    sidecars before it."""
    sidecars = peak = 0
    for container in pod.spec.init_containers:
        wanted = whole_cpus(pod, container)
        if is_sidecar(container):
            sidecars += wanted
        else:
            peak = max(peak, sidecars + wanted)
    return max(peak, sidecars + sum(whole_cpus(pod, main) for main in pod.spec.containers))


class CPUManager:
    """A hint provider.

    reserved: CPUs that no container gets exclusively
    """

    def __init__(
        self, topology: Topology, state: CPUState, settings: CPUOptions, reserved: CPUSet
    ) -> None:
        """Raises CheckpointError: the state is of another machine or other settings."""
        self._topology = topology
        self._state = state
        self._settings = settings
        self.reserved = reserved
        cores = (topology.layout[cpu].core for cpu in reserved)
        self._reserved_cores = topology.layout.within("core", *cores)
        self._ending = EndingInits()
        self._reusable: dict[str, CPUSet] = {}  # of init containers that ended, by pod uid
        self._check_state()

    def _check_state(self) -> None:
        state = self._state
        every = self._topology.cpus
        if not state.shared and not state.assigned:
            state.shared = every - self.reserved if self._settings.keep_strict else every
            return
        if problem := self._problem_of_state():
            text = "invalid state, please drain node and remove policy state file"
            raise CheckpointError(f"{problem}: {text}")

    def _problem_of_state(self) -> str:
        state = self._state
        reserved = self.reserved
        if not state.shared:
            return "default cpuset cannot be empty"
        if self._settings.keep_strict and reserved & state.shared:
            return (
                f'some of strictly reserved cpus: "{written(reserved & state.shared)}" are present '
                f'in defaultCpuSet: "{written(state.shared)}"'
            )
        if not self._settings.keep_strict and not reserved <= state.shared:
            return (
                f'not all reserved cpus: "{written(reserved)}" are present in defaultCpuSet: '
                f'"{written(state.shared)}"'
            )
        for uid, containers in state.assigned.items():
            for name, cpus in containers.items():
                if cpus & state.shared:
                    return (
                        f'pod: {uid}, container: {name} cpuset: "{written(cpus)}" overlaps with '
                        f'default cpuset "{written(state.shared)}"'
                    )
        return self._problem_of_machine()

    def _problem_of_machine(self) -> str:
        """CPUs may have come or gone while the node was down."""
        expected = self._topology.cpus
        if self._settings.keep_strict:
            expected -= self.reserved
        known = self._state.shared | self._state.all_assigned()
        if known == expected:
            return ""
        return (
            f'current set of available CPUs "{written(expected)}" doesn\'t match with CPUs in state'
            f' "{written(known)}"'
        )

    # --- who has what ---

    @property
    def allocatable(self) -> CPUSet:
        """Those that containers may get for themselves."""
        return self._topology.cpus - self.reserved

    @property
    def shared(self) -> CPUSet:
        """Those that no container has for itself."""
        return self._state.shared

    def count_assigned(self) -> int:
        """CPUs that containers have for themselves: a main one may have an init container's."""
        owners = list(self._state.assigned.values())
        return len(frozenset().union(*(cpus for one in owners for cpus in list(one.values()))))

    def cpus(self, uid: str, container: str) -> CPUSet:
        """Those that a container may run on."""
        return self._state.assigned.get(uid, {}).get(container, self._state.shared)

    def has_own(self, uid: str, container: str) -> bool:
        return container in self._state.assigned.get(uid, {})

    def holders(self) -> set[str]:
        """The uids of pods of which a container has CPUs for itself."""
        return set(self._state.assigned)

    def release(self, uid: str) -> None:
        """What the pod had is shared again."""
        self._reusable.pop(uid, None)
        containers = self._state.assigned.pop(uid, {})
        self._state.shared = self._state.shared.union(*containers.values())

    def save(self) -> None:
        """Raises OSError."""
        self._state.save()

    @property
    def _available(self) -> CPUSet:
        return self._state.shared - self.reserved

    # --- allocation ---

    def allocate(self, pod: core_v1.Pod, container: core_v1.Container, affinity: Hint) -> None:
        count = whole_cpus(pod, container)
        if count == 0:
            return
        uid = pod.metadata.uid
        cpus = self._state.assigned.get(uid, {}).get(container.name)
        if cpus is None:
            self._check_cores(count)
            cpus = self._choose(count, affinity.nodes, self._reusable.get(uid, NONE))
            self._state.shared -= cpus
            self._state.assigned.setdefault(uid, {})[container.name] = cpus
        self._note_reusable(pod, container, cpus)

    def _check_cores(self, count: int) -> None:
        """Raises AllocationError where only whole cores are given and these are none."""
        if not self._settings.whole_cores:
            return
        per_core = self._topology.cpus_per_core
        if count % per_core:
            text = f"requested {count} cpus not multiple cpus per core = {per_core}"
            raise AllocationError(f"SMT Alignment Error: {text}", "SMTAlignmentError")
        free = len(self._state.shared - self._reserved_cores)
        if count > free:
            text = (
                f"not enough free physical CPUs: available physical CPUs = {free}, "
                f"requested CPUs = {count}, CPUs per core = {per_core}"
            )
            raise AllocationError(f"SMT Alignment Error: {text}", "SMTAlignmentError")

    def _choose(self, count: int, nodes: Mask | None, reusable: CPUSet) -> CPUSet:
        """Those of the NUMA nodes first. Raises AllocationError."""
        available = self._available | reusable
        chosen = NONE
        try:
            if nodes is not None:
                near = available & self._near(nodes)
                chosen = self._take(near, min(count, len(near)))
            return chosen | self._take(available - chosen, count - len(chosen))
        except NotEnoughCPUs as error:
            raise AllocationError(str(error)) from None

    def _near(self, nodes: Mask) -> CPUSet:
        """The CPUs of NUMA nodes, or of the sockets that these are on."""
        layout = self._topology.layout
        if not self._settings.by_socket:
            return layout.within("numa", *nodes_of(nodes))
        return layout.within("socket", *self._sockets(nodes))

    def _sockets(self, nodes: Mask) -> set[int]:
        layout = self._topology.layout
        found: set[int] = set()
        for numa in nodes_of(nodes):
            found |= layout.groups_within("socket", "numa", numa)
        return found

    def _take(self, available: CPUSet, count: int) -> CPUSet:
        """Raises NotEnoughCPUs."""
        if self._settings.spread:
            group = self._topology.cpus_per_core if self._settings.whole_cores else 1
            return distribute(self._topology, available, count, group)
        settings = self._settings
        return take(self._topology, available, count, settings.by_cache, settings.across_cores)

    def _note_reusable(self, pod: core_v1.Pod, container: core_v1.Container, cpus: CPUSet) -> None:
        """An init container has ended when the next one starts, which may have its CPUs."""
        uid = pod.metadata.uid
        reusable = self._reusable.get(uid, NONE)
        ends = self._ending.has(pod, container)
        self._reusable = {uid: reusable | cpus if ends else reusable - cpus}

    # --- hints ---

    def container_hints(self, pod: core_v1.Pod, container: core_v1.Container) -> Hints:
        count = whole_cpus(pod, container)
        if count == 0:
            return {}
        own = self._state.assigned.get(pod.metadata.uid, {}).get(container.name)
        if own is not None:
            return {"cpu": self._hints(own, NONE, count) if len(own) == count else []}
        reusable = self._reusable.get(pod.metadata.uid, NONE)
        return {"cpu": self._hints(self._available, reusable, count)}

    def pod_hints(self, pod: core_v1.Pod) -> Hints:
        count = whole_cpus_of_pod(pod)
        if count == 0:
            return {}
        own = self._state.assigned.get(pod.metadata.uid, {})
        for container in containers_of(pod.spec):
            if container.name in own and len(own[container.name]) != whole_cpus(pod, container):
                return {"cpu": []}
        held = NONE.union(*own.values())
        if len(held) == count:
            return {"cpu": self._hints(held, NONE, count)}
        reusable = self._reusable.get(pod.metadata.uid, NONE) | held
        return {"cpu": self._hints(self._available, reusable, count)}

    def _hints(self, available: CPUSet, reusable: CPUSet, count: int) -> list[Hint]:
        """Every set of NUMA nodes that has as many free, with all that is to be used again;
        preferred are those of as many nodes as it takes at least on an empty machine."""
        layout = self._topology.layout
        numbers = sorted(layout.groups("numa"))
        free = {numa: len(available & layout.within("numa", numa)) for numa in numbers}
        again = {numa: len(reusable & layout.within("numa", numa)) for numa in numbers}
        needed_nodes = mask_of(numa for numa in numbers if again[numa])
        fewest = len(numbers)
        sufficient: list[Mask] = []
        for mask in masks(numbers):
            nodes = nodes_of(mask)
            if sum(len(layout.within("numa", numa)) for numa in nodes) >= count:
                fewest = min(fewest, len(nodes))
            enough = sum(free[numa] + again[numa] for numa in nodes) >= count
            if enough and needed_nodes & ~mask == 0:
                sufficient.append(mask)
        return [Hint(mask, self._is_preferred(mask, fewest)) for mask in sufficient]

    def _is_preferred(self, nodes: Mask, fewest: int) -> bool:
        """Those of as few NUMA nodes as can be or, by sockets, on as few of these."""
        if nodes.bit_count() == fewest:
            return True
        per_socket = self._topology.numa_nodes // self._topology.sockets
        if not self._settings.by_socket or not per_socket:
            return False
        return len(self._sockets(nodes)) == -(-fewest // per_socket)


def reserve(topology: Topology, settings: CPUOptions, explicit: CPUSet, milli_cpu: int) -> CPUSet:
    """The CPUs that no container gets exclusively: those named, or as many as are reserved, rounded
    up. Raises ValueError."""
    if not milli_cpu:
        raise ValueError(
            "[cpumanager] the static policy requires systemreserved.cpu + kubereserved.cpu to be "
            "greater than zero"
        )
    count = math.ceil(milli_cpu / 1000)
    chosen = explicit
    if not explicit and count <= len(topology.cpus):
        per_core = topology.cpus_per_core if settings.whole_cores else 1
        if settings.spread:
            chosen = distribute(topology, topology.cpus, count, per_core)
        else:
            chosen = take(topology, topology.cpus, count, settings.by_cache, settings.across_cores)
    if len(chosen) != count:
        raise ValueError(
            "[cpumanager] unable to reserve the required amount of CPUs (size of "
            f"{written(chosen)} did not equal {count})"
        )
    if unknown := chosen - topology.cpus:
        raise ValueError(
            "[cpumanager] unable to build the reserved physical CPUs from the reserved set: "
            f"unknown CPU ID: {min(unknown)}"
        )
    return chosen
