"""The node snapshot: the cluster as columns, a row for each node and arrays for what is counted.
Pure.

It is updated in place as events come. Rows of deleted nodes are used again; `alive` says which rows
are nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from tiphys.api import core_v1
from tiphys.machinery.footprint import CPU, MEMORY, Port, units
from tiphys.machinery.selectors import Selector
from tiphys.scheduler.columns import Columns
from tiphys.scheduler.counting import Bools, DomainCounts, Ints, PodCounts, TopologyDomains
from tiphys.scheduler.podinfo import EPHEMERAL_STORAGE, MOST, PODS, PlacedPod, PodInfo
from tiphys.scheduler.podrules import AffinityTerm
from tiphys.scheduler.selector_index import SelectorCounts, SelectorIndex
from tiphys.scheduler.term_index import TermIndex

_MIN_GROWTH = 64  # rows
# Namespaces of a term whose selector chooses none. Not empty, which would stand for all of them.
NO_NAMESPACES = frozenset(("\0",))

CPU_ROW, MEMORY_ROW, STORAGE_ROW, PODS_ROW = range(4)


class Snapshot:
    """Nodes by row, and the pods that are bound to them or assumed on them.

    `allocatable` and `requested` have a line for each of `resources`, `nonzero_requested` one for
    cpu and one for memory; all have a column for each row. `schedulable` is false for cordoned
    nodes. `generation` changes whenever something of a node changes that filters look at besides
    its size.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.nodes: list[core_v1.Node | None] = []
        self.row_of: dict[str, int] = {}
        self.alive: Bools = np.zeros(0, np.bool_)
        self.schedulable: Bools = np.zeros(0, np.bool_)
        self.generation = 0
        self._free_rows: list[int] = []

        self.resources: dict[str, int] = {
            CPU: CPU_ROW,
            MEMORY: MEMORY_ROW,
            EPHEMERAL_STORAGE: STORAGE_ROW,
            PODS: PODS_ROW,
        }
        self.allocatable: Ints = np.zeros((4, 0), np.int64)
        self.requested: Ints = np.zeros((4, 0), np.int64)
        self.nonzero_requested: Ints = np.zeros((2, 0), np.int64)
        self.columns = Columns()
        self.images: dict[str, dict[int, int]] = {}  # image name → row → size in bytes

        self.pods: dict[str, PlacedPod] = {}  # by uid
        self.ports: dict[int, dict[str, tuple[Port, ...]]] = {}  # row → pod's uid → host ports
        self._pods_by_row: dict[int, dict[str, PodInfo]] = {}
        self._pods_by_unknown_node: dict[str, dict[str, PodInfo]] = {}
        self._selectors = SelectorIndex(self.pods)

        self.namespaces: dict[str, Mapping[str, str]] = {}  # the labels of each
        self.anti_affinity_terms = TermIndex()  # required ones, which hold in both directions
        self.scoring_terms = TermIndex()
        self._domains: dict[str, tuple[int, TopologyDomains]] = {}  # with their generation

    # --- rows ---

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.names)

    def all_rows(self) -> Bools:
        return np.ones(len(self.names), np.bool_)

    def no_rows(self) -> Bools:
        return np.zeros(len(self.names), np.bool_)

    def rows_named(self, names: Iterable[str]) -> Bools:
        """The rows of those of the named nodes that exist."""
        rows = self.no_rows()
        rows[[self.row_of[name] for name in names if name in self.row_of]] = True
        return rows

    def rows_where(self, accepts: Callable[[core_v1.Node], bool]) -> Bools:
        """The rows of the nodes that are accepted."""
        rows = self.no_rows()
        for row, node in self.live_nodes():
            rows[row] = accepts(node)
        return rows

    def live_nodes(self) -> Iterator[tuple[int, core_v1.Node]]:
        """Each node with its row."""
        for row, node in enumerate(self.nodes):
            if node is not None:
                yield row, node

    def node(self, name: str) -> core_v1.Node | None:
        row = self.row_of.get(name)
        return None if row is None else self.nodes[row]

    # --- nodes ---

    def put_node(self, node: core_v1.Node) -> None:
        name = node.metadata.name
        row = self.row_of.get(name)
        if row is None:
            row = self._take_row(name)
        old = self.nodes[row]
        self.names[row] = name
        self.nodes[row] = node
        self.alive[row] = True
        self.schedulable[row] = not node.spec.unschedulable
        self.allocatable[:, row] = 0
        for resource, value in node.status.allocatable.items():
            line = self._resource_line(resource)  # may replace the array
            self.allocatable[line, row] = min(units(resource, value), MOST)
        self.columns.touch(row)
        if old is None or old.status.images != node.status.images:
            self._replace_images(old, node, row)
        if old is None or not _filters_alike(old, node):
            self.generation += 1
        for pod in self._pods_by_unknown_node.pop(name, {}).values():
            self._place(pod, row)

    def remove_node(self, name: str) -> None:
        """The node is gone. Its pods are kept, and counted again if a node of that name comes
        back."""
        row = self.row_of.pop(name, None)
        if row is None:
            return
        for pod in self.pods_on(row):
            self.remove_pod(pod.uid)
            self._pods_by_unknown_node.setdefault(name, {})[pod.uid] = pod
        self.alive[row] = False
        self.schedulable[row] = False
        self.allocatable[:, row] = 0
        self.requested[:, row] = 0
        self.nonzero_requested[:, row] = 0
        self.columns.touch(row)
        self._replace_images(self.nodes[row], None, row)
        self.names[row] = ""
        self.nodes[row] = None
        self._free_rows.append(row)
        self.generation += 1

    def _take_row(self, name: str) -> int:
        if not self._free_rows:
            self._grow()
        row = self._free_rows.pop()
        self.row_of[name] = row
        return row

    def _grow(self) -> None:
        start = len(self.names)
        more = max(_MIN_GROWTH, start)
        more_columns = ((0, 0), (0, more))
        self.allocatable = np.pad(self.allocatable, more_columns)
        self.requested = np.pad(self.requested, more_columns)
        self.nonzero_requested = np.pad(self.nonzero_requested, more_columns)
        self.alive = np.pad(self.alive, (0, more))
        self.schedulable = np.pad(self.schedulable, (0, more))
        self._selectors.grow(more)
        self.anti_affinity_terms.grow(more)
        self.scoring_terms.grow(more)
        self.names += [""] * more
        self.nodes += [None] * more
        # The lowest row is taken first: it is the last of the list.
        self._free_rows = list(range(start + more - 1, start - 1, -1)) + self._free_rows

    def _resource_line(self, resource: str) -> int:
        line = self.resources.get(resource)
        if line is None:
            line = self.resources[resource] = len(self.resources)
            self.allocatable = np.pad(self.allocatable, ((0, 1), (0, 0)))
            self.requested = np.pad(self.requested, ((0, 1), (0, 0)))
        return line

    def _replace_images(self, old: core_v1.Node | None, new: core_v1.Node | None, row: int) -> None:
        for image in old.status.images if old is not None else ():
            for name in image.names:
                sizes = self.images.get(name, {})
                sizes.pop(row, None)
                if not sizes:
                    self.images.pop(name, None)
        for image in new.status.images if new is not None else ():
            for name in image.names:
                self.images.setdefault(name, {})[row] = image.size_bytes

    # --- pods ---

    def put_pod(self, pod: PodInfo, node_name: str) -> None:
        """The pod is bound to the node, or assumed on it. The node need not be known yet."""
        placed = self.pods.get(pod.uid)
        if placed is not None:
            if self.names[placed.row] == node_name and _counts_alike(placed.pod, pod):
                placed.pod.pod = pod.pod
                return
            self.remove_pod(pod.uid)
        row = self.row_of.get(node_name)
        if row is None:
            self._pods_by_unknown_node.setdefault(node_name, {})[pod.uid] = pod
        else:
            self._place(pod, row)

    def remove_pod(self, uid: str) -> None:
        placed = self.pods.pop(uid, None)
        if placed is None:
            for pods in self._pods_by_unknown_node.values():
                pods.pop(uid, None)
            return
        row, pod = placed
        del self._pods_by_row[row][uid]
        self._count(pod, row, -1)
        self._selectors.remove_pod(pod, row)
        if pod.ports:
            self.ports[row].pop(uid, None)

    def pods_on(self, row: int) -> list[PodInfo]:
        return list(self._pods_by_row.get(row, {}).values())

    def _place(self, pod: PodInfo, row: int) -> None:
        self.pods[pod.uid] = PlacedPod(row, pod)
        self._pods_by_row.setdefault(row, {})[pod.uid] = pod
        self._count(pod, row, 1)
        self._selectors.add_pod(pod, row)
        if pod.ports:
            self.ports.setdefault(row, {})[pod.uid] = pod.ports

    def _count(self, pod: PodInfo, row: int, sign: int) -> None:
        for name, value in pod.requests.items():
            line = self._resource_line(name)
            self.requested[line, row] += sign * value
        self.requested[PODS_ROW, row] += sign
        self.nonzero_requested[CPU_ROW, row] += sign * pod.nonzero_requests.milli_cpu
        self.nonzero_requested[MEMORY_ROW, row] += sign * pod.nonzero_requests.memory
        self.columns.touch(row)
        rules = pod.rules
        for term in rules.required_anti_affinity:
            self.anti_affinity_terms.add(term, row, sign, len(self.names))
        for term in rules.scoring_terms:
            self.scoring_terms.add(term, row, sign, len(self.names))

    # --- counts ---

    def counts_of(self, namespaces: frozenset[str], selector: Selector) -> SelectorCounts:
        """The pods that a selector matches within namespaces (empty: all). Counted once, then
        kept."""
        return self._selectors.counts_of(namespaces, selector, len(self.names))

    def domains(self, topology_key: str) -> TopologyDomains:
        cached = self._domains.get(topology_key)
        if cached is not None:
            generation, domains = cached
            if generation == self.generation and len(domains.rows) == len(self.names):
                return domains
        values: dict[str, int] = {}
        rows = np.full(len(self.names), -1, np.int64)
        for row, node in self.live_nodes():
            value = node.metadata.labels.get(topology_key)
            if value is not None:
                rows[row] = values.setdefault(value, len(values))
        domains = TopologyDomains(topology_key, list(values), rows, rows >= 0)
        self._domains[topology_key] = (self.generation, domains)
        return domains

    def domain_counts(self, term: AffinityTerm, pods: PodCounts | None = None) -> DomainCounts:
        """How many pods the domains of a term's topology have: `pods`, or those that the term
        matches."""
        if pods is None:
            pods = self.counts_of(self.namespaces_of(term), term.selector)
        return pods.by_domain(self.domains(term.topology_key))

    # --- terms ---

    def namespaces_of(self, term: AffinityTerm) -> frozenset[str]:
        """The namespaces of a term; empty: all."""
        if term.namespace_selector is None:
            return term.namespaces
        selected = {
            name
            for name, labels in self.namespaces.items()
            if term.namespace_selector.matches(labels)
        }
        return term.namespaces | selected or NO_NAMESPACES

    def term_matches(self, term: AffinityTerm, pod: PodInfo) -> bool:
        namespaces = self.namespaces_of(term)
        if namespaces and pod.namespace not in namespaces:
            return False
        return term.selector.matches(pod.labels)

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        return self.namespaces.get(namespace, {})


def _filters_alike(old: core_v1.Node, new: core_v1.Node) -> bool:
    """Whether two states of a node are alike to filters, but for the node's size."""
    return (
        old.metadata.labels == new.metadata.labels
        and old.spec.taints == new.spec.taints
        and old.spec.unschedulable == new.spec.unschedulable
    )


def _counts_alike(old: PodInfo, new: PodInfo) -> bool:
    """Whether two states of a pod are counted alike: what else a spec says cannot change."""
    return old.labels == new.labels and old.requests == new.requests
