"""The queues and workloads that a cycle decides about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.addons.kueue.core.quota import Node, Slot
from tiphys.addons.kueue.core.topology import ANYWHERE, Nearness, Place, Tree
from tiphys.api.core_v1 import PodSpec, Taint, Toleration

PODS = "pods"


class Flavor(NamedTuple):
    """Nodes of one kind: what they are labelled, what pods must bear, what pods are given."""

    labels: Mapping[str, str]
    taints: tuple[Taint, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    topology_name: str = ""
    topology: Tree | None = None


class Holding(NamedTuple):
    """Pods of a workload in their places. `per_pod` is what one of them takes of the tree; the tree
    is that of whichever of `flavors` has one."""

    flavors: frozenset[str]
    per_pod: Mapping[str, int]
    places: tuple[Place, ...]


class Group(NamedTuple):
    """Resources that come from one flavor together, and the flavors in order."""

    resources: frozenset[str]
    flavors: tuple[str, ...]


class Fungibility(NamedTuple):
    """Whether the next flavor is tried before borrowing or preempting in one."""

    next_before_borrowing: bool = False
    next_before_preempting: bool = True
    prefers_preempting: bool = False


class Preemption(NamedTuple):
    """Whom workloads of a queue may displace: policies by their names in the API."""

    within: str = "Never"
    reclaim: str = "Never"
    borrow: bool = False
    borrow_threshold: int | None = None


@dataclass(eq=False)
class Queue:
    """A cluster queue. `inactive` is the reason why it admits nothing, empty when it does."""

    node: Node
    groups: tuple[Group, ...]
    strict: bool = False
    fungibility: Fungibility = field(default_factory=Fungibility)
    preemption: Preemption = field(default_factory=Preemption)
    inactive: str = ""
    admits_namespace: Callable[[str], bool] = lambda namespace: True
    running: dict[str, Item] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.node.name

    def group_of(self, resource: str) -> Group | None:
        return next((group for group in self.groups if resource in group.resources), None)


@dataclass(frozen=True)
class PodGroup:
    """A pod set: `per_pod` is what one pod takes of quotas, `requests` what its template requests,
    where that is something else."""

    name: str
    count: int
    per_pod: Mapping[str, int]
    spec: PodSpec
    least: int | None = None
    nearness: Nearness = ANYWHERE
    requests: Mapping[str, int] | None = None

    @property
    def plain(self) -> Mapping[str, int]:
        return self.per_pod if self.requests is None else self.requests

    @property
    def taking(self) -> dict[str, int]:
        """What one pod takes of a node: itself, too."""
        return {**self.plain, PODS: 1}

    def total(self, count: int) -> dict[str, int]:
        return {resource: amount * count for resource, amount in self.per_pod.items()}


@dataclass(eq=False)
class Item:
    """A workload. `queued` is when it started to wait, `reserved` when it got quota, in seconds.

    `usage` is what it holds of the quota of its queue, `holdings` of topologies. `shape` is equal
    for workloads that fare alike.
    """

    key: str
    uid: str
    queue: str
    priority: int
    queued: float
    pod_sets: tuple[PodGroup, ...]
    shape: str = ""
    job_uid: str = ""
    reserved: float = 0.0
    usage: dict[Slot, int] = field(default_factory=dict)
    evicted: bool = False
    holdings: tuple[Holding, ...] = ()

    @property
    def namespace(self) -> str:
        return self.key.partition("/")[0]


@dataclass
class State:
    """Everything a cycle reads. `waiting` are the workloads of each queue, in any order;
    `blocked` are strict queues whose first has been refused. With `strategies` of preemption
    queues share fairly."""

    flavors: Mapping[str, Flavor]
    queues: dict[str, Queue]
    waiting: dict[str, list[Item]] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    strategies: tuple[str, ...] = ()
    cohorts: Mapping[str, Node] = field(default_factory=dict)

    def queue_at(self, node: Node) -> Queue | None:
        """The queue of a leaf of the tree; None: the node is a cohort's."""
        queue = self.queues.get(node.name)
        return queue if queue is not None and queue.node is node else None

    def admit(self, item: Item, usage: Mapping[Slot, int]) -> None:
        """Notes that a workload holds quota."""
        queue = self.queues[item.queue]
        item.usage = dict(usage)
        queue.running[item.key] = item
        self.hold(queue, usage, item.holdings)

    def suspend(self, item: Item) -> None:
        """Takes a workload's usage out of its queue, to see what would be without it."""
        queue = self.queues[item.queue]
        del queue.running[item.key]
        self.let_go(queue, item.usage, item.holdings)

    def restore(self, item: Item) -> None:
        self.admit(item, item.usage)

    def hold(self, queue: Queue, usage: Mapping[Slot, int], holdings: Iterable[Holding]) -> None:
        """Takes quota of a queue, and places in topologies."""
        for slot, amount in usage.items():
            queue.node.use(slot, amount)
        for holding in holdings:
            self._occupy(holding, 1)

    def let_go(self, queue: Queue, usage: Mapping[Slot, int], holdings: Iterable[Holding]) -> None:
        for slot, amount in usage.items():
            queue.node.release(slot, amount)
        for holding in holdings:
            self._occupy(holding, -1)

    def _occupy(self, holding: Holding, sign: int) -> None:
        tree = self._tree_of(holding)
        if tree is None:
            return
        for place in holding.places:
            tree.used.add(tree.key(place.values), holding.per_pod, sign * place.pods)

    def has_room(self, holdings: Iterable[Holding]) -> bool:
        """Whether all places are free still."""
        for holding in holdings:
            tree = self._tree_of(holding)
            if tree is None or not tree.holds(holding.places, holding.per_pod):
                return False
        return True

    def _tree_of(self, holding: Holding) -> Tree | None:
        known = (self.flavors.get(name) for name in sorted(holding.flavors))
        trees = (flavor.topology for flavor in known if flavor is not None)
        return next((tree for tree in trees if tree is not None), None)


def order(item: Item) -> tuple[int, float, str]:
    """Who is next of a queue: the higher priority, then who has waited longer."""
    return -item.priority, item.queued, item.key
