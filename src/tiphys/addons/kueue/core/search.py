"""What both ways to find whom a workload may displace have in common: candidates by policy, taking
them one after the other, and giving back those without whom it fits as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from tiphys.addons.kueue.core.quota import Slot
from tiphys.addons.kueue.core.state import Item, State

WITHIN = "InClusterQueue"
RECLAMATION = "InCohortReclamation"
WHILE_BORROWING = "InCohortReclaimWhileBorrowing"
FAIRNESS = "InCohortFairSharing"
WORDS = {
    WITHIN: "prioritization in the ClusterQueue",
    RECLAMATION: "reclamation within the cohort",
    WHILE_BORROWING: "reclamation within the cohort while borrowing",
    FAIRNESS: "Fair Sharing within the cohort",
}


class Target(NamedTuple):
    """A workload that has to go, and the reason of its condition Preempted."""

    item: Item
    reason: str


class Search:
    """One workload's search for targets, about `slots`, which need them, to fit `usage` and, where
    its pods are to be near each other, to have places."""

    def __init__(
        self,
        state: State,
        item: Item,
        usage: Mapping[Slot, int],
        slots: frozenset[Slot],
        has_places: Callable[[], bool],
    ) -> None:
        self._state = state
        self._item = item
        self._queue = state.queues[item.queue]
        self._usage = usage
        self._slots = slots
        self._has_places = has_places

    def _allowed(self, items: Iterable[Item], policy: str) -> list[Item]:
        """Those that use what is needed, and that a policy lets the workload displace."""
        if policy == "Never":
            return []
        return [one for one in items if self._uses_slots(one) and self._satisfies(one, policy)]

    def _uses_slots(self, item: Item) -> bool:
        return any(slot in self._slots for slot in item.usage)

    def _satisfies(self, item: Item, policy: str) -> bool:
        if policy == "Any":
            return True
        lower = item.priority < self._item.priority
        if policy == "LowerOrNewerEqualPriority":
            is_newer = self._item.queued < item.queued
            return lower or (item.priority == self._item.priority and is_newer)
        return lower and policy == "LowerPriority"

    def _fits(self, borrowing: bool) -> bool:
        node = self._queue.node
        for slot, amount in self._usage.items():
            if amount > node.available(slot):
                return False
            if not borrowing and node.borrows_with(slot, amount):
                return False
        return self._has_places()

    def _without_needless(self, taken: list[Target], borrowing: bool) -> list[Target]:
        """Of the targets that were taken those that have to go. The others are restored."""
        kept = [taken[-1]]
        for target in reversed(taken[:-1]):
            self._state.restore(target.item)
            if not self._fits(borrowing):
                self._state.suspend(target.item)
                kept.append(target)
        return kept

    def _restore(self, targets: Iterable[Target]) -> None:
        for target in targets:
            self._state.restore(target.item)


def importance(item: Item) -> tuple[int, float, str]:
    """The least important first: of low priority, and lately admitted."""
    return item.priority, -item.reserved, item.uid
