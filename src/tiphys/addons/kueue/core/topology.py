"""Nodes as a tree of domains (blocks, racks, hosts), and what is free in each of them.

Source: the concept "Topology Aware Scheduling". A flavor with a topology stands for the ready nodes
that have its labels and those of all levels. What is used there is counted by leaf: a host where
that is the lowest level, otherwise all nodes of the lowest domain together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.machinery import conditions
from tiphys.machinery.footprint import units

HOST = "kubernetes.io/hostname"
Key = tuple[str, ...]
"""A leaf: its host alone, or the values of all levels."""
Amounts = dict[str, int]


class Layer(NamedTuple):
    """Groups of so many pods, each within one domain of a level."""

    topology: str
    size: int


class Nearness(NamedTuple):
    """How near each other pods are to be: all within one domain of a level, or as far as that can
    be, or anywhere. `layers` are groups within them, the outermost first. Two sets of one `group`,
    a leader and its workers, go together."""

    required: str = ""
    preferred: str = ""
    unconstrained: bool = False
    layers: tuple[Layer, ...] = ()
    group: str = ""

    @property
    def is_asked_for(self) -> bool:
        return bool(self.required or self.preferred or self.unconstrained or self.layers)


ANYWHERE = Nearness()


class Place(NamedTuple):
    """So many pods in a leaf, whose `values` are of the levels that an assignment names."""

    values: tuple[str, ...]
    pods: int


class Assignment(NamedTuple):
    """Where the pods of a set go."""

    levels: tuple[str, ...]
    places: tuple[Place, ...]


@dataclass(eq=False)
class Domain:
    """`values` are those of the levels down to its own. A leaf that is a host has a node. `pods`
    and `slices` are what an assignment in the making counts in it."""

    values: tuple[str, ...]
    children: list[Domain] = field(default_factory=list)
    node: core_v1.Node | None = None
    free: Amounts = field(default_factory=dict)  # without what workloads of the tree hold
    pods: int = 0
    slices: int = 0


class Used(dict[Key, Amounts]):
    """What workloads hold, by leaf. Trees whose leaves are hosts share one."""

    def add(self, key: Key, per_pod: Mapping[str, int], count: int) -> None:
        amounts = self.setdefault(key, {})
        for resource, amount in per_pod.items():
            amounts[resource] = amounts.get(resource, 0) + amount * count


class Tree:
    """The nodes of one flavor. `others` is what pods of no workload use, by the name of their
    node."""

    def __init__(
        self,
        name: str,
        levels: Sequence[str],
        nodes: Iterable[core_v1.Node],
        others: Mapping[str, Mapping[str, int]],
        hosts: Used,
    ) -> None:
        self.name = name
        self.levels = tuple(levels)
        self.has_hosts = levels[-1] == HOST
        self.used = hosts if self.has_hosts else Used()
        self.leaves: dict[Key, Domain] = {}
        self.by_level: list[dict[tuple[str, ...], Domain]] = [{} for _ in levels]
        for node in nodes:
            self._add(node, others.get(node.metadata.name, {}))

    def _add(self, node: core_v1.Node, others: Mapping[str, int]) -> None:
        values = tuple(node.metadata.labels[level] for level in self.levels)
        key = self.key(values)
        leaf = self.leaves.get(key)
        if leaf is None:
            leaf = self.leaves[key] = self._domain(values)
            leaf.node = node if self.has_hosts else None
        for resource, amount in node.status.allocatable.items():
            leaf.free[resource] = leaf.free.get(resource, 0) + units(resource, amount)
        for resource, used in others.items():
            leaf.free[resource] = leaf.free.get(resource, 0) - used

    def _domain(self, values: tuple[str, ...]) -> Domain:
        level = self.by_level[len(values) - 1]
        if values not in level:
            level[values] = Domain(values)
            if len(values) > 1:
                self._domain(values[:-1]).children.append(level[values])
        return level[values]

    def key(self, values: Sequence[str]) -> Key:
        """Of a leaf, by its values or by those that an assignment has."""
        return tuple(values[-1:]) if self.has_hosts else tuple(values)

    def remaining(
        self, key: Key, assumed: Used | None = None, is_empty: bool = False
    ) -> Mapping[str, int]:
        """What is free in a leaf; `is_empty`: if no workload used anything."""
        free = self.leaves[key].free
        taken = [] if is_empty or key not in self.used else [self.used[key]]
        if assumed and key in assumed:
            taken.append(assumed[key])
        if not taken:
            return free  # of thousands of nodes most are like this
        left = dict(free)
        for amounts in taken:
            for resource, amount in amounts.items():
                left[resource] = left.get(resource, 0) - amount
        return left

    def holds(self, places: Iterable[Place], per_pod: Mapping[str, int]) -> bool:
        """Whether there is room for pods in their places still."""
        for place in places:
            key = self.key(place.values)
            if key not in self.leaves or fitting(per_pod, self.remaining(key)) < place.pods:
                return False
        return True


def fitting(per_pod: Mapping[str, int], free: Mapping[str, int]) -> int:
    """How many times something fits."""
    counts = [free.get(name, 0) // amount for name, amount in per_pod.items() if amount > 0]
    return max(0, min(counts, default=0))


def is_usable(node: core_v1.Node, labels: Mapping[str, str], levels: Iterable[str]) -> bool:
    """Whether a node is of a flavor's topology: ready, and labelled for every level."""
    if node.spec.unschedulable or not conditions.is_true(node.status.conditions, "Ready"):
        return False
    has = node.metadata.labels
    return all(level in has for level in levels) and all(
        has.get(key) == value for key, value in labels.items()
    )
