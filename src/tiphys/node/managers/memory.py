"""The memory manager with the policy ``Static``: containers of guaranteed pods are pinned to the
NUMA nodes whose memory they were promised (upstream's `pkg/kubelet/cm/memorymanager`).

A NUMA node belongs to containers of that node alone, or to one group of nodes that containers hold
together, never to both: the kernel would else take memory of the group away from the single ones.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

from tiphys.api import core_v1
from tiphys.machinery import quantity
from tiphys.node.managers.alignment import AllocationError, EndingInits, containers_of, is_sidecar
from tiphys.node.managers.checkpoint import CheckpointError
from tiphys.node.managers.cpus import has_pod_resources
from tiphys.node.managers.hints import Hint, Hints, Mask, breadth, mask_of, masks, nodes_of
from tiphys.node.managers.memorystate import Block, Machine, MemoryState, NodeMemory, Table
from tiphys.node.managers.topology import Topology

MEMORY, HUGE = "memory", "hugepages-"
Amounts = dict[str, int]  # bytes by resource
Reserved = Mapping[int, Mapping[str, int]]  # bytes by NUMA node and resource


def memory_of(container: core_v1.Container) -> Amounts:
    """What a container asks for, in bytes."""
    return {
        name: quantity.ceil_units(amount)
        for name, amount in container.resources.requests.items()
        if name == MEMORY or name.startswith(HUGE)
    }


def memory_of_pod(spec: core_v1.PodSpec) -> Amounts:
    """At its neediest moment, of what its main containers ask for."""
    mains = Amounts()
    sidecars = Amounts()
    peak = Amounts()
    for container in spec.init_containers:
        for name, amount in memory_of(container).items():
            if is_sidecar(container):
                sidecars[name] = sidecars.get(name, 0) + amount
            else:
                peak[name] = max(peak.get(name, 0), sidecars.get(name, 0) + amount)
    for container in spec.containers:
        for name, amount in memory_of(container).items():
            mains[name] = mains.get(name, 0) + amount
    return {
        name: max(amount + sidecars.get(name, 0), peak.get(name, 0))
        for name, amount in mains.items()
    }


class MemoryManager:
    """A hint provider."""

    def __init__(self, topology: Topology, state: MemoryState, reserved: Reserved) -> None:
        """Raises ValueError where nothing is reserved, CheckpointError where the state is of
        another machine or other settings."""
        if not any(amounts.get(MEMORY, 0) for amounts in reserved.values()):
            raise ValueError("[memorymanager] you should specify the system reserved memory")
        self._state = state
        self._ending = EndingInits()
        # Of the pod that is being let in, by its uid: how much init containers that ended leave,
        # and the blocks that it is in.
        self._reusable: dict[str, dict[tuple[Mask, str], int]] = {}
        self._handed_on: dict[str, list[Block]] = {}
        empty = _machine(topology, reserved)
        if not state.machine:
            if state.assigned:
                raise CheckpointError(
                    "[memorymanager] machine state can not be empty when it has memory assignments"
                )
            state.machine = empty
        elif not _are_equal(_expected(empty, state), state.machine):
            raise CheckpointError(
                "[memorymanager] the expected machine state is different from the real one"
            )

    def nodes(self, uid: str, container: str) -> list[int]:
        """The NUMA nodes that a container's memory comes from; none where it does not matter."""
        blocks = self._state.assigned.get(uid, {}).get(container, [])
        return sorted({node for block in blocks for node in block.numa_affinity})

    def blocks(self, uid: str, container: str) -> list[Block]:
        return self._state.assigned.get(uid, {}).get(container, [])

    def allocatable(self) -> list[tuple[int, str, int]]:
        """(NUMA node, type, bytes) of what containers can have."""
        return [
            (number, kind, table.allocatable)
            for number, node in sorted(self._state.machine.items())
            for kind, table in node.memory_map.items()
            if table.allocatable
        ]

    def holders(self) -> set[str]:
        """The uids of pods of which a container is pinned."""
        return set(self._state.assigned)

    def release(self, uid: str) -> None:
        """What the pod had is free again."""
        self._reusable.pop(uid, None)
        self._handed_on.pop(uid, None)
        for blocks in self._state.assigned.pop(uid, {}).values():
            for block in blocks:
                self._give_back(block)

    def _give_back(self, block: Block) -> None:
        left = block.size
        for number in block.numa_affinity:
            node = self._state.machine[number]
            node.number_of_assignments -= 1
            if node.number_of_assignments == 0:
                node.cells = [number]
            left = node.take_back(block.type, left)

    def save(self) -> None:
        """Raises OSError."""
        self._state.save()

    # --- allocation ---

    def allocate(self, pod: core_v1.Pod, container: core_v1.Container, affinity: Hint) -> None:
        if not _is_pinned(pod):
            return
        uid = pod.metadata.uid
        blocks = self._state.assigned.get(uid, {}).get(container.name)
        if blocks is None:
            wanted = memory_of(container)
            nodes = nodes_of(self._choose(pod, wanted, affinity))
            blocks = [Block(nodes, resource, size) for resource, size in wanted.items()]
            for block in blocks:
                self._reserve(uid, block)
            self._shrink_init_blocks(uid, blocks)
            self._state.assigned.setdefault(uid, {})[container.name] = blocks
        self._note_reusable(pod, container, blocks)

    def _choose(self, pod: core_v1.Pod, wanted: Amounts, affinity: Hint) -> Mask:
        """The NUMA nodes of a container. Raises AllocationError."""
        chosen = affinity
        if affinity.nodes is None:
            chosen = self._best(pod, wanted, 0)
            if affinity.preferred and not chosen.preferred:
                raise _failure("failed to find the default preferred hint")
        assert chosen.nodes is not None
        if not self._has_room(chosen.nodes, wanted):
            wider = self._best(pod, wanted, chosen.nodes)
            if chosen.preferred and not wider.preferred:
                raise _failure("failed to find the extended preferred hint")
            chosen = wider
        assert chosen.nodes is not None
        is_single = chosen.nodes.bit_count() == 1
        if not is_single and not self._is_one_group(chosen.nodes):
            raise _failure("preferred hint violates NUMA node allocation")
        return chosen.nodes

    def _best(self, pod: core_v1.Pod, wanted: Amounts, within: Mask) -> Hint:
        """The best set of nodes that has room and all nodes of `within`. Raises
        AllocationError."""
        hints = [
            hint
            for hint in self._hints(pod, wanted)
            if hint.nodes is not None and within & ~hint.nodes == 0
        ]
        if not hints and within:
            raise _failure("failed to find NUMA nodes to extend the current topology hint")
        if not hints:
            raise _failure(
                "failed to get the default NUMA affinity, no NUMA nodes with enough memory is "
                "available"
            )
        return min(hints, key=lambda hint: (not hint.preferred, *breadth(hint.nodes or 0)))

    def _has_room(self, mask: Mask, wanted: Amounts) -> bool:
        machine = self._state.machine
        return all(
            _sum_free(machine, nodes_of(mask), name) >= size for name, size in wanted.items()
        )

    def _is_one_group(self, mask: Mask) -> bool:
        """Whether no node of a set is already held alone, or in another set."""
        nodes = nodes_of(mask)
        for number in nodes:
            node = self._state.machine[number]
            if node.number_of_assignments and sorted(node.cells) != nodes:
                return False
        return True

    def _reserve(self, uid: str, block: Block) -> None:
        again = self._reusable.get(uid, {}).get((mask_of(block.numa_affinity), block.type), 0)
        left = max(0, block.size - again)
        for number in block.numa_affinity:
            node = self._state.machine[number]
            node.number_of_assignments += 1
            node.cells = list(block.numa_affinity)
            left = node.give(block.type, left)

    def _note_reusable(
        self, pod: core_v1.Pod, container: core_v1.Container, blocks: Sequence[Block]
    ) -> None:
        """An init container has ended when the next container starts, which may have its
        memory."""
        uid = pod.metadata.uid
        reusable = self._reusable.get(uid, {})
        ends = self._ending.has(pod, container)
        if ends:
            self._handed_on.setdefault(uid, []).extend(blocks)
        for block in blocks:
            key = (mask_of(block.numa_affinity), block.type)
            before = reusable.get(key, 0)
            reusable[key] = max(before, block.size) if ends else max(0, before - block.size)
        self._reusable = {uid: reusable}

    def _shrink_init_blocks(self, uid: str, blocks: Iterable[Block]) -> None:
        """What a container has of the init containers before it is counted once."""
        for block in blocks:
            left = block.size
            for earlier in self._handed_on.get(uid, []):
                is_same = (
                    earlier.type == block.type and earlier.numa_affinity == block.numa_affinity
                )
                if is_same:
                    taken = min(left, earlier.size)
                    earlier.size -= taken
                    left -= taken
        handed_on = [earlier for earlier in self._handed_on.get(uid, []) if earlier.size]
        self._handed_on = {uid: handed_on}

    # --- hints ---

    def container_hints(self, pod: core_v1.Pod, container: core_v1.Container) -> Hints:
        if not _is_pinned(pod):
            return {}
        wanted = memory_of(container)
        blocks = self._state.assigned.get(pod.metadata.uid, {}).get(container.name)
        if blocks is not None:
            return _hints_of(blocks, wanted)
        return self._by_resource(pod, wanted)

    def pod_hints(self, pod: core_v1.Pod) -> Hints:
        if not _is_pinned(pod):
            return {}
        wanted = memory_of_pod(pod.spec)
        if not wanted:
            return {}
        own = self._state.assigned.get(pod.metadata.uid, {})
        for container in containers_of(pod.spec):
            if container.name in own:
                return _hints_of(own[container.name], wanted)
        return self._by_resource(pod, wanted)

    def _by_resource(self, pod: core_v1.Pod, wanted: Amounts) -> Hints:
        hints = self._hints(pod, wanted)
        return dict.fromkeys(wanted, hints) if hints else {}

    def _hints(self, pod: core_v1.Pod, wanted: Amounts) -> list[Hint]:
        """Every set of nodes that has as much free and may be one group; preferred are those of as
        many nodes as it takes at least on an empty machine."""
        machine = self._state.machine
        fewest = len(machine)
        sufficient: list[Mask] = []
        for mask in masks(machine):
            nodes = nodes_of(mask)
            if any(_sum_allocatable(machine, nodes, r) < size for r, size in wanted.items()):
                continue
            fewest = min(fewest, len(nodes))
            if not self._is_one_group(mask):
                continue
            again = self._reusable.get(pod.metadata.uid, {})
            if all(
                _sum_free(machine, nodes, name) + again.get((mask, name), 0) >= size
                for name, size in wanted.items()
            ):
                sufficient.append(mask)
        return [Hint(mask, mask.bit_count() == fewest) for mask in sufficient]


def _is_pinned(pod: core_v1.Pod) -> bool:
    return pod.status.qos_class == "Guaranteed" and not has_pod_resources(pod)


def _failure(text: str) -> AllocationError:
    return AllocationError(f"[memorymanager] {text}")


def _hints_of(blocks: list[Block], wanted: Amounts) -> Hints:
    """Of what a container has already; none where that is not what it asks for."""
    if {block.type: block.size for block in blocks} != wanted:
        return {}
    return {block.type: [Hint(mask_of(block.numa_affinity), True)] for block in blocks}


def _sum_free(machine: Machine, nodes: Iterable[int], resource: str) -> int:
    tables = (machine[node].memory_map.get(resource) for node in nodes)
    return sum(table.free for table in tables if table is not None)


def _sum_allocatable(machine: Machine, nodes: Iterable[int], resource: str) -> int:
    tables = (machine[node].memory_map.get(resource) for node in nodes)
    return sum(table.allocatable for table in tables if table is not None)


# --- what a machine has ---


def _machine(topology: Topology, reserved: Reserved) -> Machine:
    """With no memory allocated."""
    machine: Machine = {}
    for number, node in topology.nodes.items():
        own = reserved.get(number, {})
        tables = {name: _table(total, own.get(name, 0)) for name, total in node.hugepages.items()}
        tables[MEMORY] = _table(node.memory, own.get(MEMORY, 0), sum(node.hugepages.values()))
        machine[number] = NodeMemory(0, tables, [number])
    return machine


def _table(total: int, reserved: int, elsewhere: int = 0) -> Table:
    allocatable = max(0, total - reserved - elsewhere)
    return Table(total, reserved, allocatable, 0, allocatable)


def _expected(empty: Machine, state: MemoryState) -> Machine:
    """What the machine would have with the state's blocks given. Raises CheckpointError."""
    machine = copy.deepcopy(empty)
    for uid, containers in state.assigned.items():
        for name, blocks in containers.items():
            for block in blocks:
                _give(machine, block, f"[memorymanager] (pod: {uid}, container: {name})")
    return machine


def _give(machine: Machine, block: Block, whose: str) -> None:
    left = block.size
    for number in block.numa_affinity:
        node = machine.get(number)
        if node is None:
            raise CheckpointError(
                f"{whose} the memory assignment uses the NUMA that does not exist"
            )
        if block.type not in node.memory_map:
            raise CheckpointError(
                f"{whose} the memory assignment uses memory resource that does not exist"
            )
        node.number_of_assignments += 1
        node.cells = list(block.numa_affinity)
        left = node.give(block.type, left)


def _are_equal(one: Machine, other: Machine) -> bool:
    """Of groups of nodes the sums count: which node of one gave is decided by the order of
    releases."""
    if one.keys() != other.keys():
        return False
    return all(_facts(one, number) == _facts(other, number) for number in one)


def _facts(machine: Machine, number: int) -> object:
    node = machine[number]
    cells = [cell for cell in node.cells if cell in machine]
    tables = {
        name: (
            table.total,
            table.system_reserved,
            table.allocatable,
            _sum_free(machine, cells, name),
        )
        for name, table in node.memory_map.items()
    }
    return node.number_of_assignments, sorted(node.cells), tables


def reserved_memory(
    topology: Topology,
    reservations: Iterable[tuple[int, Mapping[str, int]]],
    total: Mapping[str, int],
) -> Reserved:
    """The reservations by NUMA node, whose sums must be what is kept back of the node's `total`
    (bytes by resource). Raises ValueError."""
    reserved: dict[int, dict[str, int]] = {}
    sums: dict[str, int] = {}
    for number, amounts in reservations:
        if number not in topology.nodes:
            raise ValueError(
                "the reserved memory configuration references a NUMA node "
                f"{number} that does not exist on this machine"
            )
        reserved.setdefault(number, {}).update(amounts)
        for name, amount in amounts.items():
            sums[name] = sums.get(name, 0) + amount
    for name in sorted(
        {*sums, *(resource for resource in total if resource == MEMORY or HUGE in resource)}
    ):
        if sums.get(name, 0) != total.get(name, 0):
            raise ValueError(
                f'the total amount "{sums.get(name, 0)}" of type "{name}" is not equal to the '
                f'value "{total.get(name, 0)}" determined by Node Allocatable feature'
            )
    return reserved
