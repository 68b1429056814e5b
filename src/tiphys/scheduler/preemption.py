"""Preemption: when a pod fits nowhere, which pods of lower priority would have to go, and from which node. Pure.

The view is changed while a node is tried and put back as it was.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from tiphys.api.policy_v1 import PodDisruptionBudget
from tiphys.machinery.selectors import Selector, from_label_selector
from tiphys.scheduler.placement import Placer
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

NOMINATED = "nominated/"  # how the uid of what holds a place for a nominated pod begins
_MOST = 100  # nodes that are tried for one pod


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
        latest = min(
            (v.pod.status.start_time or v.pod.metadata.creation_timestamp or "")
            for v in self.victims
            if v.priority == highest
        )
        return (
            self.violations,
            highest,
            sum(v.priority + (1 << 31) for v in self.victims),
            len(self.victims),
            -_seconds(latest),
        )


def _seconds(text: str) -> float:
    from tiphys.machinery import timestamps

    return timestamps.parse(text) if text else 0.0


@dataclass
class Outcome:
    """`candidates` are the ways there are, one for a node. The counts say of how many others which is true."""

    candidates: list[Eviction] = field(default_factory=list)
    unhelpful: int = 0  # nodes where no pod's going would help
    no_victims: int = 0  # nodes where there is nobody to go, or their going is not enough

    @property
    def eviction(self) -> Eviction | None:
        """The cheapest way, None when nobody can help."""
        return min(self.candidates, key=Eviction.cost, default=None)

    @property
    def message(self) -> str:
        total = self.unhelpful + self.no_victims
        parts = []
        if self.no_victims:
            parts.append(f"{self.no_victims} No preemption victims found for incoming pod")
        if self.unhelpful:
            parts.append(f"{self.unhelpful} Preemption is not helpful for scheduling")
        return f"preemption: 0/{total} nodes are available: {', '.join(parts)}."


@dataclass
class _Budget:
    namespace: str
    selector: Selector
    allowed: int
    spent: int = field(default=0)


def may_preempt(pod: PodInfo) -> bool:
    return pod.pod.spec.preemption_policy != "Never"


def find(view: Snapshot, placer: Placer, pod: PodInfo, budgets: list[PodDisruptionBudget]) -> Outcome:
    """The ways to make room for a pod."""
    outcome = Outcome()
    lower: dict[int, list[PodInfo]] = defaultdict(list)
    for row, info in view.pods.values():
        if info.priority < pod.priority and not info.uid.startswith(NOMINATED):
            lower[row].append(info)
    possible = placer.statically_possible(pod)
    outcome.unhelpful = int((view.alive & ~possible).sum())
    found = outcome.candidates
    rows = [int(row) for row in np.flatnonzero(view.alive & possible)]
    for tried, row in enumerate(rows):
        eviction = _try(view, placer, pod, row, lower[row], budgets) if lower[row] and tried < _MOST * 10 else None
        if eviction is None:
            outcome.no_victims += 1
            continue
        found.append(eviction)
        if len(found) >= _MOST:
            break
    return outcome


def _try(
    view: Snapshot, placer: Placer, pod: PodInfo, row: int, victims: list[PodInfo], budgets: list[PodDisruptionBudget]
) -> Eviction | None:
    """Takes all away, then puts back whoever may stay: those whose going breaks a budget first, then the important."""
    node = view.names[row]
    for victim in victims:
        view.remove_pod(victim.uid)
    gone = set()
    try:
        if not placer.fits(pod, row):
            return None
        breaking, others = _split(victims, budgets)
        broken = 0
        for group, counts in ((breaking, True), (others, False)):
            for victim in sorted(group, key=lambda v: (-v.priority, v.pod.status.start_time or "")):
                view.put_pod(victim, node)
                if not placer.fits(pod, row):
                    view.remove_pod(victim.uid)
                    gone.add(victim.uid)
                    broken += counts
        chosen = [v for v in victims if v.uid in gone]
        return Eviction(node, chosen, broken) if chosen else None
    finally:
        for victim in victims:
            view.put_pod(victim, node)


def _split(victims: list[PodInfo], budgets: list[PodDisruptionBudget]) -> tuple[list[PodInfo], list[PodInfo]]:
    """(those whose going would break a disruption budget, the others)."""
    known = [
        _Budget(b.metadata.namespace, selector, b.status.disruptions_allowed)
        for b in budgets if (selector := from_label_selector(b.spec.selector)) is not None
    ]  # fmt: skip
    breaking: list[PodInfo] = []
    others: list[PodInfo] = []
    for victim in sorted(victims, key=lambda v: -v.priority):
        breaks = False
        for budget in known:
            if budget.namespace == victim.namespace and victim.labels and budget.selector.matches(victim.labels):
                budget.spent += 1
                breaks = breaks or budget.spent > budget.allowed
        (breaking if breaks else others).append(victim)
    return breaking, others
