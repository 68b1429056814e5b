"""Which CPUs a container gets of those that are free: the fewest sockets, NUMA nodes and cores that
can be, as upstream's accumulator takes them (`pkg/kubelet/cm/cpumanager/cpu_assignment.go`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.node.managers.cpusets import NONE, CPUSet
from tiphys.node.managers.topology import Topology


class NotEnoughCPUs(Exception):
    """There are fewer free CPUs than were asked for."""

    def __init__(self, wanted: int, available: int) -> None:
        super().__init__(
            "not enough cpus available to satisfy request: "
            f"requested={wanted}, available={available}"
        )


def take(
    topology: Topology,
    available: CPUSet,
    count: int,
    by_cache: bool = False,
    across_cores: bool = False,
) -> CPUSet:
    """`count` CPUs, packed together: whole sockets and NUMA nodes first, then, with `by_cache`,
    those behind as few last-level caches as possible, then whole cores, then what is left of
    cores that others use already. `across_cores`: instead of whole cores, CPUs of a socket in the
    order of their numbers, which are of other cores first. Raises NotEnoughCPUs."""
    accumulator = Accumulator(topology, available, count)
    accumulator.check()
    for level in accumulator.outer:
        accumulator.take_full(level)
    if by_cache:
        accumulator.take_caches()
    if across_cores:
        accumulator.take_across_cores()
        return accumulator.taken
    accumulator.take_full("core")
    accumulator.take_rest()
    return accumulator.taken


class Accumulator:
    """CPUs that are taken, of those that are free.

    outer: the levels above cores, from the one that has more CPUs: NUMA nodes and sockets
    needed: how many are to be taken yet
    """

    def __init__(self, topology: Topology, available: CPUSet, count: int) -> None:
        self._topology = topology
        self.free = topology.layout.keep(available)
        self.needed = count
        self.taken: CPUSet = NONE
        numa_is_outer = topology.sockets >= topology.numa_nodes
        self.outer = ("numa", "socket") if numa_is_outer else ("socket", "numa")

    def check(self) -> None:
        """Raises NotEnoughCPUs."""
        if self.needed > len(self.free):
            raise NotEnoughCPUs(self.needed, len(self.free))

    # --- taking ---

    def take(self, cpus: Iterable[int]) -> None:
        cpus = frozenset(cpus)
        self.taken |= cpus
        self.free = self.free.keep(self.free.keys() - cpus)
        self.needed -= len(cpus)

    def take_full(self, level: str) -> None:
        """Groups of which every CPU is free, as long as that many are needed."""
        if self.needed < 1:
            return
        layout = self._topology.layout
        for number in [
            candidate for candidate in self.ordered(level) if self._is_free(level, candidate)
        ]:
            cpus = layout.within(level, number)
            if self.needed >= len(cpus):
                self.take(cpus)

    def _is_free(self, level: str, number: int) -> bool:
        free = len(self.free.within(level, number))
        if level == "core":  # of machines with cores of several kinds, upstream takes the average
            return free == self._topology.cpus_per_core
        if level == "socket":
            return free == self._topology.cpus_per_socket
        return free == len(self._topology.layout.within(level, number))

    def take_caches(self) -> None:
        """Whole caches while that many CPUs are needed, then cores behind one cache that hold the
        rest."""
        for cache in self.ordered("cache"):
            if self.needed >= self._topology.cpus_per_cache:
                self.take_full("cache")
            if self.needed < 1:
                return
            self._take_part_of_cache(cache)
            if self.needed < 1:
                return

    def _take_part_of_cache(self, cache: int) -> None:
        """The cores that hold what is needed, unless the cache has too few of them."""
        per_core = self._topology.cpus_per_core
        wanted = -(-self.needed // per_core)
        cores = sorted(self.free.groups_within("core", "cache", cache))[:wanted]
        cpus = sorted(self.free.within("core", *cores))
        if self.needed % 2 and per_core > 1 and len(cpus) > self.needed:
            cpus = cpus[:-1]  # one thread of the last core stays free
        if len(cpus) == self.needed:
            self.take(cpus)

    def take_rest(self) -> None:
        """Single CPUs, of the cores first that have the fewest free ones."""
        if self.needed > 0:
            self.take(self._ordered_cpus()[: self.needed])

    def take_across_cores(self) -> None:
        """Single CPUs, socket by socket, by their numbers."""
        cpus = [
            cpu
            for socket in self.ordered("socket")
            for cpu in sorted(self.free.within("socket", socket))
        ]
        if self.needed > 0:
            self.take(cpus[: self.needed])

    # --- the order of groups ---

    def ordered(self, level: str) -> list[int]:
        """The groups that have free CPUs: those first of which fewer are free, within groups that
        are in this order themselves."""
        outer, inner = self.outer
        if level == outer:
            return self._by_free(level, self.free.groups(level))
        above = {inner: outer, "core": inner, "cache": "numa"}[level]
        return [
            number
            for group in self.ordered(above)
            for number in self._by_free(level, self.free.groups_within(level, above, group))
        ]

    def _by_free(self, level: str, numbers: Iterable[int]) -> list[int]:
        def key(number: int) -> tuple[int, int]:
            return len(self.free.within(level, number)), number

        return sorted(numbers, key=key)

    def _ordered_cpus(self) -> list[int]:
        return [
            cpu for core in self.ordered("core") for cpu in sorted(self.free.within("core", core))
        ]
