"""NodePools and classes: whether they can be used, what they have, which mark their nodes bear."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tiphys.addons._cloud.quantities import quantity
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.budgets import mistakes
from tiphys.addons.karpenter.claims import pool_hash
from tiphys.addons.karpenter.offers import NODES
from tiphys.addons.karpenter.overlays import CONFLICT
from tiphys.addons.karpenter.shared import Shared
from tiphys.addons.karpenter.state import used
from tiphys.addons.karpenter.types import (
    NodeClaim,
    NodeOverlay,
    NodePool,
    NodePoolStatus,
    TiphysNodeClass,
    TiphysNodeClassStatus,
)
from tiphys.addons.karpenter.types.ec2 import EC2NodeClass, EC2NodeClassStatus
from tiphys.addons.karpenter.types.nodeoverlay import NodeOverlayStatus
from tiphys.api.meta_v1 import Condition
from tiphys.client.client import MERGE
from tiphys.machinery import conditions
from tiphys.machinery.footprint import units
from tiphys.operator import Reconciler


class NodePoolReconciler(Reconciler[NodePool]):
    kind = NodePool

    @property
    def shared(self) -> Shared:
        shared: Shared = self.settings
        return shared

    def watch(self, enqueue: Callable[[str], None]) -> None:
        def claim_changed(old: NodeClaim | None, new: NodeClaim | None) -> None:
            claim = new or old
            assert claim is not None
            if claim.pool:
                enqueue(claim.pool)

        def class_changed(old: Any, new: Any) -> None:
            for pool in self.shared.cluster.pools:
                enqueue(pool.name)

        def pool_changed(old: NodePool | None, new: NodePool | None) -> None:
            if old is not None and new is None:
                self.shared.registrations.forget(old.metadata.uid)

        self.shared.cluster.pools.on_change(pool_changed)
        self.shared.cluster.claims.on_change(claim_changed)
        self.shared.cluster.classes.on_change(class_changed)

    async def reconcile(self, obj: NodePool) -> float | None:
        await self._mark(obj)
        self.shared.reports.know(obj.name)
        for mistake in mistakes(obj):
            text = f"{mistake}: the budget allows no disruption"
            self.shared.event_once(obj, "InvalidBudget", text)
        status = copy.deepcopy(obj.status)
        usage = used(self.shared.cluster.states(self.now)).get(obj.name, {})
        status.nodes = usage.get(NODES, 0)
        status.resources = {name: quantity(name, amount) for name, amount in usage.items()}
        self._count(obj, usage)
        reason, message = self._class_state(obj)
        problem = _problem(obj)
        standing = self.condition(
            obj,
            status.conditions,
            "ValidationSucceeded",
            not problem,
            "NodePoolValidationFailed" if problem else "ValidationSucceeded",
            problem,
        )
        standing = self.condition(
            obj,
            standing,
            "NodeClassReady",
            not message,
            reason if message else "NodeClassReady",
            message,
        )
        standing = self._registration(obj, status, standing)
        ready = not message and not problem
        states = f"NodeClassReady={conditions.status_of(not message)}"
        status.conditions = self.condition(
            obj,
            standing,
            names.READY,
            ready,
            names.READY if ready else "UnhealthyDependents",
            "" if ready else states,
        )
        await self.set_status(obj, status)
        return None

    def _registration(
        self, pool: NodePool, status: NodePoolStatus, standing: list[Condition]
    ) -> list[Condition]:
        """Whether its nodes come up. Pools of other clouds get no condition."""
        class_ = self.shared.cluster.class_of(pool)
        if class_ is None:
            return standing
        generation = class_.metadata.generation or 0
        before = conditions.find(standing, names.REGISTRATION_HEALTHY)
        is_changed = status.node_class_observed_generation != generation or (
            before is not None and before.observed_generation != pool.metadata.generation
        )
        status.node_class_observed_generation = generation
        wanted = self.shared.registrations.condition(pool.metadata.uid, before, is_changed)
        wanted.observed_generation = pool.metadata.generation
        return conditions.updated(standing, wanted, self.now)

    def _count(self, pool: NodePool, usage: dict[str, int]) -> None:
        metrics = self.shared.metrics
        for name, amount in usage.items():
            shown = amount / 1000 if name == "cpu" else amount
            metrics.usage.labels(pool.name, name).set(shown)
        for name, limit in pool.spec.limits.items():
            amount = units(name, limit)
            metrics.limit.labels(pool.name, name).set(amount / 1000 if name == "cpu" else amount)

    async def _mark(self, pool: NodePool) -> None:
        """The hash of the template, which its nodes are compared with."""
        wanted = {names.POOL_HASH: pool_hash(pool), names.POOL_HASH_VERSION: names.HASH_VERSION}
        if wanted.items() <= pool.metadata.annotations.items():
            return
        patch = {"metadata": {"annotations": wanted}}
        await self.client.patch(NodePool, pool.name, patch, media=MERGE)

    def _class_state(self, pool: NodePool) -> tuple[str, str]:
        """(reason, message) of what is wrong with the pool's class; no message: nothing."""
        reference = pool.spec.template.spec.node_class_ref
        class_ = self.shared.cluster.class_of(pool)
        if class_ is None:
            if (reference.group, reference.kind) != (names.OWN_GROUP, "TiphysNodeClass"):
                return "UnsupportedNodeClass", (
                    f"{reference.kind} ({reference.group}) is of another cloud: machines are made "
                    f"of a TiphysNodeClass ({names.OWN_GROUP}) alone"
                )
            return "NodeClassNotFound", "NodeClass not found on cluster"
        if class_.metadata.deletion_timestamp:
            return "NodeClassTerminating", "NodeClass is Terminating"
        ready = conditions.find(class_.status.conditions, names.READY)
        if ready is None or ready.status != "True":
            return "NodeClassNotReady", ready.message if ready is not None else "not looked at yet"
        return "", ""


def _problem(pool: NodePool) -> str:
    """What the definition lets pass and cannot be."""
    for requirement in pool.spec.template.spec.requirements:
        if requirement.operator in ("Gt", "Lt", "Gte", "Lte"):
            if not requirement.values or not requirement.values[0].isdigit():
                return f"key {requirement.key} must be compared with a number"
        if requirement.operator in ("Exists", "DoesNotExist") and requirement.values:
            return f"key {requirement.key} has values beside the operator {requirement.operator}"
    return ""


class TiphysNodeClassReconciler(Reconciler[TiphysNodeClass]):
    kind = TiphysNodeClass

    async def reconcile(self, obj: TiphysNodeClass) -> float | None:
        shared: Shared = self.settings
        catalog = shared.cluster.catalog
        problem = ""
        image = ""
        try:
            image = catalog.image(obj.spec.image)
        except ValueError as error:
            problem = str(error)
        if obj.spec.runtime == "containerd" and shared.context.machines is None:
            problem = "nodes of this cluster cannot run containers: use runtime hollow"
        unknown = sorted(set(obj.spec.zones) - catalog.zones)
        if unknown:
            problem = f"there is no zone {', '.join(unknown)}: {', '.join(sorted(catalog.zones))}"
        standing = self.condition(
            obj,
            obj.status.conditions,
            names.READY,
            not problem,
            names.READY if not problem else "Invalid",
            problem,
        )
        await self.set_status(obj, TiphysNodeClassStatus(conditions=standing, image=image))
        return None


class NodeOverlayReconciler(Reconciler[NodeOverlay]):
    """Whether an overlay counts. One reason for another: all of them are validated together."""

    kind = NodeOverlay

    def watch(self, enqueue: Callable[[str], None]) -> None:
        shared: Shared = self.settings

        def changed(old: Any, new: Any) -> None:
            if old is None or new is None or old.metadata.generation != new.metadata.generation:
                for overlay in shared.cluster.overlays:
                    enqueue(overlay.metadata.name)
                shared.wake_disruption()

        shared.cluster.overlays.on_change(changed)
        shared.cluster.pools.on_change(changed)

    async def reconcile(self, obj: NodeOverlay) -> float | None:
        shared: Shared = self.settings
        counts = obj.metadata.name not in shared.cluster.overlaid().conflicts
        standing = self.condition(
            obj,
            obj.status.conditions,
            "ValidationSucceeded",
            counts,
            "ValidationSucceeded" if counts else "Conflict",
            "" if counts else CONFLICT,
        )
        standing = self.condition(
            obj,
            standing,
            names.READY,
            counts,
            names.READY if counts else "UnhealthyDependents",
            "" if counts else "ValidationSucceeded=False",
        )
        await self.set_status(obj, NodeOverlayStatus(conditions=standing))
        return None


class EC2NodeClassReconciler(Reconciler[EC2NodeClass]):
    """Reports that there is no such cloud."""

    kind = EC2NodeClass

    async def reconcile(self, obj: EC2NodeClass) -> float | None:
        wanted = Condition(
            type=names.READY,
            status="False",
            reason="UnsupportedNodeClass",
            message="this cluster makes no machines of AWS: use a TiphysNodeClass "
            f"({names.OWN_GROUP})",
        )
        standing = conditions.updated(obj.status.conditions, wanted, self.now)
        await self.set_status(obj, EC2NodeClassStatus(conditions=standing))
        return None
