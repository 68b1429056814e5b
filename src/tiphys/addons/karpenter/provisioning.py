"""Nodes for pods that have none: pods are gathered for a moment, planned together, and NodeClaims
are made."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import replace

from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.claims import claim_of
from tiphys.addons.karpenter.planning import NewNode, Plan, plan
from tiphys.addons.karpenter.podstates import needs_node
from tiphys.addons.karpenter.shared import Shared
from tiphys.addons.karpenter.state import World, unbound, used
from tiphys.addons.karpenter.trials import left_without
from tiphys.addons.karpenter.types import NodeClaim
from tiphys.api import core_v1
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError
from tiphys.scheduler.podinfo import PodInfo

log = logging.getLogger(__name__)

_AGAIN = 10.0  # seconds until pods for which no node could be planned are retried
_RETRY = 1.0  # seconds after a failure
_BETWEEN = 0.1  # seconds between checks for more pods and for claims with machines


class Provisioner:
    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._wake = asyncio.Event()
        self._changed_at = 0.0

    def follow(self) -> None:
        cluster = self._shared.cluster

        def pod_changed(old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
            if new is not None and needs_node(new) and (old is None or not needs_node(old)):
                self._trigger()

        def claim_changed(old: NodeClaim | None, new: NodeClaim | None) -> None:
            if new is None or (new.metadata.deletion_timestamp and old is not None):
                self._trigger()

        def other_changed(old: object, new: object) -> None:
            self._trigger()

        cluster.pods.on_change(pod_changed)
        cluster.claims.on_change(claim_changed)
        cluster.pools.on_change(other_changed)
        cluster.classes.on_change(other_changed)

    def _trigger(self) -> None:
        self._changed_at = time.monotonic()
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_AGAIN):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._batch()
                if not self._shared.cluster.is_settled:
                    await asyncio.sleep(_BETWEEN)
                    self._wake.set()
                    continue
                await self._provision()
            except (StatusError, Unreachable) as error:
                log.info("node claims could not be created: %s", error)
                await asyncio.sleep(_RETRY)
                self._wake.set()
            except Exception:  # one failure must not stop the loop
                log.exception("nodes could not be planned")
                await asyncio.sleep(_RETRY)
                self._wake.set()

    async def _batch(self) -> None:
        """Until no pod has come for a moment, but not for ever."""
        began = time.monotonic()
        times = self._shared.times
        while time.monotonic() - began < times.batch_max:
            quiet = time.monotonic() - self._changed_at
            if quiet >= times.batch_idle:
                break
            await asyncio.sleep(min(times.batch_idle - quiet, _BETWEEN))
        self._wake.clear()

    async def _provision(self) -> None:
        world = self._shared.cluster.world(self._shared.now)
        waiting = [*world.pending, *world.moving()]
        if not waiting:
            self._shared.metrics.unschedulable.set(0)
            return
        began = time.perf_counter()
        result = await asyncio.to_thread(plan_for, world, waiting)
        self._shared.metrics.scheduling.observe(time.perf_counter() - began)
        self._shared.metrics.unschedulable.set(len(result.errors))
        self._report(world, result)
        await self.make(result.new, "provisioned")

    def _report(self, world: World, result: Plan) -> None:
        """Reports to pods where they will run, or why nowhere, and nominates nodes."""
        pods = {f"{p.metadata.namespace}/{p.metadata.name}": p for p in world.pending}
        for key, error in result.errors.items():
            if key in pods:
                text = f"Failed to schedule pod, {error}"
                self._shared.event_once(pods[key], "FailedScheduling", text, 300.0)
        claims = {n.name: n.claim for n in world.nodes if n.claim is not None}
        for name, placed in result.placed.items():
            claim = claims.get(name)
            if claim is None:
                continue
            self._shared.nominate(claim)
            for pod in placed:
                if pod.key in pods:
                    text = f"Pod should schedule on: nodeclaim/{claim.name}, node/{name}"
                    self._shared.event_once(pods[pod.key], "Nominated", text, 300.0)

    async def make(self, new: Iterable[NewNode], reason: str) -> list[NodeClaim]:
        """Makes claims. A pool that is over its limits already makes none. Raises StatusError."""
        claims = []
        for new_node in new:
            claim = await self._shared.client.create(claim_of(new_node))
            self._shared.cluster.claims.note_written(claim)
            claims.append(claim)
            log.info(
                "%s: created node claim %s for %d pods", reason, claim.name, len(new_node.pods)
            )
            relaxed = claim.metadata.annotations.get(names.MIN_VALUES_RELAXED, "false")
            self._shared.metrics.claims_created.labels(reason, claim.pool, relaxed).inc()
            if new_node.pods:
                # Upstream does so when it plans again, ten seconds later: machines of a cloud are
                # never ready sooner. Ours are, and would be taken for empty before the pods come.
                self._shared.nominate(claim)
            for pod in new_node.pods:
                text = f"Pod should schedule on: nodeclaim/{claim.name}"
                if not pod.spec.node_name:
                    self._shared.event_once(pod.pod, "Nominated", text, 300.0)
        return claims


def plan_for(world: World, pods: list[core_v1.Pod]) -> Plan:
    """Pods on nodes that are going count as if they were on none. Nodes that are going do not count
    for limits: what replaces them is there before they are gone (upstream)."""
    infos = [PodInfo(unbound(pod)) for pod in pods]
    sums = used(node for node in world.nodes if not node.is_deleting)
    left = left_without(world.offers, sums, ())
    offers = [replace(offer, left=left[offer.name]) for offer in world.offers]
    return plan(infos, offers, world.standing(), relaxes=world.relaxes)
