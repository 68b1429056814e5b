"""Spreading a container's CPUs evenly over NUMA nodes where one does not hold them all: upstream's
policy option ``distribute-cpus-across-numa`` (KEP-2902). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from tiphys.node.managers.assignment import Accumulator, take
from tiphys.node.managers.cpusets import CPUSet
from tiphys.node.managers.topology import Topology


class _Spread(NamedTuple):
    """How CPUs are spread.

    imbalance: of what is left free on all nodes, as a standard deviation
    nodes:     each gives the same number of CPUs
    extra:     those that give one group more, in turns, until there are enough
    """

    imbalance: float
    nodes: tuple[int, ...]
    extra: tuple[int, ...]


def distribute(topology: Topology, available: CPUSet, count: int, group: int = 1) -> CPUSet:
    """`count` CPUs in groups of `group`, as evenly as possible over as few NUMA nodes as possible;
    packed where that cannot be. Raises NotEnoughCPUs."""
    if count % group:
        return take(topology, available, count)
    accumulator = Accumulator(topology, available, count)
    if count < 1:
        return accumulator.taken
    accumulator.check()
    ordered = accumulator.ordered("numa")
    free = {numa: len(accumulator.free.within("numa", numa)) for numa in ordered}
    fewest, most = _range(topology, len(ordered), count, group)
    for size in range(fewest, most + 1):
        if spread := _best(free, size, count, group):
            return _carry_out(accumulator, topology, spread, count, group)
    return take(topology, available, count)


def _range(topology: Topology, available: int, count: int, group: int) -> tuple[int, int]:
    """Over how many NUMA nodes CPUs may be spread: (fewest, most)."""
    groups = (len(topology.cpus) - 1) // group + 1
    per_node = (groups - 1) // topology.numa_nodes + 1
    needed = (count - 1) // group + 1
    return (needed - 1) // per_node + 1, min(needed, available)


def _best(free: Mapping[int, int], size: int, count: int, group: int) -> _Spread | None:
    best: _Spread | None = None
    for nodes in combinations(free, size):
        spread = _spread(free, nodes, count, group)
        if spread is not None and (best is None or spread.imbalance < best.imbalance):
            best = spread
        if best is not None and best.imbalance == 0:
            break
    return best


def _spread(
    free: Mapping[int, int], nodes: tuple[int, ...], count: int, group: int
) -> _Spread | None:
    """The evenest one over these nodes; None if they cannot give as much."""
    per_node = count // len(nodes) // group * group
    if sum(free[numa] // group for numa in nodes) * group < count:
        return None
    if any(free[numa] < per_node for numa in nodes):
        return None
    left = {numa: amount - per_node if numa in nodes else amount for numa, amount in free.items()}
    rest = count - per_node * len(nodes)
    if rest == 0:
        return _Spread(_imbalance(left), nodes, ())
    candidates = [numa for numa in nodes if left[numa] >= group]
    best: _Spread | None = None
    for size in range(len(candidates), 0, -1):
        for extra in combinations(candidates, size):
            after = _after(left, extra, rest, group)
            if after is None:
                continue
            imbalance = _imbalance(after)
            if best is None or imbalance < best.imbalance:
                best = _Spread(imbalance, nodes, extra)
    return best


def _after(
    left: Mapping[int, int], extra: Sequence[int], rest: int, group: int
) -> dict[int, int] | None:
    """What is free once the nodes of `extra` gave the rest in turns; None if they cannot."""
    if sum(left[numa] // group for numa in extra) * group < rest:
        return None
    after = dict(left)
    while rest > 0:
        for numa in extra:
            if rest > 0 and after[numa] >= group:
                after[numa] -= group
                rest -= group
    return after


def _imbalance(free: Mapping[int, int]) -> float:
    """To three places, as upstream rounds it: what differs by less is the same."""
    mean = round(sum(free.values()) / len(free), 3)
    variance = sum((amount - mean) ** 2 for amount in free.values()) / len(free)
    return round(math.sqrt(variance), 3)


def _carry_out(
    accumulator: Accumulator, topology: Topology, spread: _Spread, count: int, group: int
) -> CPUSet:
    per_node = count // len(spread.nodes) // group * group
    for numa in spread.nodes:
        accumulator.take(take(topology, accumulator.free.within("numa", numa), per_node))
    while accumulator.needed > 0:
        for numa in spread.extra:
            free = accumulator.free.within("numa", numa)
            if accumulator.needed > 0 and len(free) >= group:
                accumulator.take(take(topology, free, group))
    return accumulator.taken
