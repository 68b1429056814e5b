"""Carries out what is to be disrupted: looks every few seconds, waits, looks again, taints, makes
replacements, and lets nodes go when these are ready."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.budgets import UNLIMITED, allowed
from tiphys.addons.karpenter.disruption import (
    VALIDATED,
    Command,
    Look,
    Options,
    look,
    still_holds,
)
from tiphys.addons.karpenter.provisioning import Provisioner
from tiphys.addons.karpenter.shared import Shared
from tiphys.addons.karpenter.state import World, counts_of, staying
from tiphys.addons.karpenter.termination import taint, untaint
from tiphys.addons.karpenter.types import NodeClaim, Replaced
from tiphys.api.meta_v1 import Condition
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

_RETRY = 1.0  # seconds after a failure
_TICK = 0.1  # seconds between checks of the clock
_PATIENCE = 600.0  # seconds until a command whose replacements are not ready is abandoned
_CONSOLIDATED = (
    300.0  # seconds for which nothing is tried again unless something changes: upstream's
)


@dataclass
class _Running:
    """A command under way: `claims` go when `replacements` are ready."""

    command: Command
    began: float
    claims: list[NodeClaim]
    replacements: list[str] = field(default_factory=list)


class Disrupter:
    def __init__(self, shared: Shared, provisioner: Provisioner) -> None:
        self._shared = shared
        self._provisioner = provisioner
        self._running: list[_Running] = []
        self._pending: tuple[Command, float] | None = None  # and when it is to be validated again
        self._next_look = 0.0
        self._consolidated: tuple[int, float] = (0, 0.0)  # a world's signature, and until when
        self._options = Options(shared.settings.spot_to_spot_consolidation)
        shared.wake_disruption = self._look_soon

    def _look_soon(self) -> None:
        """A node has become ready or has gone: budgets may leave room now."""
        self._next_look = min(self._next_look, self._shared.now)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self._tick()
            except (StatusError, Unreachable) as error:
                log.info("disruption failed, retrying: %s", error)
            except Exception:  # one failure must not stop the loop
                log.exception("the search for nodes to disrupt failed")
                await asyncio.sleep(_RETRY)

    async def _tick(self) -> None:
        for running in list(self._running):
            await self._proceed(running)
        now = self._shared.now
        if not self._shared.cluster.is_settled:
            return
        if self._pending is not None:
            command, when = self._pending
            if now >= when:
                self._pending = None
                await self._validate(command)
            return
        if now >= self._next_look:
            self._next_look = now + self._shared.times.disruption
            await self._look()

    # --- deciding ---

    async def _look(self) -> None:
        await self._tidy()
        world = self._shared.cluster.world(self._shared.now)
        began = time.perf_counter()
        signature, until = self._consolidated
        current = await asyncio.to_thread(world.signature)
        is_known = current == signature and world.now < until
        outcome = await asyncio.to_thread(look, world, self._options, not is_known)
        self._shared.metrics.evaluation.observe(time.perf_counter() - began)
        self._tell(world, outcome)
        if not is_known and not outcome.commands and not outcome.skipped:
            self._consolidated = (current, world.now + _CONSOLIDATED)
        for command in outcome.commands:
            if command.method in VALIDATED:
                self._pending = (command, self._shared.now + self._shared.times.validation)
                return
            await self._start(command, world)
            self._next_look = self._shared.now

    async def _validate(self, command: Command) -> None:
        world = self._shared.cluster.world(self._shared.now)
        valid = await asyncio.to_thread(still_holds, command, world, self._options)
        if valid is None:
            self._shared.metrics.failed_validations.labels(command.method).inc()
            return
        await self._start(valid, world)
        self._next_look = self._shared.now

    def _tell(self, world: World, outcome: Look) -> None:
        states = {state.name: state for state in world.nodes}
        for note in outcome.notes:
            state = states[note.node]
            for obj in (state.node, state.claim):
                if obj is not None:
                    self._shared.event_once(obj, note.reason, note.message)
        for (pool, reason), allowance in outcome.held.items():
            self._shared.reports.held(pool, reason, allowance.text)
            text = f"No allowed disruptions for disruption reason {reason} due to blocking budget"
            self._shared.event_once(world.pools[pool], "DisruptionBlocked", text, 60.0)
        counts = world.counts()
        for name, pool_ in world.pools.items():
            total = counts[name].total if name in counts else 0
            for reason in names.REASONS:
                nodes = allowed(pool_, reason, total, world.now).nodes
                self._shared.metrics.allowed.labels(name, reason).set(nodes)

    async def _tidy(self) -> None:
        """Nodes that were tainted by an interrupted disruption are untainted."""
        for claim, node in staying(self._shared.cluster.states(self._shared.now)):
            await untaint(self._shared, node)
            if claim.is_(names.DISRUPTION_REASON):
                await self._shared.set_condition(claim.name, None, names.DISRUPTION_REASON)

    # --- doing ---

    async def _start(self, command: Command, world: World) -> None:
        """Taints the nodes and orders what replaces them. Nodes that cannot be tainted stay; where
        something is to replace them, nothing happens then."""
        claims: list[NodeClaim] = []
        for candidate in command.candidates:
            node = self._shared.cluster.nodes.get(candidate.name)
            if node is None:
                continue
            try:
                await taint(self._shared, node)
            except StatusError as error:
                log.info("node %s could not be tainted: %s", candidate.name, error)
                continue
            claims.append(candidate.claim)
        if not claims or (command.replacements and len(claims) < len(command.candidates)):
            await self._give_up(claims)
            return
        try:
            replacement_claims = await self._provisioner.make(
                command.replacements, command.reason.lower()
            )
        except StatusError:
            await self._give_up(claims)
            raise
        for claim in claims:
            # Not before what replaces it is ordered: it would be ordered twice.
            self._shared.cluster.marked[claim.name] = command.reason
        for state in world.nodes:
            # Pods will come to it, so the next look must leave it alone.
            if state.claim is not None and state.name in command.placed:
                self._shared.nominate(state.claim)
        for claim in claims:
            wanted = Condition(
                type=names.DISRUPTION_REASON,
                status="True",
                reason=command.reason,
                message=command.reason,
            )
            await self._shared.set_condition(claim.name, wanted, wanted.type)
        running = _Running(
            command, self._shared.now, claims, [claim.name for claim in replacement_claims]
        )
        self._running.append(running)
        self._report(running, world)
        decision = (command.decision, command.reason.lower(), command.method)
        self._shared.metrics.decisions.labels(*decision).inc()
        log.info(
            "%s: %s %s, replaced by %s",
            command.reason,
            command.decision,
            ", ".join(claim.name for claim in claims),
            ", ".join(running.replacements) or "nothing",
        )

    def _report(self, running: _Running, world: World) -> None:
        counts = counts_of(self._shared.cluster.states(self._shared.now))
        before = world.counts()
        for candidate in running.command.candidates:
            pool = candidate.pool
            total = before[pool.name].total
            nodes = allowed(pool, running.command.reason, total, world.now).nodes
            entry = Replaced(
                node=candidate.name,
                node_claim=candidate.claim.name,
                reason=running.command.reason,
                image=candidate.claim.status.image_id,
                replacements=list(running.replacements),
                pods=len(candidate.pods),
                in_progress=counts[pool.name].disrupted if pool.name in counts else 0,
                allowed=-1 if nodes == UNLIMITED else nodes,
            )
            self._shared.reports.begun(pool.name, entry, world.now)

    async def _proceed(self, running: _Running) -> None:
        """Lets the nodes go once everything that replaces them is initialised."""
        missing = 0
        for name in running.replacements:
            claim = self._shared.cluster.claims.get(name)
            if claim is None or claim.metadata.deletion_timestamp:
                await self._fail(running, f"replacement {name} was deleted")
                return
            missing += not claim.is_(names.INITIALIZED_CONDITION)
        if missing:
            if self._shared.now - running.began > _PATIENCE:
                await self._fail(running, "replacements are not ready")
            return
        self._running.remove(running)
        for claim in running.claims:
            node = self._shared.cluster.node_of(claim)
            reason = running.command.reason
            if node is not None:
                self._shared.event(node, "DisruptionTerminating", f"Disrupting Node: {reason}")
            self._shared.event(claim, "DisruptionTerminating", f"Disrupting NodeClaim: {reason}")
            await self._shared.delete_claim(claim, reason.lower())

    async def _fail(self, running: _Running, cause: str) -> None:
        log.info("disruption command %s was abandoned: %s", running.command.reason, cause)
        self._running.remove(running)
        command = running.command
        labels = (command.decision, command.reason.lower())
        self._shared.metrics.failed_commands.labels(*labels).inc()
        await self._give_up(running.claims)

    async def _give_up(self, claims: list[NodeClaim]) -> None:
        """The nodes stay. Their taints go at the next look."""
        for claim in claims:
            self._shared.cluster.marked.pop(claim.name, None)
            self._shared.reports.given_up(claim.pool, claim.name)
