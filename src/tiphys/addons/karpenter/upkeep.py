"""What is checked every second: static pools, machines that are taken away or fell silent, and
what was left behind."""

from __future__ import annotations

import asyncio
import logging

from tiphys.addons._cloud.machines import Machine
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.budgets import share
from tiphys.addons.karpenter.disruption import bare
from tiphys.addons.karpenter.offers import NODES
from tiphys.addons.karpenter.provisioning import Provisioner
from tiphys.addons.karpenter.shared import Shared
from tiphys.addons.karpenter.state import StateNode
from tiphys.addons.karpenter.types import NodeClaim, NodePool, Replaced
from tiphys.api import core_v1
from tiphys.client.client import MERGE, Unreachable
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.machinery.footprint import units
from tiphys.machinery.nodes import is_ready

log = logging.getLogger(__name__)

_RETRY = 1.0  # seconds after a failure
_PERIOD = 1.0  # seconds
_LOST = 60.0  # seconds that a machine without a claim, or a claim without a machine, may be new
_UNHEALTHY = 1800.0  # seconds that a node may not be ready before it is repaired (upstream: 30 min)
_UNHEALTHY_SHARE = "20%"  # of a pool's nodes: where more are not ready, none is repaired


class Upkeep:
    def __init__(self, shared: Shared, provisioner: Provisioner) -> None:
        self._shared = shared
        self._provisioner = provisioner
        self._lost: dict[str, float] = {}
        shared.cloud.on_notice(self._noticed)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD)
            try:
                await self._look()
            except (StatusError, Unreachable) as error:
                log.info("upkeep failed, retrying: %s", error)
            except Exception:  # one failure must not stop the loop
                log.exception("upkeep failed")
                await asyncio.sleep(_RETRY)

    async def _look(self) -> None:
        states = self._shared.cluster.states(self._shared.now)
        for pool in list(self._shared.cluster.pools):
            if pool.is_static and not pool.metadata.deletion_timestamp:
                await self._keep_replicas(pool, states)
        for state in states:
            await self._repair(state, states)
        await self._collect(states)
        await self._shared.reports.write()

    # --- static pools ---

    async def _keep_replicas(self, pool: NodePool, states: list[StateNode]) -> None:
        """As many nodes as the pool specifies, independent of pods. Those that are being replaced
        have their replacement already."""
        own = [s for s in states if s.claim is not None and s.claim.pool == pool.name]
        staying = [s for s in own if not s.is_deleting]
        wanted = pool.spec.replicas or 0
        replacing = sum(1 for s in own if s.marked and not _is_going(s))
        surplus = len(staying) - wanted
        if surplus > 0 and not replacing:
            for state in sorted(staying, key=_least_used)[:surplus]:
                assert state.claim is not None
                await self._shared.delete_claim(state.claim, "scaled_down")
            return
        limit = pool.spec.limits.get(NODES)
        room = units(NODES, limit) - len(own) if limit is not None else -surplus
        missing = min(-surplus, room)
        if missing <= 0:
            return
        offers = self._shared.cluster.offers(states, self._shared.now)
        offer = next((each for each in offers if each.name == pool.name), None)
        if offer is not None and offer.options:
            await self._provisioner.make([bare(offer) for _ in range(missing)], "static")

    # --- machines that go ---

    def _noticed(self, machine: Machine) -> None:
        """Spot machines are taken away with a notice: their nodes are drained at once."""
        self._shared.context.tasks.start(self._interrupted(machine), f"notice-{machine.name}")

    async def _interrupted(self, machine: Machine) -> None:
        for claim in self._shared.cluster.claims:
            if claim.status.provider_id != machine.id:
                continue
            node = self._shared.cluster.node_of(claim)
            reason = "SpotInterrupted" if machine.capacity_type == names.SPOT else "Interrupted"
            text = f"{reason} event was received for the nodeclaim"
            for obj in (claim, node):
                if obj is not None:
                    self._shared.event(obj, reason, text, True)
            key = (machine.type, machine.zone, machine.capacity_type)
            if machine.capacity_type == names.SPOT:
                self._shared.cluster.note_scarce(key, self._shared.now)
            await self._end(claim, "interrupted", "Interrupted")

    async def _end(self, claim: NodeClaim, counted: str, reason: str) -> None:
        if claim.metadata.deletion_timestamp:
            return
        entry = Replaced(
            node=claim.status.node_name,
            node_claim=claim.name,
            reason=reason,
            image=claim.status.image_id,
            allowed=-1,
        )
        self._shared.reports.begun(claim.pool, entry, self._shared.now)
        await self._shared.delete_claim(claim, counted)

    # --- repair ---

    async def _repair(self, state: StateNode, states: list[StateNode]) -> None:
        """Replaces a node that has not been ready for half an hour, by force, unless many are not:
        then it is not the node's fault."""
        if state.node is None or state.claim is None or state.is_deleting:
            return
        name = state.node.metadata.name
        if is_ready(state.node) or not state.claim.is_(names.REGISTERED_CONDITION):
            self._shared.unready.pop(name, None)
            return
        now = self._shared.now
        since = self._shared.unready.setdefault(name, now)
        if now - since < _UNHEALTHY:
            return
        own = [s for s in states if s.claim is not None and s.pool == state.pool]
        unready = sum(1 for s in own if s.node is not None and not is_ready(s.node))
        if unready > max(share(_UNHEALTHY_SHARE, len(own)), 1):
            text = f"more than {_UNHEALTHY_SHARE} nodes are unhealthy in the nodepool"
            self._shared.event_once(state.node, "NodeRepairBlocked", text)
            return
        annotations = {names.TERMINATION_TIME: timestamps.rfc3339(now)}
        patch = {"metadata": {"annotations": annotations}}
        await self._shared.client.patch(NodeClaim, state.claim.name, patch, media=MERGE)
        await self._end(state.claim, "unhealthy", "Unhealthy")

    # --- what is left behind ---

    async def _collect(self, states: list[StateNode]) -> None:
        """Machines that no claim names, claims whose machine is gone, nodes without either."""
        now = self._shared.now
        named = {s.claim.status.provider_id for s in states if s.claim is not None}
        lost: set[str] = set()
        for machine in self._shared.cloud.machines():
            if machine.id not in named:
                lost.add(machine.id)
                if now - self._lost.setdefault(machine.id, now) > _LOST:
                    await self._shared.cloud.delete(machine.id)
        for state in states:
            await self._collect_one(state)
        self._lost = {id: since for id, since in self._lost.items() if id in lost}

    async def _collect_one(self, state: StateNode) -> None:
        claim = state.claim
        node = state.node
        if claim is not None and claim.is_(names.LAUNCHED):
            is_gone = self._shared.cloud.get(claim.status.provider_id) is None
            if is_gone and (node is None or not is_ready(node)):
                await self._end(claim, "instance_gone", "InstanceGone")
        if node is None or claim is not None or not node.metadata.deletion_timestamp:
            return
        if names.TERMINATION in node.metadata.finalizers:
            await self._release(node)

    async def _release(self, node: core_v1.Node) -> None:
        """It will not be drained."""
        kept = [one for one in node.metadata.finalizers if one != names.TERMINATION]
        patch = {"metadata": {"finalizers": kept}}
        try:
            await self._shared.client.patch(core_v1.Node, node.metadata.name, patch, media=MERGE)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise


def _is_going(state: StateNode) -> bool:
    return state.claim is not None and bool(state.claim.metadata.deletion_timestamp)


def _least_used(state: StateNode) -> tuple[bool, bool, int, str]:
    """Those that are not ready, or have few pods, go first."""
    drifted = state.claim is not None and conditions.is_true(
        state.claim.status.conditions, names.DRIFTED
    )
    return state.is_ready, not drifted, len(state.reschedulable), state.name
