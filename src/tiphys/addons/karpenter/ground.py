"""What stands, and what pools could make beside it: the scheduler's snapshot of both. Pure.

Machines that differ for pods only in size are one class: the labels that pods mention
have one value in it. Each class stands in the snapshot as empty nodes, so that taints, affinity,
topology spread, ports and volumes are judged by the plugins that will judge them later.

One ground does for many plans (`without`): each is undone before the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tiphys.addons._cloud.quantities import quantity
from tiphys.addons.karpenter.names import HOSTNAME, ZONE
from tiphys.addons.karpenter.offers import Offer, Table
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import nodes
from tiphys.scheduler.configuration import Profile
from tiphys.scheduler.counting import Ints
from tiphys.scheduler.framework import Framework
from tiphys.scheduler.plugins.registry import Listers, plugins_of
from tiphys.scheduler.podinfo import PODS, PodInfo
from tiphys.scheduler.snapshot import Snapshot


@dataclass
class Standing:
    """What is there, as pods could use it.

    nodes:   nodes that may take pods, in the order in which they are tried; of machines that are
             on their way, as they will be
    pods:    the pods on them
    daemons: of each daemon set, a pod
    """

    nodes: Sequence[core_v1.Node] = ()
    pods: Sequence[PodInfo] = ()
    daemons: Sequence[PodInfo] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    listers: Listers = field(default_factory=Listers)
    region: str = ""


@dataclass
class Class:
    """Rows of the table that are equal to pods. `spares` are empty rows of the snapshot."""

    owner: int
    rows: Ints
    labels: dict[str, str]
    overhead: Ints
    spares: list[int] = field(default_factory=list)
    spare_count: int = 0


class Ground:
    """`mentioned` are the labels that pods to be planned speak of, with the values that they name.

    offers:  in the order in which pools are tried
    classes: by pool, in that order
    """

    def __init__(
        self,
        offers: Sequence[Offer],
        standing: Standing,
        mentioned: Mapping[str, Collection[str]],
    ) -> None:
        self.standing = standing
        self.snapshot = Snapshot()
        self.snapshot.namespaces.update({k: dict(v) for k, v in standing.namespaces.items()})
        self.framework = Framework(self.snapshot, plugins_of(Profile(), standing.listers))
        ordered = sorted(offers, key=lambda o: (-(o.pool.spec.weight or 0), o.name))
        self.table = Table(ordered, standing.region, mentioned)
        self._keys = sorted({ZONE, *mentioned} - {HOSTNAME})
        self._add_existing()
        self.classes = self._add_classes()

    def existing(self) -> Ints:
        """The rows of nodes that stand, in the order in which they are tried."""
        row_of = self.snapshot.row_of
        names = (node.metadata.name for node in self.standing.nodes)
        return np.array([row_of[name] for name in names if name in row_of], np.int64)

    @contextlib.contextmanager
    def without(self, gone: Collection[str]) -> Iterator[None]:
        """The ground as if nodes of these names, and the pods on them, were not there. Whatever is
        placed meanwhile is to be taken back before the end."""
        removed = [node for node in self.standing.nodes if node.metadata.name in gone]
        for node in removed:
            self.snapshot.remove_node(node.metadata.name)
        try:
            yield
        finally:
            for node in reversed(removed):
                self.snapshot.put_node(node)

    def spare(self, class_: Class) -> int:
        """An empty row of a class, which is given back when its pods have gone."""
        row = class_.spares.pop(0)
        if not class_.spares:
            self._add_spares(class_)
        return row

    def _add_existing(self) -> None:
        for node in self.standing.nodes:
            self.snapshot.put_node(node)
        for pod in self.standing.pods:
            self.snapshot.put_pod(pod, pod.spec.node_name)

    def _add_classes(self) -> list[list[Class]]:
        classes: list[list[Class]] = [[] for _ in self.table.offers]
        nothing = self.table.vector({})
        assert nothing is not None
        for key, rows in self.table.classes(self._keys).items():
            first = rows[0]
            class_ = Class(self.table.owner[first], np.array(rows), {}, nothing)
            class_.labels = self._shared_labels(rows)
            class_.overhead = self._overhead(class_, key)
            classes[class_.owner].append(class_)
            self._add_spares(class_)
        return classes

    def _shared_labels(self, rows: list[int]) -> dict[str, str]:
        """What all rows of a class say."""
        first, *others = (self.table.labels[row] for row in rows)
        return {
            name: value
            for name, value in first.items()
            if name in self._keys or all(other.get(name) == value for other in others)
        }

    def _overhead(self, class_: Class, key: object) -> Ints:
        """What daemons take of every node of a class."""
        node = self._node("", class_)
        total = self.table.vector({})
        assert total is not None
        for daemon in self.standing.daemons:
            if would_run(daemon.pod, node):
                amounts = self.table.vector({**daemon.requests, PODS: 1})
                if amounts is not None:
                    total = total + amounts
        return total

    def _node(self, name: str, class_: Class) -> core_v1.Node:
        offer = self.table.offers[class_.owner]
        node = core_v1.Node(
            metadata=ObjectMeta(name=name, labels={**class_.labels, HOSTNAME: name})
        )
        node.spec.taints = offer.taints
        most = self.table.allocatable[class_.rows].max(axis=0) - class_.overhead
        node.status.allocatable = {
            resource: quantity(resource, max(int(most[line]), 0))
            for resource, line in self.table.resources.items()
        }
        return node

    def _add_spares(self, class_: Class) -> None:
        """More each time: every new row makes the framework read all nodes again."""
        for _ in range(max(class_.spare_count, 1)):
            class_.spare_count += 1
            name = f"~{class_.owner}/{id(class_)}/{class_.spare_count}"
            self.snapshot.put_node(self._node(name, class_))
            class_.spares.append(self.snapshot.row_of[name])


def would_run(daemon: core_v1.Pod, node: core_v1.Node) -> bool:
    """Whether a daemon set would have a pod on a node."""
    hard = [t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute")]
    return nodes.matches_node(daemon.spec, node) and all(
        nodes.tolerated(taint, daemon.spec.tolerations) for taint in hard
    )
