"""How a machine is built: CPUs in cores, caches, sockets and NUMA nodes, and the memory of each
node. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from tiphys.node.managers.cpusets import NONE, CPUSet


class CPU(NamedTuple):
    """Where one logical CPU sits. A core's number is that of its first CPU: the kernel's own is
    unique within a socket only. `cache` is the last-level (uncore) cache."""

    core: int
    socket: int
    numa: int
    cache: int


class NUMANode(NamedTuple):
    """
    memory:    bytes
    distances: to each node of the machine in the order of their numbers, as the firmware has them
    hugepages: bytes set aside, by resource: ``hugepages-2Mi``
    """

    memory: int
    distances: tuple[int, ...] = ()
    hugepages: Mapping[str, int] = {}


class Layout(Mapping[int, CPU]):
    """CPUs by number: all of a machine, or those that are free. Never changes."""

    def __init__(self, cpus: Mapping[int, CPU]) -> None:
        self._cpus = cpus
        self._groups: dict[str, dict[int, set[int]]] = {}

    def __getitem__(self, cpu: int) -> CPU:
        return self._cpus[cpu]

    def __iter__(self) -> Iterator[int]:
        return iter(self._cpus)

    def __len__(self) -> int:
        return len(self._cpus)

    def keep(self, cpus: Iterable[int]) -> Layout:
        kept = set(cpus)
        return Layout({cpu: where for cpu, where in self._cpus.items() if cpu in kept})

    def groups(self, level: str) -> Mapping[int, set[int]]:
        """The CPUs of each core, socket, NUMA node or cache (``core``, ...) that has one here."""
        groups = self._groups.get(level)
        if groups is None:  # 256 cores are asked for one by one
            groups = self._groups[level] = {}
            for cpu, where in self._cpus.items():
                groups.setdefault(getattr(where, level), set()).add(cpu)
        return groups

    def within(self, level: str, *numbers: int) -> CPUSet:
        """The CPUs in some cores, sockets, NUMA nodes or caches."""
        groups = self.groups(level)
        return NONE.union(*(groups.get(number, ()) for number in numbers))

    def groups_within(self, level: str, outer: str, number: int) -> set[int]:
        """As ``groups_within("core", "socket", 1)``: the cores of socket 1."""
        return {getattr(self._cpus[cpu], level) for cpu in self.within(outer, number)}


@dataclass(frozen=True)
class Topology:
    """A machine."""

    layout: Layout
    nodes: Mapping[int, NUMANode] = field(default_factory=dict)

    @cached_property
    def cpus(self) -> CPUSet:
        return frozenset(self.layout)

    @cached_property
    def cores(self) -> int:
        return len(self.layout.groups("core"))

    @cached_property
    def sockets(self) -> int:
        return len(self.layout.groups("socket"))

    @cached_property
    def numa_nodes(self) -> int:
        return len(self.layout.groups("numa"))

    @cached_property
    def caches(self) -> int:
        return len(self.layout.groups("cache"))

    @cached_property
    def cpus_per_core(self) -> int:
        return self._per(self.cores)

    @cached_property
    def cpus_per_socket(self) -> int:
        return self._per(self.sockets)

    @cached_property
    def cpus_per_cache(self) -> int:
        return self._per(self.caches)

    def _per(self, groups: int) -> int:
        return len(self.layout) // groups if groups else 0


def regular(
    sockets: int = 1,
    numa_per_socket: int = 1,
    cores: int = 1,
    threads: int = 1,
    cores_per_cache: int = 0,
    memory: int = 0,
) -> Topology:
    """A machine whose sockets are alike, its CPUs numbered as Linux does on most: first one thread
    of every core, then the second of each. `cores` of each NUMA node; one cache for
    `cores_per_cache` cores, 0 for one a socket; `memory` bytes of each NUMA node."""
    cpus: dict[int, CPU] = {}
    count = sockets * numa_per_socket * cores
    for core in range(count):
        numa = core // cores
        socket = numa // numa_per_socket
        cache = core // cores_per_cache if cores_per_cache else socket
        for thread in range(threads):
            cpus[core + thread * count] = CPU(core, socket, numa, cache)
    nodes = range(sockets * numa_per_socket)

    def distance(one: int, other: int) -> int:
        if one == other:
            return 10
        return 12 if one // numa_per_socket == other // numa_per_socket else 32

    return Topology(
        Layout(cpus),
        {node: NUMANode(memory, tuple(distance(node, other) for other in nodes)) for node in nodes},
    )
