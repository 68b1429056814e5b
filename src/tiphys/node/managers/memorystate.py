"""Which memory is whose: what each NUMA node has, and blocks of single containers. Kept in a
file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tiphys.node.managers import checkpoint
from tiphys.node.managers.checkpoint import CheckpointError

FILE = "memory_manager_state"  # upstream's name


class Table(msgspec.Struct, rename="camel"):
    """Bytes of one kind of memory of a NUMA node."""

    total: int
    system_reserved: int
    allocatable: int
    reserved: int
    free: int


class NodeMemory(msgspec.Struct, rename="camel"):
    """
    number_of_assignments: how many blocks lie on this NUMA node
    memory_map:            by resource
    cells:                 the nodes that blocks across several of them hold together
    """

    number_of_assignments: int
    memory_map: dict[str, Table]
    cells: list[int]

    def give(self, resource: str, wanted: int) -> int:
        """Reserves as much as is free. Returns what is wanted beyond that."""
        table = self.memory_map[resource]
        taken = min(table.free, wanted)
        table.reserved += taken
        table.free -= taken
        return wanted - taken

    def take_back(self, resource: str, size: int) -> int:
        """Frees what is reserved. Returns what was not."""
        table = self.memory_map[resource]
        returned = min(table.reserved, size)
        table.reserved -= returned
        table.free += returned
        return size - returned


class Block(msgspec.Struct, rename="camel"):
    """Memory of one container: bytes that lie on some NUMA nodes."""

    numa_affinity: list[int]
    type: str
    size: int


Machine = dict[int, NodeMemory]
Assignments = dict[str, dict[str, list[Block]]]


@dataclass
class MemoryState:
    """
    machine:  what each NUMA node has
    assigned: blocks by pod uid and container name
    """

    path: Path
    policy: str
    machine: Machine = field(default_factory=dict)
    assigned: Assignments = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, policy: str) -> MemoryState:
        """Raises CheckpointError."""
        state = cls(path, policy)
        try:
            state._restore(checkpoint.read(path))
        except (ValueError, TypeError, OSError, msgspec.ValidationError) as error:
            raise CheckpointError(
                f"could not restore state from checkpoint: {error}, please drain this node and "
                f'delete the memory manager checkpoint file "{path}" before restarting Kubelet'
            ) from None
        return state

    def _restore(self, document: Mapping[str, Any] | None) -> None:
        if document is None:
            return
        self.machine = msgspec.convert(document.get("machinestate") or {}, Machine, strict=False)
        self.assigned = msgspec.convert(document.get("entries") or {}, Assignments)
        policy = document.get("policyname", "")
        checkpoint.verify(document, _printed(policy, self.machine, self.assigned))
        if policy != self.policy:
            raise ValueError(
                f'[memorymanager] configured policy "{self.policy}" differs from state checkpoint '
                f'policy "{policy}"'
            )

    def save(self) -> None:
        """Raises OSError."""
        document: dict[str, Any] = {
            "policyName": self.policy,
            "machineState": {
                str(number): msgspec.to_builtins(node) for number, node in self.machine.items()
            },
        }
        if self.assigned:
            document["entries"] = msgspec.to_builtins(self.assigned)
        printed = _printed(self.policy, self.machine, self.assigned)
        checkpoint.write(self.path, document, printed)


def _printed(policy: str, machine: Machine, assigned: Assignments) -> str:
    """As Go prints the value that the checksum is of."""
    nodes = " ".join(f"{number}:<*>{_node(node)}" for number, node in sorted(machine.items()))
    pods = " ".join(
        f"{uid}:map[{' '.join(f'{n}:[{_blocks(blocks)}]' for n, blocks in sorted(own.items()))}]"
        for uid, own in sorted(assigned.items())
    )
    return (
        f"(*state.MemoryManagerCheckpoint){{PolicyName:(string){policy} "
        f"MachineState:(state.NUMANodeMap)map[{nodes}] "
        f"Entries:(state.ContainerMemoryAssignments)map[{pods}] Checksum:(checksum.Checksum)0}}"
    )


def _node(node: NodeMemory) -> str:
    tables = " ".join(
        f"{resource}:<*>{{TotalMemSize:(uint64){table.total} "
        f"SystemReserved:(uint64){table.system_reserved} Allocatable:(uint64){table.allocatable} "
        f"Reserved:(uint64){table.reserved} Free:(uint64){table.free}}}"
        for resource, table in sorted(node.memory_map.items())
    )
    return (
        f"{{NumberOfAssignments:(int){node.number_of_assignments} "
        f"MemoryMap:(map[v1.ResourceName]*state.MemoryTable)map[{tables}] "
        f"Cells:([]int){_integers(node.cells)}}}"
    )


def _blocks(blocks: list[Block]) -> str:
    return " ".join(
        f"{{NUMAAffinity:([]int){_integers(block.numa_affinity)} "
        f"Type:(v1.ResourceName){block.type} Size:(uint64){block.size}}}"
        for block in blocks
    )


def _integers(numbers: list[int]) -> str:
    return f"[{' '.join(map(str, numbers))}]"
