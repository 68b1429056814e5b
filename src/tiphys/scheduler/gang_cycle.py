"""The scheduling cycle of a gang. Read `GangCycle.schedule` from top to bottom.

All pending pods of the gang are looked at in one go, before any other pod: each is placed and
assumed, as a pod by itself would be, so that the next one sees what it took. If enough have a node
they are bound, else all give back what they took. So no gang holds room while it waits for more,
and two of them never wait for each other (the coscheduling plugin, which places pod by pod and has
them wait in permit, needs a timeout for that).

The more important gang makes room for itself in the same way: pods are preempted for all of its
members that have no node, or for none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tiphys.scheduler.cluster_events import ClusterEvent
from tiphys.scheduler.gangs import Gang, Gangs
from tiphys.scheduler.placement import Placement
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.preemption import Candidate, may_preempt
from tiphys.scheduler.queue import QueueingHint
from tiphys.scheduler.reporting import FailureReason
from tiphys.scheduler.state import SchedulerState
from tiphys.scheduler.timeslice import TimeSlice

if TYPE_CHECKING:
    from tiphys.scheduler.cycle import SchedulingCycle


@dataclass
class _Round:
    """One attempt: `assumed` members have a node, `failed` ones have none, `untried` were
    skipped once it was clear that the gang does not fit."""

    gang: Gang
    needed: int
    assumed: list[tuple[PodInfo, str]] = field(default_factory=list)
    failed: list[tuple[PodInfo, Placement]] = field(default_factory=list)
    untried: list[PodInfo] = field(default_factory=list)

    @property
    def is_placed(self) -> bool:
        return len(self.assumed) >= self.needed


def _never(event: ClusterEvent) -> bool:
    return False


class GangCycle:
    def __init__(self, cycle: SchedulingCycle, state: SchedulerState, gangs: Gangs) -> None:
        self._cycle = cycle
        self._now = state.now
        self._queue = state.queue
        self._cache = state.cache
        self._snapshot = state.snapshot
        self._nominator = state.nominator
        self._gangs = gangs

    async def schedule(self, pod: PodInfo, gang: Gang) -> None:
        """The cycle of the gang of a pod that was popped."""
        began = self._now()
        pending = self._queue.pending_of(gang.key)
        members = [member for member in pending if not self._cache.is_assumed(member.uid)]
        sized = [member.gang.size for member in members if member.gang is not None]
        size = max(sized, default=gang.size)
        placed = self._count_placed(gang, pending)
        if placed + len(members) < size:
            self._wait_for_more(pod, gang, placed + len(members), size)
            self._cycle.attempted_without_node(pod, began)
            return

        self._queue.take(gang.key, {member.uid for member in members})
        attempt = _Round(gang, size - placed)
        await self._place(attempt, members)
        self._forget_gone(attempt)
        if attempt.is_placed:
            await self._bind(attempt, began)
        else:
            await self._give_up(attempt, size)
            self._cycle.attempted_without_node(pod, began)
        self._queue.end_flight()

    async def _give_up(self, attempt: _Round, size: int) -> None:
        candidates = await self._make_room(attempt)
        self._give_back(attempt, bool(candidates))
        self._report(attempt, size)
        for member, candidate in candidates:
            self._cycle.post_filter.start_eviction(member, candidate)

    def _count_placed(self, gang: Gang, pending: list[PodInfo]) -> int:
        """Pods on nodes, and those whose binding is on its way."""
        on_nodes = self._gangs.placed(gang.key)
        assumed = {member.uid for member in pending if self._cache.is_assumed(member.uid)}
        return len(on_nodes | assumed)

    def _wait_for_more(self, pod: PodInfo, gang: Gang, count: int, size: int) -> None:
        """Upstream keeps such pods out of the queue (PreEnqueue of GangScheduling). Here they are
        unschedulable, and say why; the next member that comes makes them active."""
        self._queue.add_unschedulable(pod, _never)
        message = f"pod group {gang.key} has {count} of {size} pods"
        self._cycle.reporter.failed(pod, FailureReason.UNSCHEDULABLE, message)

    # --- place ---

    async def _place(self, attempt: _Round, members: list[PodInfo]) -> None:
        time_slice = TimeSlice(self._now)
        may_fail = len(members) - attempt.needed
        for index, member in enumerate(members):
            if len(attempt.failed) > may_fail:
                attempt.untried = members[index:]
                return
            await self._place_one(attempt, member)
            await time_slice.yield_if_over()

    async def _place_one(self, attempt: _Round, member: PodInfo) -> None:
        self._nominator.release(member.uid)
        placement = await self._cycle.find_node(member)
        if placement.node and not placement.error:
            self._cache.assume(member, placement.node)
            if self._cycle.reserve(member, placement.node):
                attempt.assumed.append((member, placement.node))
                return
            self._cache.forget(member.uid)
            placement = Placement(error="another pod was faster to take its devices")
        attempt.failed.append((member, placement))

    def _forget_gone(self, attempt: _Round) -> None:
        """Those that were deleted meanwhile."""
        remaining = [
            (candidate, node)
            for candidate, node in attempt.assumed
            if self._queue.has(candidate.uid)
        ]
        for member, node in attempt.assumed:
            if (member, node) not in remaining:
                self._cycle.unreserve(member)
        attempt.assumed = remaining

    # --- bind ---

    async def _bind(self, attempt: _Round, began: float) -> None:
        """Binds those that have a node. There may be more members than the gang needs: the others
        wait like any pod."""
        for member, placement in attempt.failed:
            await self._cycle.handle_without_node(member, placement, began)
        for member in attempt.untried:
            self._queue.add_unschedulable(member, None)
        for member, node in attempt.assumed:
            await self._cycle.start_binding(member, node, began)

    # --- it does not fit ---

    async def _make_room(self, attempt: _Round) -> list[tuple[PodInfo, Candidate]]:
        """Whom to preempt, so that all that are needed have a node; empty if that does not do."""
        lacking = [member for member, _ in attempt.failed] + attempt.untried
        if not lacking or not all(may_preempt(member) for member in lacking):
            return []
        attempt.failed.clear()
        attempt.untried = []
        candidates: list[tuple[PodInfo, Candidate]] = []
        while lacking and len(attempt.assumed) + len(candidates) < attempt.needed:
            member = lacking.pop(0)
            await self._place_one(attempt, member)
            if not attempt.failed or attempt.failed[-1][0] is not member:
                continue
            placement = attempt.failed[-1][1]
            candidate = None
            if not placement.error:
                candidate = await self._cycle.preempt(member, placement)
            if candidate is not None:
                candidates.append((member, candidate))
            elif len(attempt.assumed) + len(candidates) + len(lacking) < attempt.needed:
                break
        attempt.untried = lacking
        if len(attempt.assumed) + len(candidates) >= attempt.needed:
            return candidates
        self._withdraw(candidates)
        return []

    def _withdraw(self, candidates: list[tuple[PodInfo, Candidate]]) -> None:
        for member, _ in candidates:
            self._nominator.withdraw(member.uid)

    def _give_back(self, attempt: _Round, makes_room: bool) -> None:
        """What was taken is free. While victims leave, it is kept for the members by nomination."""
        for member, node in attempt.assumed:
            self._cycle.unreserve(member)
            if makes_room:
                self._nominator.nominate(member, node)
            else:
                self._nominator.renominate(member)

    def _report(self, attempt: _Round, size: int) -> None:
        """All members wait for what may help those that have no node. If it is not known where one
        fits, they are tried again after a back-off."""
        is_error = any(placement.error for _, placement in attempt.failed)
        reason = FailureReason.SCHEDULER_ERROR if is_error else FailureReason.UNSCHEDULABLE
        hint = self._hint_of(attempt)
        cause = attempt.failed[0][1].message if attempt.failed else "its pods are gone"
        message = f"pod group {attempt.gang.key} needs nodes for {size} pods at once: {cause}"
        waiting = [
            *(member for member, _ in attempt.assumed),
            *attempt.untried,
            *(member for member, _ in attempt.failed),
        ]
        for member in waiting:
            if is_error:
                self._queue.add_backoff(member)
            else:
                self._queue.add_unschedulable(member, hint)
            nominated = self._nominator.node_of(member.uid)
            self._cycle.reporter.failed(member, reason, message, nominated)

    def _hint_of(self, attempt: _Round) -> QueueingHint | None:
        hints = [
            placement.queueing_hint(self._snapshot, member) for member, placement in attempt.failed
        ]
        known = [hint for hint in hints if hint is not None]
        if len(known) < len(hints) or not known:
            return None
        return lambda event: any(hint(event) for hint in known)
