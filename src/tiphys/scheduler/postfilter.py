"""Post-filter: what can be done for a pod that fits nowhere. First its claims are deallocated, then
pods are preempted.

Upstream's plugins at this extension point are DynamicResources and DefaultPreemption.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from tiphys.api.policy_v1 import PodDisruptionBudget
from tiphys.client.client import Unreachable
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError
from tiphys.scheduler.active_profile import ActiveProfile
from tiphys.scheduler.devices.binder import DeviceBinder
from tiphys.scheduler.eviction import Evictor
from tiphys.scheduler.placement import Placement
from tiphys.scheduler.plugins.base import PluginError
from tiphys.scheduler.plugins.dynamic_resources import (
    ALLOCATED_ELSEWHERE,
    LEFT_OVER,
    DynamicResources,
)
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.preemption import (
    Candidate,
    PreemptionResult,
    Preemptor,
    is_terminating_victim,
    may_preempt,
)
from tiphys.scheduler.state import SchedulerState
from tiphys.scheduler.timeslice import TimeSlice

log = logging.getLogger(__name__)


class PostFilter:
    """`budgets` are all PodDisruptionBudgets."""

    def __init__(
        self,
        state: SchedulerState,
        evictor: Evictor,
        devices: DeviceBinder,
        budgets: Iterable[PodDisruptionBudget],
        tasks: TaskGroup,
    ) -> None:
        self._now = state.now
        self._metrics = state.metrics
        self._snapshot = state.snapshot
        self._nominator = state.nominator
        self._evictor = evictor
        self._devices = devices
        self._budgets = budgets
        self._tasks = tasks

    async def run(
        self, pod: PodInfo, placement: Placement, profile: ActiveProfile
    ) -> Candidate | None:
        """Adds to the placement what came of it. Returns the candidate to whose node the pod is
        nominated; `start_eviction` is to be called with it."""
        candidate = await self._preempt(pod, placement, profile)
        if placement.post_filter_message and (
            DynamicResources.name in profile.framework.plugin_names
        ):
            claims_message = self._deallocate_claims(pod, placement)
            placement.post_filter_message = f"{claims_message}, {placement.post_filter_message}"
        return candidate

    def start_eviction(self, pod: PodInfo, candidate: Candidate) -> None:
        """Evicts the victims of a candidate in a task of its own."""
        self._evictor.start(pod, candidate)

    # --- claims for devices ---

    def _deallocate_claims(self, pod: PodInfo, placement: Placement) -> str:
        """Starts to deallocate the pod's claims if they keep it from nodes. Returns what upstream
        says of it."""
        has_claims = pod.spec.resource_claims or LEFT_OVER in placement.reasons
        if not has_claims or placement.pre_filter_message:
            return "no new claims to deallocate"
        if ALLOCATED_ELSEWHERE in placement.reasons or LEFT_OVER in placement.reasons:
            self._tasks.start(self._deallocate(pod), "deallocate claims")
        return "still not schedulable"

    async def _deallocate(self, pod: PodInfo) -> None:
        try:
            if await self._devices.deallocate(pod):
                log.info("Pod %s: its claims were deallocated, to be allocated elsewhere", pod.key)
        except (StatusError, Unreachable) as error:
            log.warning("Pod %s: its claims were not deallocated: %s", pod.key, error)

    # --- preemption ---

    async def _preempt(
        self, pod: PodInfo, placement: Placement, profile: ActiveProfile
    ) -> Candidate | None:
        ineligible = self._ineligible_reason(pod, placement)
        if ineligible:
            placement.post_filter_message = f"preemption: not eligible due to {ineligible}."
            self._nominator.renominate(pod)
            return None
        result = await self._find_candidates(pod, placement, profile)
        if not result.candidates:
            placement.post_filter_message = result.message
            if result.error:
                self._nominator.renominate(pod)
            else:
                self._nominator.withdraw(pod.uid)
            return None
        await profile.extenders.filter_candidates(pod.pod, result)
        candidate = result.best
        if candidate is None:
            reason = result.error or "no candidate node for preemption"
            placement.post_filter_message = f"preemption: {reason}"
            self._nominator.renominate(pod)
            return None
        self._metrics.preempts(len(candidate.victims))
        self._nominator.nominate(pod, candidate.node_name)
        return candidate

    def _ineligible_reason(self, pod: PodInfo, placement: Placement) -> str:
        """Why the pod may not preempt others (upstream's `PodEligibleToPreemptOthers`); empty: it
        may."""
        if not may_preempt(pod):
            return "preemptionPolicy=Never"
        if self._waits_for_victims(pod, placement):
            return "a terminating pod on the nominated node"
        return ""

    def _waits_for_victims(self, pod: PodInfo, placement: Placement) -> bool:
        """Whether victims of an earlier preemption are still terminating, and it helps when they
        are gone."""
        if self._evictor.is_evicting_for(pod.uid):
            return True
        row = self._snapshot.row_of.get(self._nominator.node_of(pod.uid))
        if row is None or not placement.resolvable_rows(self._snapshot)[row]:
            return False
        return any(
            other.priority < pod.priority and is_terminating_victim(other)
            for other in self._snapshot.pods_on(row)
        )

    async def _find_candidates(
        self, pod: PodInfo, placement: Placement, profile: ActiveProfile
    ) -> PreemptionResult:
        preemptor = Preemptor(self._snapshot, profile.framework)
        result = PreemptionResult(node_count=placement.node_count)
        time_slice = TimeSlice(self._now)
        try:
            with self._nominator.without_lower_priority(pod):
                for _ in preemptor.dry_run(pod, placement, list(self._budgets), result):
                    await time_slice.yield_if_over()
        except PluginError as error:
            return PreemptionResult(node_count=placement.node_count, error=str(error))
        return result
