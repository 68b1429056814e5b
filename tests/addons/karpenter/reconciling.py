"""The add-on's reconcilers, one look at a time: informers that nobody runs, a server that keeps what
is written, and a cloud that has what a test says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry

from tests.addons.karpenter.builders import CATALOG, NOW, pool, state
from tests.addons.pretended import Patched
from tiphys.addons._cloud.machines import InsufficientCapacity, Machine, Order
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.cluster import Cluster
from tiphys.addons.karpenter.lifecycle import NodeClaimReconciler
from tiphys.addons.karpenter.metrics import KarpenterMetrics
from tiphys.addons.karpenter.reporting import Reports
from tiphys.addons.karpenter.shared import Shared
from tiphys.addons.karpenter.types import NodeClaim, NodePool, TiphysNodeClass
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.controllers.shell import Context
from tiphys.machinery import conditions

SMALL = {"resources": {"requests": {"cpu": "1"}}}


class Cloud:
    """`short`: why nothing can be had."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.short = ""

    async def create(self, order: Order) -> Machine:
        self.orders.append(order)
        if self.short:
            raise InsufficientCapacity(self.short)
        type_, offering = order.options[0]
        labels = type_.labels_of(offering, CATALOG.region)
        return Machine(
            f"tiphys:///{order.name}",
            order.name,
            type_.name,
            offering.zone,
            offering.capacity_type,
            order.image,
            order.token,
            {**labels, **order.labels},
            order.taints,
            NOW,
        )

    def type_of(self, machine: Machine) -> Any:
        return CATALOG.by_name[machine.type]


class Bench:
    """A pool and a class, both named `default`, with nothing of them yet."""

    def __init__(self) -> None:
        self.server = Patched()
        self.cloud = Cloud()
        self.time = NOW
        self.events: list[tuple[str, str, str]] = []
        self.registry = CollectorRegistry()
        self.woken = 0
        self.machines: Any = None
        recorder: Any = SimpleNamespace(record=self._record)
        tasks: Any = SimpleNamespace(start=lambda work, *_, **__: work.close())
        server = cast(Any, self.server)
        around: Any = SimpleNamespace(
            client=server, recorder=recorder, now=lambda: self.time, tasks=tasks, machines=None
        )
        self.shared = Shared(
            around,
            cast(Any, None),
            cast(Any, SimpleNamespace(batch_max=1.0)),
            cast(Any, self.cloud),
            Cluster(server, CATALOG),
            KarpenterMetrics(self.registry),
            Reports(server, lambda: self.time),
            wake_disruption=self._wake,
        )
        shared = {"settings": self.shared}
        self.context = Context(server, server, recorder, tasks, lambda: self.time, shared)
        self.claims = NodeClaimReconciler(self.context, "karpenter")

    def _record(self, obj: Any, kind: str, reason: str, message: str, **_: Any) -> None:
        self.events.append((kind, reason, message))

    def _wake(self) -> None:
        self.woken += 1

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"karpenter_{name}", labels) or 0.0

    # --- what there is ---

    def pool(self, *requirements: tuple[str, ...], **spec: Any) -> NodePool:
        made = pool("default", *requirements, **spec)
        reference = made.spec.template.spec.node_class_ref
        reference.group, reference.kind = names.OWN_GROUP, "TiphysNodeClass"
        reference.name = "default"
        self.server.put(made)
        return made

    def node_class(self, ready: bool = True, image: str = "", **spec: Any) -> TiphysNodeClass:
        status = "True" if ready else "False"
        told = {"type": "Ready", "status": status, "reason": "R", "message": "m"}
        made = from_builtins(
            {
                "metadata": {"name": "default", "generation": 1},
                "spec": spec,
                "status": {"conditions": [told], "image": image},
            },
            TiphysNodeClass,
        )
        self.server.put(made)
        return made

    def claim(self, group: str = names.OWN_GROUP, **spec: Any) -> NodeClaim:
        """A new one, named `c`."""
        kind = "TiphysNodeClass" if group == names.OWN_GROUP else "EC2NodeClass"
        reference = {"group": group, "kind": kind, "name": "default"}
        labels = {names.NODE_POOL: "default"}
        owner = {"apiVersion": "v1", "kind": "NodePool", "name": "default", "uid": "pool-default"}
        meta = {"name": "c", "uid": "uid-c", "labels": labels, "ownerReferences": [owner]}
        made = from_builtins(
            {"metadata": meta, "spec": {"nodeClassRef": reference, **spec}}, NodeClaim
        )
        self.server.put(made)
        return made

    def node(self, ready: bool = True, taints: Any = (), **meta: Any) -> core_v1.Node:
        """Of the claim `c`, as its machine has registered it."""
        made = state("c", "m7.large").node
        assert made is not None
        plain = to_builtins(made)
        whole = {"name": "c", "labels": {"own": "label"}, **meta}
        spec = {"providerID": "tiphys:///c", "taints": list(taints)}
        status = {
            **plain["status"],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        }
        node = from_builtins({"metadata": whole, "spec": spec, "status": status}, core_v1.Node)
        self.server.put(node)
        return node

    # --- looking ---

    @property
    def there(self) -> NodeClaim:
        found = self.server.of(NodeClaim).get("c")
        assert found is not None
        return cast(NodeClaim, found)

    async def look(self, later: float = 0.0) -> NodeClaim:
        self.time = NOW + later
        copy = from_builtins(to_builtins(self.there), NodeClaim)
        assert await self.claims.reconcile(copy) is None
        return self.there

    def condition(self, type_: str) -> tuple[str, str, str] | None:
        found = conditions.find(self.there.status.conditions, type_)
        return (found.status, found.reason, found.message) if found is not None else None


async def launched(bench: Bench, **spec: Any) -> Bench:
    bench.pool()
    bench.node_class()
    bench.claim(**{**SMALL, **spec})
    await bench.look()
    return bench


async def registered(bench: Bench, **spec: Any) -> Bench:
    await launched(bench, **spec)
    bench.node()
    await bench.look()
    return bench
