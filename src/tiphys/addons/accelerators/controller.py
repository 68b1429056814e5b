"""Makes nodes match their fleet's spec."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tiphys.addons.accelerators.planning import (
    NodePlan,
    Plan,
    capacity_changes,
    node_changes,
    plan_of,
    slice_of,
)
from tiphys.addons.accelerators.types import Fleet, FleetStatus
from tiphys.addons.optional import Context
from tiphys.api import core_v1, resource_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import MERGE
from tiphys.machinery import timestamps
from tiphys.machinery.selectors import from_label_selector
from tiphys.operator import Reconciler

_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


class FleetReconciler(Reconciler[Fleet]):
    kind = Fleet
    owns = (resource_v1.ResourceSlice,)

    def watch(self, enqueue: Callable[[str], None]) -> None:
        fleets = self.informer(Fleet)

        def changed(old: object, new: object) -> None:
            for fleet in fleets:
                enqueue(fleet.metadata.name)

        self.informer(core_v1.Node).on_change(changed)

    async def reconcile(self, obj: Fleet) -> float | None:
        nodes = {one.metadata.name: one for one in self.informer(core_v1.Node) if _suits(obj, one)}
        age = self.now - timestamps.parse(obj.metadata.creation_timestamp)
        plan = plan_of(obj.spec, nodes, age)
        for node_plan in plan.nodes:
            await self._put(obj, nodes[node_plan.node], node_plan)
        await self.set_status(obj, self._status(obj, plan))
        return plan.again

    async def _put(self, fleet: Fleet, node: core_v1.Node, plan: NodePlan) -> None:
        wanted = slice_of(plan)
        known = self.informer(resource_v1.ResourceSlice).get(wanted.metadata.name)
        if known is None or known.spec != wanted.spec:
            await self.apply(fleet, wanted)
        name = node.metadata.name
        changes = to_builtins(node_changes(node, plan))
        if changes:
            await self.client.patch(core_v1.Node, name, changes, media=MERGE)
            if "spec" in changes:
                description = plan.taint.value if plan.taint is not None else "over"
                self.event(fleet, "Interruption", f"Node {name}: {description}", warning=True)
        capacity = to_builtins(capacity_changes(node, plan))
        if capacity:
            await self.client.patch(core_v1.Node, name, capacity, "", "status", media=MERGE)

    def _status(self, fleet: Fleet, plan: Plan) -> FleetStatus:
        message = f"{plan.missing} more nodes are needed" if plan.missing else "every node is there"
        return FleetStatus(
            nodes=len(plan.nodes),
            gpus=plan.gpus,
            healthy=plan.healthy,
            interrupted=[one.node for one in plan.nodes if one.taint is not None],
            conditions=self.condition(
                fleet,
                fleet.status.conditions,
                "Ready",
                not plan.missing,
                "NotEnoughNodes" if plan.missing else "Complete",
                message,
            ),
        )


def _suits(fleet: Fleet, node: core_v1.Node) -> bool:
    if _CONTROL_PLANE in node.metadata.labels:
        return False
    selector = from_label_selector(fleet.spec.node_selector)
    return selector is None or selector.matches(node.metadata.labels)


async def run(context: Context) -> None:
    await context.reconcile(FleetReconciler)
    context.ready("nodes have accelerators")
    await asyncio.Event().wait()
