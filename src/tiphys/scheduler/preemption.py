"""Preemption: which pods of lower priority would have to leave which node, so that a pod fits
there. Pure.

The snapshot is changed while a node is tried, and is as it was when the next one is (upstream's
`DryRunPreemption`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tiphys.api.policy_v1 import PodDisruptionBudget
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.selectors import Selector, from_label_selector
from tiphys.scheduler.framework import Framework
from tiphys.scheduler.nominator import is_nominated
from tiphys.scheduler.placement import Placement, fit_error
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

# The reason of a DisruptionTarget condition of a preempted pod.
PREEMPTION_BY_SCHEDULER = "PreemptionByScheduler"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"

# Upstream's minCandidateNodesAbsolute and minCandidateNodesPercentage: so many candidates are
# enough.
_MIN_CANDIDATES = 100
_MIN_CANDIDATES_DIVISOR = 10  # of the nodes that are tried

_PRIORITY_OFFSET = 1 << 31  # makes priorities positive, so that more victims weigh more


@dataclass
class Candidate:
    """A node where the pod would fit without the victims."""

    node_name: str
    victims: list[PodInfo]
    pdb_violations: int

    def cost(self) -> tuple[int, int, int, int, float]:
        """The lowest is best (upstream's `pickOneNodeForPreemption`): violated budgets, the highest
        priority of a victim, their priorities together, their number, and then the node whose
        victims of that highest priority started last."""
        highest = max(victim.priority for victim in self.victims)
        earliest_start = min(_started_at(v) for v in self.victims if v.priority == highest)
        priorities = sum(victim.priority + _PRIORITY_OFFSET for victim in self.victims)
        return self.pdb_violations, highest, priorities, len(self.victims), -earliest_start


@dataclass
class PreemptionResult:
    """The `candidates` that were found. `reasons` counts the nodes that were tried in vain by what
    stands against them; `tried` is the number of these, `node_count` that of all nodes."""

    node_count: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    tried: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def best(self) -> Candidate | None:
        return min(self.candidates, key=Candidate.cost, default=None)

    @property
    def message(self) -> str:
        """Why there is no candidate, in the words of upstream's FitError. Nodes that were not tried
        are those where preemption does not help."""
        if self.error:
            return f"preemption: {self.error}"
        reasons = dict(self.reasons)
        untried = self.node_count - self.tried
        if untried:
            reasons[NOT_HELPFUL] = reasons.get(NOT_HELPFUL, 0) + untried
        return f"preemption: {fit_error(self.node_count, reasons)}"

    def add_failure(self, reasons: Iterable[str]) -> None:
        """One more node was tried in vain."""
        self.tried += 1
        for reason in reasons:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1


class _Budget(NamedTuple):
    budget: PodDisruptionBudget
    selector: Selector

    def covers(self, pod: PodInfo) -> bool:
        """Whether the budget limits the disruption of a pod. Of one whose eviction the API server
        has granted already it does not."""
        if self.budget.metadata.namespace != pod.namespace or not pod.labels:
            return False
        if not self.selector.matches(pod.labels):
            return False
        return pod.pod.metadata.name not in self.budget.status.disrupted_pods


class _SplitVictims(NamedTuple):
    """Victims by whether their disruption violates a budget; each list with the most important
    first."""

    violating: list[PodInfo]
    others: list[PodInfo]


def may_preempt(pod: PodInfo) -> bool:
    return pod.spec.preemption_policy != "Never"


def is_terminating_victim(pod: PodInfo) -> bool:
    """Whether a pod is being deleted because it was preempted."""
    if pod.pod.metadata.deletion_timestamp is None:
        return False
    target = conditions.find(pod.pod.status.conditions, "DisruptionTarget")
    if target is None or target.status != "True":
        return False
    return target.reason == PREEMPTION_BY_SCHEDULER


class Preemptor:
    """Finds candidates for the pods of one profile."""

    def __init__(self, snapshot: Snapshot, framework: Framework) -> None:
        self._snapshot = snapshot
        self._framework = framework

    def dry_run(
        self,
        pod: PodInfo,
        placement: Placement,
        budgets: Iterable[PodDisruptionBudget],
        result: PreemptionResult,
    ) -> Iterator[None]:
        """Fills the result. Yields after each node: one that is full of pods takes milliseconds.
        Then the snapshot is as it was, and may change. Raises PluginError."""
        snapshot = self._snapshot
        resolvable = np.flatnonzero(placement.resolvable_rows(snapshot))
        nodes = [(int(row), snapshot.names[row]) for row in resolvable]
        enough = max(_MIN_CANDIDATES, len(nodes) // _MIN_CANDIDATES_DIVISOR)
        known_budgets = list(_budgets_with_selector(budgets))
        for row, node_name in nodes:
            if snapshot.names[row] != node_name:
                continue  # the node was deleted meanwhile
            self._try_node(pod, row, known_budgets, result)
            if len(result.candidates) >= enough:
                return
            yield

    def _try_node(
        self, pod: PodInfo, row: int, budgets: Sequence[_Budget], result: PreemptionResult
    ) -> None:
        lower_priority = [
            other
            for other in self._snapshot.pods_on(row)
            if other.priority < pod.priority and not is_nominated(other)
        ]
        if not lower_priority:
            result.add_failure([NO_VICTIMS])
            return
        candidate = self._select_victims(pod, row, lower_priority, budgets)
        if isinstance(candidate, Candidate):
            result.candidates.append(candidate)
        else:
            result.add_failure(candidate)

    def _select_victims(
        self, pod: PodInfo, row: int, potential: Sequence[PodInfo], budgets: Sequence[_Budget]
    ) -> Candidate | list[str]:
        """Removes all potential victims, then reprieves as many as possible: first those whose
        disruption violates a budget, then the most important (upstream's `SelectVictimsOnNode`).
        Without a candidate, the reasons why the pod does not fit even without all of them. Raises
        PluginError."""
        snapshot = self._snapshot
        node_name = snapshot.names[row]
        for victim in potential:
            snapshot.remove_pod(victim.uid)
        try:
            reasons = self._framework.rejection_reasons(pod, row)
            if reasons:
                return reasons
            violating, others = _split_by_budgets(potential, budgets)
            violating_victims = self._without_reprieved(pod, row, violating)
            other_victims = self._without_reprieved(pod, row, others)
            uids = violating_victims | other_victims
            if not uids:
                return [f'expected at least one victim pod on node "{node_name}"']
            victims = [victim for victim in potential if victim.uid in uids]
            return Candidate(node_name, victims, len(violating_victims))
        finally:
            for victim in potential:
                snapshot.put_pod(victim, node_name)

    def _without_reprieved(self, pod: PodInfo, row: int, victims: Sequence[PodInfo]) -> set[str]:
        """Puts back those victims with whom the pod still fits. Returns the uids of the others."""
        remaining = set()
        for victim in victims:
            self._snapshot.put_pod(victim, self._snapshot.names[row])
            if not self._framework.fits(pod, row):
                self._snapshot.remove_pod(victim.uid)
                remaining.add(victim.uid)
        return remaining


def _budgets_with_selector(budgets: Iterable[PodDisruptionBudget]) -> Iterator[_Budget]:
    """An empty selector matches no pod here, as for upstream's preemption."""
    for budget in budgets:
        selector = from_label_selector(budget.spec.selector)
        if selector is not None and selector.requirements:
            yield _Budget(budget, selector)


def _split_by_budgets(victims: Iterable[PodInfo], budgets: Sequence[_Budget]) -> _SplitVictims:
    """The most important victims use up what budgets allow (upstream's
    `filterPodsWithPDBViolation`)."""
    disrupted = [0] * len(budgets)
    split = _SplitVictims([], [])
    for victim in sorted(victims, key=_by_importance):
        is_violating = False
        for index, budget in enumerate(budgets):
            if budget.covers(victim):
                disrupted[index] += 1
                if disrupted[index] > budget.budget.status.disruptions_allowed:
                    is_violating = True
        if is_violating:
            split.violating.append(victim)
        else:
            split.others.append(victim)
    return split


def _by_importance(pod: PodInfo) -> tuple[int, float]:
    """Sorts the most important first: by priority, then by age (upstream's `MoreImportantPod`)."""
    return -pod.priority, _started_at(pod)


def _started_at(pod: PodInfo) -> float:
    """When a pod started, in seconds since 1970; one that has not is the youngest."""
    start_time = pod.pod.status.start_time
    return timestamps.parse(start_time) if start_time else math.inf
