"""The end of a node: tainted, drained through the Eviction API, volumes detached, machine gone."""

from __future__ import annotations

import logging

from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.podstates import (
    in_order,
    is_active,
    is_evictable,
    is_waited_for,
    must_be_deleted,
    stays,
)
from tiphys.addons.karpenter.requirements import lifetime
from tiphys.addons.karpenter.shared import Shared
from tiphys.addons.karpenter.types import NodeClaim
from tiphys.api import core_v1
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import Condition, DeleteOptions, ObjectMeta, Preconditions
from tiphys.api.policy_v1 import Eviction
from tiphys.client.client import MERGE
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import (
    StatusError,
    is_not_found,
    is_too_many_requests,
    is_write_overtaken,
)
from tiphys.machinery.nodes import is_ready

log = logging.getLogger(__name__)

_AGAIN = 1.0  # seconds
_MANY_BUDGETS = "which the eviction subresource does not support"
_PODS = resource_of(core_v1.Pod)


class Termination:
    """Of one claim. `step` does what can be done now."""

    def __init__(self, shared: Shared, claim: NodeClaim) -> None:
        self._shared = shared
        self._claim = claim
        self._client = shared.client

    async def step(self) -> float | None:
        """Seconds until the next step, None when nothing is left."""
        claim = self._claim
        node_ends = await self._node_ends()
        node = self._shared.cluster.node_of(claim)
        if node is not None and self._machine_is_gone(node):
            await self._release(node)
            return None
        if node is not None:
            again = await self._empty(node, node_ends)
            if again is not None:
                return again
        if claim.status.provider_id:
            await self._shared.cloud.delete(claim.status.provider_id)
            await self._set(names.INSTANCE_TERMINATING, "True")
        if node is not None:
            await self._release(node)
        return None

    def _machine_is_gone(self, node: core_v1.Node) -> bool:
        return not is_ready(node) and self._shared.cloud.get(node.spec.provider_id) is None

    async def _node_ends(self) -> float | None:
        """When what is left on the node is ended by force; None: never. It is set once, when the
        end starts."""
        claim = self._claim
        deadline = claim.metadata.annotations.get(names.TERMINATION_TIME)
        if deadline:
            return timestamps.parse(deadline)
        grace = lifetime(claim.spec.termination_grace_period)
        if grace is None:
            return None
        ends = self._shared.now + grace
        annotations = {names.TERMINATION_TIME: timestamps.rfc3339(ends)}
        patch = {"metadata": {"annotations": annotations}}
        await self._client.patch(NodeClaim, claim.name, patch, media=MERGE)
        return ends

    async def _empty(self, node: core_v1.Node, node_ends: float | None) -> float | None:
        """Drains the node and waits for its volumes; seconds to wait for, None when it is empty."""
        if not node.metadata.deletion_timestamp:
            await self._delete_node(node)
        await self._taint(node)
        drained = conditions.find(self._claim.status.conditions, names.DRAINED)
        if drained is None:
            await self._set(names.DRAINED, "Unknown", "Draining", "Draining")
            drained = self._claim_condition(names.DRAINED)
        if drained is None or drained.status != "True":
            waiting = await self._drain(node, node_ends)
            if waiting:
                return _AGAIN
            since = timestamps.parse(drained.last_transition_time) if drained else self._shared.now
            left = since + self._shared.times.drain - self._shared.now
            if left > 0:
                return min(left, _AGAIN)
            await self._set(names.DRAINED, "True")
            self._shared.metrics.nodes_drained.labels(self._claim.pool).inc()
            self._shared.reports.drained(self._claim.pool, self._claim.name)
        return await self._detach(node, node_ends)

    def _claim_condition(self, type_: str) -> Condition | None:
        return conditions.find(self._claim.status.conditions, type_)

    async def _delete_node(self, node: core_v1.Node) -> None:
        try:
            await self._client.delete(core_v1.Node, node.metadata.name, uid=node.metadata.uid)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise

    async def _taint(self, node: core_v1.Node) -> None:
        await taint(self._shared, node, balancers=True)

    # --- pods ---

    async def _drain(self, node: core_v1.Node, node_ends: float | None) -> bool:
        """Evicts the pods that are next; whether any is still waited for."""
        now = self._shared.now
        pods = self._shared.cluster.pods_on(node.metadata.name)
        waiting = [pod for pod in pods if is_waited_for(pod, self._end_of(pod), now)]
        forced = [p for p in waiting if must_be_deleted(p, self._end_of(p), node_ends, now)]
        for pod in forced:
            assert node_ends is not None
            await self._force(pod, node_ends)
        rest = [pod for pod in waiting if pod not in forced]
        for pod in in_order(rest)[0] if rest else ():
            if is_evictable(pod):
                await self._evict(pod, node)
            elif is_active(pod) and not stays(pod):
                key = f"{pod.metadata.namespace}/{pod.metadata.name}"
                message = f'pod has "{names.DO_NOT_DISRUPT}" annotation (Pod={key})'
                self._failed(node, message)
        return bool(waiting)

    def _end_of(self, pod: core_v1.Pod) -> float | None:
        """When the grace of a pod that is ending is over: from when it was first seen so, by the
        clock that decides everything else here."""
        if not pod.metadata.deletion_timestamp:
            return None
        grace = float(pod.metadata.deletion_grace_period_seconds or 0)
        return self._shared.ends.setdefault(pod.metadata.uid, self._shared.now + grace)

    async def _evict(self, pod: core_v1.Pod, node: core_v1.Node) -> None:
        meta = pod.metadata
        options = DeleteOptions(preconditions=Preconditions(uid=meta.uid))
        eviction = Eviction(
            metadata=ObjectMeta(name=meta.name, namespace=meta.namespace), delete_options=options
        )
        count = self._shared.metrics.evictions
        try:
            await self._client.post(_PODS, meta.namespace, meta.name, "eviction", eviction)
        except StatusError as error:
            count.labels(str(error.code)).inc()
            if is_write_overtaken(error) and not is_too_many_requests(error):
                return  # it is gone, or another of its name is there
            key = f"{meta.namespace}/{meta.name}"
            if is_too_many_requests(error):
                self._failed(node, f"evicting pod violates a PDB (Pod={key})")
            elif _MANY_BUDGETS in str(error):
                self._failed(node, f"eviction does not support multiple PDBs (Pod={key})")
            elif not is_not_found(error):
                raise
            return
        count.labels("200").inc()
        self._shared.event(pod, "Evicted", "Evicted pod: node is terminating")

    async def _force(self, pod: core_v1.Pod, node_ends: float) -> None:
        grace = max(int(node_ends - self._shared.now), 1)
        meta = pod.metadata
        message = (
            f"Deleting the pod to accommodate the terminationTime "
            f"{timestamps.rfc3339(node_ends)} of the node. The pod was granted {grace} seconds of "
            "grace-period."
        )
        self._shared.event(pod, "Disrupted", message)
        try:
            await self._client.delete(
                core_v1.Pod, meta.name, meta.namespace, grace=grace, uid=meta.uid
            )
        except StatusError as error:
            if not is_write_overtaken(error):
                raise

    def _failed(self, node: core_v1.Node, cause: str) -> None:
        message = f"Failed to drain node, {cause}"
        self._shared.event_once(node, "FailedDraining", message, 60.0)
        self._shared.reports.held(self._claim.pool, "Draining", cause)

    # --- volumes and the object ---

    async def _detach(self, node: core_v1.Node, node_ends: float | None) -> float | None:
        """Waits until volumes of pods that have moved are detached."""
        if self._claim.is_(names.VOLUMES_DETACHED):
            return None
        name = node.metadata.name
        attached = [a for a in self._shared.cluster.attachments if a.spec.node_name == name]
        if not attached:
            await self._set(names.VOLUMES_DETACHED, "True")
            return None
        reason = "AwaitingVolumeDetachment"
        if node_ends is not None and self._shared.now > node_ends:
            reason = "TerminationGracePeriodElapsed"
            await self._set(names.VOLUMES_DETACHED, "False", reason, reason)
            return None
        message = f"Awaiting deletion of {len(attached)} VolumeAttachments"
        self._shared.event_once(node, reason, message, 60.0)
        await self._set(names.VOLUMES_DETACHED, "Unknown", reason, reason)
        return _AGAIN

    async def _release(self, node: core_v1.Node) -> None:
        """Lets the Node object go."""
        kept = [name for name in node.metadata.finalizers if name != names.TERMINATION]
        patch = {"metadata": {"finalizers": kept}}
        try:
            await self._client.patch(core_v1.Node, node.metadata.name, patch, media=MERGE)
            await self._client.delete(core_v1.Node, node.metadata.name, uid=node.metadata.uid)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise

    async def _set(self, type_: str, status: str, reason: str = "", message: str = "") -> None:
        wanted = Condition(type=type_, status=status, reason=reason or type_, message=message)
        standing = conditions.find(self._claim.status.conditions, type_)
        if conditions.differs(standing, wanted):
            await self._shared.set_condition(self._claim.name, wanted, type_)
            self._claim.status.conditions = conditions.updated(
                self._claim.status.conditions, wanted, self._shared.now
            )


async def taint(shared: Shared, node: core_v1.Node, balancers: bool = False) -> None:
    """Keeps new pods away from a node that goes; with `balancers` load balancers, too."""
    has_taint = any(one.key == names.DISRUPTED_TAINT for one in node.spec.taints)
    has_label = not balancers or names.EXCLUDE_BALANCERS in node.metadata.labels
    if has_taint and has_label:
        return
    new_taint = core_v1.Taint(key=names.DISRUPTED_TAINT, effect="NoSchedule")
    taints = [one for one in node.spec.taints if one.key != names.DISRUPTED_TAINT]
    metadata: dict[str, object] = {"resourceVersion": node.metadata.resource_version}
    if balancers:
        metadata["labels"] = {names.EXCLUDE_BALANCERS: "karpenter"}
    patch = {"metadata": metadata, "spec": {"taints": [*taints, new_taint]}}
    written = await shared.client.patch(core_v1.Node, node.metadata.name, patch, media=MERGE)
    shared.cluster.note_node(written)


async def untaint(shared: Shared, node: core_v1.Node) -> None:
    """Lets pods come again to a node that stays after all."""
    kept = [one for one in node.spec.taints if one.key != names.DISRUPTED_TAINT]
    if len(kept) == len(node.spec.taints):
        return
    patch = {
        "metadata": {"resourceVersion": node.metadata.resource_version},
        "spec": {"taints": kept},
    }
    written = await shared.client.patch(core_v1.Node, node.metadata.name, patch, media=MERGE)
    shared.cluster.note_node(written)
