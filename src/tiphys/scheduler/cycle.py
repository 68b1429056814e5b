"""The scheduling cycle, from the queue to a node. Read `SchedulingCycle.schedule` from top to
bottom:

1. queue: the active pod of the highest priority is popped (`queue`);
2. pre-filter, filter, score: plugins look at all nodes (`framework`, `plugins/`), then extenders do
   (`extenders/`);
3. post-filter, if the pod fits nowhere: claims are deallocated, pods preempted (`postfilter`,
   `preemption`, `eviction`);
4. assume and reserve: the pod counts on its node, its devices are taken (`cache`,
   `devices/tracker`);
5. permit: the pod waits until it may be bound (a gang is placed as a whole: `gang_cycle`);
6. pre-bind, bind, and unreserve on failure: a task of its own (`binding`).

One pod is scheduled at a time, so that each sees what those before it took. Event handlers run
between pods and whenever the cycle waits: what it knows of the snapshot may be obsolete after an
`await`.
"""

from __future__ import annotations

import asyncio

import numpy as np

from tiphys.client.tasks import TaskGroup
from tiphys.scheduler.active_profile import ActiveProfile, ActiveProfiles
from tiphys.scheduler.binding import Binder
from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.scheduler.extenders.chain import ExtenderVerdict
from tiphys.scheduler.framework import Evaluation
from tiphys.scheduler.gang_cycle import GangCycle
from tiphys.scheduler.metrics import Result
from tiphys.scheduler.placement import Placement
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.postfilter import PostFilter
from tiphys.scheduler.preemption import Candidate
from tiphys.scheduler.queue import Attempt
from tiphys.scheduler.reporting import FailureReason, Reporter
from tiphys.scheduler.state import SchedulerState
from tiphys.scheduler.timeslice import TimeSlice

_MAX_BINDING_CYCLES = 64  # at once


class SchedulingCycle:
    def __init__(
        self,
        state: SchedulerState,
        profiles: ActiveProfiles,
        devices: DeviceTracker,
        post_filter: PostFilter,
        binder: Binder,
        reporter: Reporter,
        tasks: TaskGroup,
    ) -> None:
        self._now = state.now
        self._metrics = state.metrics
        self._wake = state.wake
        self._queue = state.queue
        self._snapshot = state.snapshot
        self._cache = state.cache
        self._nominator = state.nominator
        self._profiles = profiles
        self._devices = devices
        self._post_filter = post_filter
        self._binder = binder
        self._reporter = reporter
        self._tasks = tasks
        self._binding_slots = asyncio.Semaphore(_MAX_BINDING_CYCLES)
        self._gang_cycle = GangCycle(self, state, state.gangs)

    @property
    def reporter(self) -> Reporter:
        return self._reporter

    @property
    def post_filter(self) -> PostFilter:
        return self._post_filter

    # --- queue ---

    async def run(self) -> None:
        """Schedules pods as they become active. Does not return."""
        while True:
            await self._schedule_active_pods()
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), self._queue.seconds_until_next())
            except TimeoutError:
                pass

    async def _schedule_active_pods(self) -> None:
        time_slice = TimeSlice(self._now)
        while (pod := self._queue.pop()) is not None:
            await self.schedule(pod)
            await time_slice.yield_if_over()

    # --- the cycle of one pod ---

    async def schedule(self, pod: PodInfo) -> None:
        if pod.gang is not None:
            await self._gang_cycle.schedule(pod, pod.gang)
            return
        began = self._now()

        # Pre-filter, filter, score. Room that is kept for the pod itself, or for pods of lower
        # priority, is free for it.
        self._nominator.release(pod.uid)
        placement = await self.find_node(pod)
        self._metrics.algorithm.observe(self._now() - began)
        if placement.error or not placement.node:
            await self.handle_without_node(pod, placement, began)
            return

        # Assume, reserve.
        self._cache.assume(pod, placement.node)
        if not self.reserve(pod, placement.node):
            self._try_again(pod)
            self._attempted(pod, Result.ERROR, began)
            return

        # Permit, pre-bind, bind; unreserve on failure.
        await self.start_binding(pod, placement.node, began)

    async def start_binding(self, pod: PodInfo, node_name: str, began: float) -> None:
        """Binds an assumed pod in a task of its own.

        No plugin of upstream's waits in permit; this keeps bindings from piling up at the API
        server.
        """
        attempt = self._queue.attempt_at(pod)
        await self._binding_slots.acquire()
        binding_cycle = self._run_binding_cycle(pod, node_name, began, attempt)
        self._tasks.start(binding_cycle, "bind")

    def _attempted(self, pod: PodInfo, result: Result, began: float) -> None:
        self._metrics.attempted(result, pod.spec.scheduler_name, self._now() - began)

    def attempted_without_node(self, pod: PodInfo, began: float) -> None:
        """The attempt to schedule a gang failed: it counts once."""
        self._attempted(pod, Result.UNSCHEDULABLE, began)

    # --- pre-filter, filter, score ---

    async def find_node(self, pod: PodInfo) -> Placement:
        """The node of a pod. Room that is kept for pods of lower priority is free for it."""
        with self._nominator.without_lower_priority(pod):
            return await self._find_node(pod, self._profiles[pod.spec.scheduler_name])

    async def _find_node(self, pod: PodInfo, profile: ActiveProfile) -> Placement:
        nominated_node = self._nominator.node_of(pod.uid)
        if not profile.extenders.is_interested(pod.pod):
            return profile.framework.place(pod, nominated_node)

        evaluation = profile.framework.evaluate(pod, explain=True)
        placement = evaluation.placement
        if evaluation.scores is None:
            return placement
        nodes = [
            node
            for row in np.flatnonzero(evaluation.feasible)
            if (node := self._snapshot.nodes[row]) is not None
        ]
        verdict = await profile.extenders.filter_and_score(pod.pod, nodes)
        self._add_reasons(placement, verdict)
        if placement.error or not verdict.passed:
            return placement

        rows = self._snapshot.rows_named(verdict.passed)
        if not rows.any():  # all of these nodes were deleted meanwhile
            return placement
        if len(evaluation.scores) < len(self._snapshot):  # nodes were added meanwhile
            return await self._find_node(pod, profile)
        row = self._snapshot.row_of.get(nominated_node, -1)
        if row < 0 or not rows[row]:
            self._add_scores(evaluation, verdict)
            row = profile.framework.select_host(rows, evaluation.scores)
        placement.node = self._snapshot.names[row]
        return placement

    def _add_reasons(self, placement: Placement, verdict: ExtenderVerdict) -> None:
        for reason, count in verdict.reasons.items():
            placement.reasons[reason] = placement.reasons.get(reason, 0) + count
        if verdict.unresolvable:
            placement.add_unresolvable(self._snapshot.rows_named(verdict.unresolvable))
        placement.error = verdict.error
        if not verdict.passed:
            # It is not known what would help with an extender: any event may.
            placement.unschedulable_plugins.clear()

    def _add_scores(self, evaluation: Evaluation, verdict: ExtenderVerdict) -> None:
        assert evaluation.scores is not None
        for node_name, score in verdict.scores.items():
            row = self._snapshot.row_of.get(node_name)
            if row is not None:
                evaluation.scores[row] += score

    # --- the pod has no node ---

    async def handle_without_node(self, pod: PodInfo, placement: Placement, began: float) -> None:
        if placement.error:
            self._handle_error(pod, placement)
            self._attempted(pod, Result.ERROR, began)
            return
        await self._handle_unschedulable(pod, placement)
        self._attempted(pod, Result.UNSCHEDULABLE, began)

    def _handle_error(self, pod: PodInfo, placement: Placement) -> None:
        """It is not known where the pod fits."""
        self._queue.add_backoff(pod)
        self._nominator.withdraw(pod.uid)
        self._reporter.failed(pod, FailureReason.SCHEDULER_ERROR, placement.error)

    async def _handle_unschedulable(self, pod: PodInfo, placement: Placement) -> None:
        """The pod fits nowhere: post-filter, and then it waits for an event that may help."""
        self._queue.add_unschedulable(pod, placement.queueing_hint(self._snapshot, pod))
        candidate = await self.preempt(pod, placement)
        nominated_node = self._nominator.node_of(pod.uid)
        self._reporter.failed(pod, FailureReason.UNSCHEDULABLE, placement.message, nominated_node)
        if candidate is not None:
            self._post_filter.start_eviction(pod, candidate)

    async def preempt(self, pod: PodInfo, placement: Placement) -> Candidate | None:
        """Post-filter: a node where the pod fits once others have left it, to which it is
        nominated."""
        if not placement.node_count:
            return None
        profile = self._profiles[pod.spec.scheduler_name]
        return await self._post_filter.run(pod, placement, profile)

    # --- reserve ---

    def reserve(self, pod: PodInfo, node_name: str) -> bool:
        """Keeps the devices that the pod needs from other pods. False: another pod has taken them
        meanwhile."""
        if not self._devices.concerns(pod):
            return True
        node = self._snapshot.node(node_name)
        return node is not None and self._devices.reserve(pod.pod, node)

    def unreserve(self, pod: PodInfo) -> None:
        """What an assumed pod took is free."""
        self._cache.forget(pod.uid)
        self._devices.unreserve(pod.pod)

    def _try_again(self, pod: PodInfo) -> None:
        """Another pod was faster. A nomination that the pod has stays."""
        self._cache.forget(pod.uid)
        self._nominator.renominate(pod)
        self._queue.add_backoff(pod)

    # --- bind ---

    async def _run_binding_cycle(
        self, pod: PodInfo, node_name: str, began: float, attempt: Attempt
    ) -> None:
        try:
            is_bound = await self._binder.run(pod, node_name)
        finally:
            self._binding_slots.release()
        self._attempted(pod, Result.SCHEDULED if is_bound else Result.ERROR, began)
        if is_bound:
            self._metrics.scheduled(attempt.number, self._now() - attempt.queued_at)
