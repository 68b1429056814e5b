"""One NodeClaim's way: launched, registered, initialised; what of it has changed since; its end."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable
from typing import Any

from tiphys.addons._cloud.machines import InsufficientCapacity, Machine, Order
from tiphys.addons._cloud.quantities import quantity
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.claims import drift_of, options_for
from tiphys.addons.karpenter.initialization import obstacle_of
from tiphys.addons.karpenter.registration import problem_of
from tiphys.addons.karpenter.requirements import lifetime
from tiphys.addons.karpenter.shared import Shared
from tiphys.addons.karpenter.termination import Termination
from tiphys.addons.karpenter.types import NodeClaim, NodePool
from tiphys.api import core_v1
from tiphys.api.meta_v1 import Condition, OwnerReference
from tiphys.client.client import MERGE
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.machinery.finished import pod_finished
from tiphys.operator import Reconciler

log = logging.getLogger(__name__)

_REGISTRATION_TIME = 900.0  # seconds until a claim whose node does not appear is deleted
_POD_EVENTS = 5.0  # seconds that pods' coming and going is not written again


class NodeClaimReconciler(Reconciler[NodeClaim]):
    kind = NodeClaim
    finalizer = names.TERMINATION
    workers = 16

    @property
    def shared(self) -> Shared:
        shared: Shared = self.settings
        return shared

    def watch(self, enqueue: Callable[[str], None]) -> None:
        cluster = self.shared.cluster

        def node_changed(old: core_v1.Node | None, new: core_v1.Node | None) -> None:
            node = new or old
            assert node is not None
            claim = cluster.claim_of(node)
            if claim is not None:
                enqueue(claim.name)

        def owner_changed(old: Any, new: Any) -> None:
            """A pool or a class: nodes may have drifted from it."""
            for claim in cluster.claims:
                if new is not None and new.metadata.name in (claim.pool, _class_name(claim)):
                    enqueue(claim.name)

        cluster.nodes.on_change(node_changed)
        cluster.pods.on_change(lambda old, new: self._pod_changed(old, new, enqueue))
        cluster.pools.on_change(owner_changed)
        cluster.classes.on_change(owner_changed)
        self.shared.context.tasks.start(self._look_when_due(enqueue), "due", vital=True)

    def _pod_changed(
        self, old: core_v1.Pod | None, new: core_v1.Pod | None, enqueue: Callable[[str], None]
    ) -> None:
        """A pod that comes or goes makes its node less quiet, or emptier."""
        pod = new or old
        assert pod is not None
        if new is None:
            self.shared.ends.pop(pod.metadata.uid, None)
        node = self.shared.cluster.nodes.get(pod.spec.node_name) if pod.spec.node_name else None
        claim = self.shared.cluster.claim_of(node) if node is not None else None
        if claim is None:
            return
        if _comes_or_goes(old, new):
            self.shared.pod_events[claim.name] = self.now
            enqueue(claim.name)
        elif claim.metadata.deletion_timestamp:
            enqueue(claim.name)

    async def _look_when_due(self, enqueue: Callable[[str], None]) -> None:
        """By the clock that tests may set: what is due is reconciled within a moment."""
        while True:
            await asyncio.sleep(0.2)
            now = self.now
            for name, when in list(self.shared.due.items()):
                if when <= now:
                    del self.shared.due[name]
                    enqueue(name)

    def look_again(self, claim: NodeClaim, when: float) -> None:
        standing = self.shared.due.get(claim.name)
        self.shared.due[claim.name] = when if standing is None else min(standing, when)

    # --- while it lives ---

    async def reconcile(self, obj: NodeClaim) -> float | None:
        if self.shared.cluster.class_of(obj) is None and not obj.status.provider_id:
            await self._class_is_missing(obj)
            return None
        before = copy.deepcopy(obj)
        if not obj.is_(names.LAUNCHED):
            machine = await self._launched(obj)
            if machine is None:
                await self._write(before, obj)
                return None
        node = self.shared.cluster.node_of(obj)
        if node is not None and node.metadata.deletion_timestamp:
            await self.shared.delete_claim(obj, "node_deleted")
            return None
        if not obj.is_(names.REGISTERED_CONDITION):
            await self._register(obj, node)
        elif not obj.is_(names.INITIALIZED_CONDITION):
            await self._initialize(obj, node)
        self._note_changes(obj)
        self._set_ready(obj)
        await self._write(before, obj)
        if self._expires(obj) is not None:
            await self.shared.delete_claim(obj, "expired")
        return None

    async def _write(self, before: NodeClaim, after: NodeClaim) -> None:
        """Labels first, then the status; both bound to what was read."""
        if before.metadata.labels != after.metadata.labels:
            patch = {
                "metadata": {
                    "labels": after.metadata.labels,
                    "resourceVersion": after.metadata.resource_version,
                }
            }
            written = await self.client.patch(NodeClaim, after.name, patch, media=MERGE)
            after.metadata.resource_version = written.metadata.resource_version
        if before.status != after.status:
            await self.client.update_status(after)

    def _set(
        self, claim: NodeClaim, type_: str, status: str, reason: str = "", message: str = ""
    ) -> None:
        wanted = Condition(
            type=type_,
            status=status,
            reason=reason or type_,
            message=message,
            observed_generation=claim.metadata.generation,
        )
        claim.status.conditions = conditions.updated(claim.status.conditions, wanted, self.now)

    def _since(self, claim: NodeClaim, type_: str) -> float:
        condition = conditions.find(claim.status.conditions, type_)
        if condition is None:
            return self.now
        return timestamps.parse(condition.last_transition_time)

    async def _class_is_missing(self, claim: NodeClaim) -> None:
        """A claim of another cloud is left alone, with a condition; one of ours without its class
        ends, and pods get another."""
        reference = claim.spec.node_class_ref
        if reference.group == names.OWN_GROUP:
            self.shared.event(claim, "NodeClassNotReady", f"{reference.name} not found", True)
            await self.shared.delete_claim(claim, "nodeclass_not_ready")
            return
        before = copy.deepcopy(claim)
        message = f"machines of a {reference.kind} ({reference.group}) cannot be made here"
        self._set(claim, names.LAUNCHED, "Unknown", "UnsupportedNodeClass", message)
        self._set_ready(claim)
        await self._write(before, claim)

    # --- launch ---

    async def _launched(self, claim: NodeClaim) -> Machine | None:
        """The machine of a claim, ordered if need be."""
        cluster = self.shared.cluster
        class_ = cluster.class_of(claim)
        assert class_ is not None
        try:
            image = cluster.catalog.image(class_.spec.image)
        except ValueError as error:
            self.shared.event(claim, "NodeClassNotReady", str(error), True)
            await self.shared.delete_claim(claim, "nodeclass_not_ready")
            return None
        order = Order(
            name=claim.name,
            token=claim.metadata.uid,
            image=image,
            labels={**claim.metadata.labels, **_single(claim)},
            taints=[core_v1.Taint(key=names.UNREGISTERED_TAINT, effect="NoExecute")],
            options=[
                option
                for option in options_for(claim, class_, cluster.catalog_of(claim.pool))
                if cluster.can_be_had(option, class_, self.now)
            ],
            runtime=class_.spec.runtime,
        )
        if conditions.find(claim.status.conditions, names.LAUNCHED) is None:
            self._set(claim, names.LAUNCHED, "Unknown", "AwaitingReconciliation")
        try:
            machine = await self.shared.cloud.create(order)
        except InsufficientCapacity as error:
            await self._cannot_be_had(claim, order, str(error))
            return None
        self._fill(claim, machine)
        return machine

    async def _cannot_be_had(self, claim: NodeClaim, order: Order, message: str) -> None:
        """The claim ends, and for a while its offerings are not requested again."""
        text = f"NodeClaim {claim.name} event: {message}"
        self.shared.event(claim, "InsufficientCapacityError", text, True)
        for type_, offering in order.options:
            key = (type_.name, offering.zone, offering.capacity_type)
            self.shared.cluster.note_scarce(key, self.now)
        await self.shared.delete_claim(claim, "insufficient_capacity")

    def _fill(self, claim: NodeClaim, machine: Machine) -> None:
        """What is known now that there is a machine."""
        type_ = self.shared.cloud.type_of(machine)
        claim.metadata.labels = {**machine.labels, **claim.metadata.labels}
        status = claim.status
        status.provider_id = machine.id
        status.image_id = machine.image
        status.capacity = {n: quantity(n, amount) for n, amount in type_.capacity.items()}
        status.allocatable = {n: quantity(n, amount) for n, amount in type_.allocatable.items()}
        self._set(claim, names.LAUNCHED, "True")

    # --- registration and initialisation ---

    async def _register(self, claim: NodeClaim, node: core_v1.Node | None) -> None:
        if node is None:
            message = "Node not registered with cluster"
            self._set(claim, names.REGISTERED_CONDITION, "Unknown", "NodeNotFound", message)
            self._set(claim, names.INITIALIZED_CONDITION, "Unknown", "NodeNotFound", message)
            waited_since = self._since(claim, names.REGISTERED_CONDITION)
            if self.now - waited_since >= _REGISTRATION_TIME:
                self.shared.registrations.note(_owner(claim), problem_of(claim))
                await self.shared.delete_claim(claim, "registration_timeout")
            self.look_again(claim, waited_since + _REGISTRATION_TIME)
            return
        await self._synchronise(claim, node)
        claim.status.node_name = node.metadata.name
        self._set(claim, names.REGISTERED_CONDITION, "True")
        self.shared.registrations.note(_owner(claim))
        zone = claim.metadata.labels.get(names.ZONE, "")
        self.shared.metrics.nodes_created.labels(claim.pool, zone).inc()
        await self._initialize(claim, self.shared.cluster.nodes.get(node.metadata.name))

    async def _synchronise(self, claim: NodeClaim, node: core_v1.Node) -> None:
        """Gives the node what its claim specifies, and makes it schedulable."""
        taints = [t for t in node.spec.taints if t.key != names.UNREGISTERED_TAINT]
        for wanted in (*claim.spec.taints, *claim.spec.startup_taints):
            if not any((t.key, t.effect) == (wanted.key, wanted.effect) for t in taints):
                taint = core_v1.Taint(key=wanted.key, value=wanted.value, effect=wanted.effect)
                taints.append(taint)
        owner = OwnerReference(
            api_version=claim.api_version,
            kind=claim.kind,
            name=claim.name,
            uid=claim.metadata.uid,
            block_owner_deletion=True,
        )
        patch = {
            "metadata": {
                "labels": {**claim.metadata.labels, names.REGISTERED: "true"},
                "annotations": claim.metadata.annotations,
                "finalizers": sorted({*node.metadata.finalizers, names.TERMINATION}),
                "ownerReferences": [owner],
                "resourceVersion": node.metadata.resource_version,
            },
            "spec": {"taints": taints},
        }
        written = await self.client.patch(core_v1.Node, node.metadata.name, patch, media=MERGE)
        self.shared.cluster.note_node(written)

    async def _initialize(self, claim: NodeClaim, node: core_v1.Node | None) -> None:
        obstacle = obstacle_of(claim, node)
        if obstacle is not None:
            self._set(claim, names.INITIALIZED_CONDITION, "Unknown", *obstacle)
            return
        assert node is not None
        patch = {"metadata": {"labels": {names.INITIALIZED: "true"}}}
        await self.client.patch(core_v1.Node, node.metadata.name, patch, media=MERGE)
        self._set(claim, names.INITIALIZED_CONDITION, "True")
        self.shared.wake_disruption()

    # --- what changes while it runs ---

    def _note_changes(self, claim: NodeClaim) -> None:
        pool = self.shared.cluster.pools.get(claim.pool)
        if pool is None or not claim.is_(names.LAUNCHED):
            return
        self._note_drift(claim, pool)
        if claim.is_(names.INITIALIZED_CONDITION):
            self._note_quiet(claim, pool)
        self._expires(claim)

    def _note_drift(self, claim: NodeClaim, pool: NodePool) -> None:
        class_ = self.shared.cluster.class_of(claim)
        image = class_.status.image if class_ is not None else ""
        reason = drift_of(claim, pool, class_, image)
        if reason:
            self._set(claim, names.DRIFTED, "True", reason)
        else:
            claim.status.conditions = conditions.without(claim.status.conditions, names.DRIFTED)

    def _note_quiet(self, claim: NodeClaim, pool: NodePool) -> None:
        """Consolidatable: its pods have been left alone for as long as the pool wants."""
        last = self.shared.pod_events.get(claim.name, 0.0)
        written = timestamps.parse(claim.status.last_pod_event_time)
        if last - written >= _POD_EVENTS:
            claim.status.last_pod_event_time = timestamps.rfc3339(last)
        after = pool.spec.disruption.consolidate_after
        standing = claim.status.conditions
        wait = lifetime(after)
        if wait is None or pool.is_static:
            claim.status.conditions = conditions.without(standing, names.CONSOLIDATABLE)
            return
        initialized = self._since(claim, names.INITIALIZED_CONDITION)
        quiet_since = max(last, written) or initialized
        ripe = quiet_since + wait
        if self.now >= ripe:
            self._set(claim, names.CONSOLIDATABLE, "True")
        else:
            claim.status.conditions = conditions.without(standing, names.CONSOLIDATABLE)
            self.look_again(claim, ripe)

    def _expires(self, claim: NodeClaim) -> float | None:
        """The time when it expired, None if it has not; then it is requeued for when it will.

        It is counted from the launch, which by the clock is the creation."""
        life = lifetime(claim.spec.expire_after)
        if life is None or not claim.is_(names.LAUNCHED):
            return None
        ends = self._since(claim, names.LAUNCHED) + life
        if self.now >= ends:
            return ends
        self.look_again(claim, ends)
        return None

    def _set_ready(self, claim: NodeClaim) -> None:
        """Ready when launched, registered and initialised."""
        needed = (names.LAUNCHED, names.REGISTERED_CONDITION, names.INITIALIZED_CONDITION)
        missing = [name for name in needed if not claim.is_(name)]
        if not missing:
            self._set(claim, names.READY, "True")
            return
        states = [f"{n}={conditions.state_of(claim.status.conditions, n)}" for n in missing]
        self._set(claim, names.READY, "Unknown", "ReconcilingDependents", ", ".join(states))

    # --- the end ---

    async def finalize(self, obj: NodeClaim) -> float | None:
        try:
            again = await Termination(self.shared, obj).step()
        except StatusError as error:
            if not is_write_overtaken(error):
                raise
            return 0.1
        if again is None:
            self._forget(obj)
        return again

    def _forget(self, claim: NodeClaim) -> None:
        shared = self.shared
        shared.due.pop(claim.name, None)
        shared.pod_events.pop(claim.name, None)
        shared.cluster.marked.pop(claim.name, None)
        shared.cluster.nominated.pop(claim.name, None)
        shared.metrics.claim_terminated(claim)
        shared.reports.ended(claim.pool, claim.name)
        shared.wake_disruption()


def _single(claim: NodeClaim) -> dict[str, str]:
    """Labels that a claim requires to have one value, of which machines say nothing."""
    return {
        r.key: r.values[0]
        for r in claim.spec.requirements
        if r.operator == "In" and len(r.values) == 1 and not r.key.startswith("cloud.tiphys.dev/")
    }


def _owner(claim: NodeClaim) -> str:
    """The uid of its pool; "" for a claim that was created by hand."""
    owners = (owner for owner in claim.metadata.owner_references if owner.kind == "NodePool")
    return next((owner.uid for owner in owners), "")


def _class_name(claim: NodeClaim) -> str:
    return claim.spec.node_class_ref.name


def _comes_or_goes(old: core_v1.Pod | None, new: core_v1.Pod | None) -> bool:
    if old is None or new is None:
        return True
    moved = old.spec.node_name != new.spec.node_name
    return moved or pod_finished(old) != pod_finished(new)
