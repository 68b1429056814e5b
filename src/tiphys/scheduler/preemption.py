"""Preemption: when a pod fits nowhere, which pods of lower priority would have to go, and from which node. Pure.

The view is changed while a node is tried and put back as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tiphys.api.policy_v1 import PodDisruptionBudget
from tiphys.machinery import timestamps
from tiphys.machinery.selectors import Selector, from_label_selector
from tiphys.scheduler.placement import Placement, Placer, available
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

NOMINATED = "nominated/"  # how the uid of what holds a place for a nominated pod begins
BY_SCHEDULER = "PreemptionByScheduler"  # why a pod is a DisruptionTarget, when it has to make room
UNHELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
_LEAST = 100  # candidates that are enough; in large clusters a tenth of the nodes


@dataclass
class Eviction:
    """What would have to happen on one node."""

    node: str
    victims: list[PodInfo]
    violations: int

    def cost(self) -> tuple[int, int, int, int, float]:
        """Smallest is best: budgets broken, the most important victim, their importance together, their number, and
        then the node whose important victims started last."""
        highest = max(v.priority for v in self.victims)
        earliest = min(_started(v) for v in self.victims if v.priority == highest)
        importance = sum(v.priority + (1 << 31) for v in self.victims)
        return (self.violations, highest, importance, len(self.victims), -earliest)


def _started(pod: PodInfo) -> float:
    """When a pod started; one that has not yet counts as the last."""
    started = pod.pod.status.start_time
    return timestamps.parse(started) if started else math.inf


def _by_importance(pod: PodInfo) -> tuple[int, float]:
    """Sorts by importance, the most important first: by priority, then by age."""
    return (-pod.priority, _started(pod))


@dataclass
class Outcome:
    """`candidates` are the ways there are, one for a node. `reasons` counts the nodes that were tried by why room could
    not be made there, `tried` is their number and `total` that of all nodes."""

    candidates: list[Eviction] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    tried: int = 0
    total: int = 0
    error: str = ""

    @property
    def eviction(self) -> Eviction | None:
        """The cheapest way, None when nobody can help."""
        return min(self.candidates, key=Eviction.cost, default=None)

    @property
    def message(self) -> str:
        """Why there is no way, as upstream's FitError says it: nodes that were not tried are those where the going of
        pods would not help."""
        if self.error:
            return f"preemption: {self.error}"
        reasons = dict(self.reasons)
        if untried := self.total - self.tried:
            reasons[UNHELPFUL] = reasons.get(UNHELPFUL, 0) + untried
        return f"preemption: {available(self.total, reasons)}"

    def fail(self, reasons: Iterable[str]) -> None:
        """One more node was tried in vain."""
        self.tried += 1
        for reason in reasons:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1


@dataclass
class _Budget:
    budget: PodDisruptionBudget
    selector: Selector
    spent: int = 0

    def spend(self, victim: PodInfo) -> bool:
        """Whether the going of a pod breaks the budget, after those before it. One that the server lets go already does
        not count."""
        meta, status = self.budget.metadata, self.budget.status
        if (
            meta.namespace != victim.namespace
            or not victim.labels
            or not self.selector.matches(victim.labels)
        ):
            return False
        if victim.pod.metadata.name in status.disrupted_pods:
            return False
        self.spent += 1
        return self.spent > status.disruptions_allowed


def may_preempt(pod: PodInfo) -> bool:
    return pod.pod.spec.preemption_policy != "Never"


def going(pod: PodInfo) -> bool:
    """Whether a pod is on its way out because room is made on its node."""
    marks = (c for c in pod.pod.status.conditions if c.type == "DisruptionTarget")
    mark = next(marks, None)
    asked = mark is not None and mark.status == "True" and mark.reason == BY_SCHEDULER
    return asked and pod.pod.metadata.deletion_timestamp is not None


def find(
    view: Snapshot,
    placer: Placer,
    pod: PodInfo,
    budgets: Iterable[PodDisruptionBudget],
    placement: Placement,
) -> Outcome:
    """The ways to make room for a pod that fits nowhere, as its `placement` says. Raises PluginError."""
    outcome = Outcome(total=placement.total)
    for _ in search(view, placer, pod, budgets, placement, outcome):
        pass
    return outcome


def search(
    view: Snapshot,
    placer: Placer,
    pod: PodInfo,
    budgets: Iterable[PodDisruptionBudget],
    placement: Placement,
    outcome: Outcome,
) -> Iterator[None]:
    """Fills the outcome; yields after each node, when the view is as it was and may change: a node full of pods takes
    milliseconds. Raises PluginError."""
    rows = [(int(row), view.names[row]) for row in np.flatnonzero(placement.resolvable(view))]
    enough = max(_LEAST, len(rows) // 10)  # as many as upstream is content with
    known = list(_budgets(budgets))
    for row, node in rows:
        if view.names[row] != node:
            continue  # it has gone meanwhile
        lower = [
            other
            for other in view.pods_on(row)
            if other.priority < pod.priority and not other.uid.startswith(NOMINATED)
        ]
        if not lower:
            outcome.fail([NO_VICTIMS])
        elif isinstance(found := _try(view, placer, pod, row, lower, known), Eviction):
            outcome.candidates.append(found)
            if len(outcome.candidates) >= enough:
                return
        else:
            outcome.fail(found)
        yield


def _budgets(
    budgets: Iterable[PodDisruptionBudget],
) -> Iterator[tuple[PodDisruptionBudget, Selector]]:
    """Those that are about any pod; one whose selector is empty is about none here, as upstream has it."""
    for budget in budgets:
        selector = from_label_selector(budget.spec.selector)
        if selector is not None and selector.requirements:
            yield budget, selector


def _try(
    view: Snapshot,
    placer: Placer,
    pod: PodInfo,
    row: int,
    victims: list[PodInfo],
    budgets: list[tuple[PodDisruptionBudget, Selector]],
) -> Eviction | list[str]:
    """Takes all away, then puts back whoever may stay: those whose going breaks a budget first, then the important.
    Why the pod would not fit even then, if so. Raises PluginError."""
    node = view.names[row]
    for victim in victims:
        view.remove_pod(victim.uid)
    gone = set()
    try:
        if obstacles := placer.obstacles(pod, row):
            return obstacles
        breaking, others = _split(victims, budgets)
        broken = 0
        for group, counts in ((breaking, True), (others, False)):
            for victim in group:
                view.put_pod(victim, node)
                if not placer.fits(pod, row):
                    view.remove_pod(victim.uid)
                    gone.add(victim.uid)
                    broken += counts
        if not gone:
            return [f'expected at least one victim pod on node "{node}"']
        return Eviction(node, [v for v in victims if v.uid in gone], broken)
    finally:
        for victim in victims:
            view.put_pod(victim, node)


def _split(
    victims: list[PodInfo], budgets: list[tuple[PodDisruptionBudget, Selector]]
) -> tuple[list[PodInfo], list[PodInfo]]:
    """(those whose going would break a disruption budget, the others), each with the most important first."""
    known = [_Budget(budget, selector) for budget, selector in budgets]
    breaking: list[PodInfo] = []
    others: list[PodInfo] = []
    for victim in sorted(victims, key=_by_importance):
        broken = [budget.spend(victim) for budget in known]
        (breaking if any(broken) else others).append(victim)
    return breaking, others
