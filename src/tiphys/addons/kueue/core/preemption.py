"""Whom a workload may displace: upstream's classical preemption, where queues do not share fairly.

Source: the concept "Preemption". Candidates are others of the queue by `withinClusterQueue`, and
those of borrowing queues of the cohort by `reclaimWithinCohort` and `borrowWithinCohort`; they are
taken one after the other until the workload fits, then those are given back without whom it fits
as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tiphys.addons.kueue.core.fairpreemption import FairSearch
from tiphys.addons.kueue.core.quota import Node, Slot
from tiphys.addons.kueue.core.search import (
    RECLAMATION,
    WHILE_BORROWING,
    WITHIN,
    Search,
    Target,
    importance,
)
from tiphys.addons.kueue.core.state import Item, Queue, State


class _Candidate(NamedTuple):
    item: Item
    reason: str
    cohort: Node | None  # the lowest cohort that it shares with the preemptor
    only_without_borrowing: bool


class ClassicalSearch(Search):
    def targets(self) -> list[Target]:
        own = self._sorted(self._own())
        hierarchical, others = self._of_cohort()
        candidates = [*self._sorted(hierarchical), *self._sorted(others), *own]
        candidates.sort(key=lambda candidate: not candidate.item.evicted)
        for borrowing in self._attempts(bool(hierarchical), bool(hierarchical or others)):
            victims = self._attempt(candidates, borrowing)
            if victims:
                return victims
        return []

    def _attempts(self, hierarchical: bool, others: bool) -> tuple[bool, ...]:
        """Whether borrowing is allowed, for each attempt in order."""
        forbidden = not self._queue.preemption.borrow
        if not others or (forbidden and not self._is_under_nominal()):
            return (True,)
        if forbidden and not hierarchical:
            return (False, True)
        return (True, False)

    def _is_under_nominal(self) -> bool:
        node = self._queue.node
        return all(node.usage.get(slot, 0) < node.subtree.get(slot, 0) for slot in self._slots)

    # --- candidates ---

    def _own(self) -> list[_Candidate]:
        running = self._queue.running.values()
        policy = self._queue.preemption.within
        return [_Candidate(item, WITHIN, None, False) for item in self._allowed(running, policy)]

    def _of_cohort(self) -> tuple[list[_Candidate], list[_Candidate]]:
        """Those over whose quota the workload has an advantage, as it is its subtree's own; and
        the others."""
        hierarchical: list[_Candidate] = []
        others: list[_Candidate] = []
        if self._queue.preemption.reclaim == "Never":
            return hierarchical, others
        fits, remaining = _fits_here(self._queue.node, self._usage)
        done: Node = self._queue.node
        for cohort in self._queue.node.ancestors():
            chosen = hierarchical if fits else others
            for queue in self._borrowing_queues(cohort, done):
                chosen += self._candidates_of(queue, cohort, fits)
            fits_cohort, remaining = _fits_here(cohort, remaining)
            fits = fits or fits_cohort
            done = cohort
        return hierarchical, others

    def _borrowing_queues(self, node: Node, done: Node) -> Iterator[Queue]:
        for child in node.children:
            if child is done or child.is_within_nominal(self._slots):
                continue
            queue = self._state.queue_at(child)
            if queue is not None:
                yield queue
            else:
                yield from self._borrowing_queues(child, done)

    def _candidates_of(self, queue: Queue, cohort: Node, advantage: bool) -> Iterator[_Candidate]:
        preemption = self._queue.preemption
        for item in self._allowed(queue.running.values(), preemption.reclaim):
            if advantage:
                yield _Candidate(item, RECLAMATION, cohort, False)
            elif preemption.borrow and not self._is_above_threshold(item):
                yield _Candidate(item, WHILE_BORROWING, cohort, False)
            else:
                yield _Candidate(item, RECLAMATION, cohort, True)

    def _is_above_threshold(self, item: Item) -> bool:
        threshold = self._queue.preemption.borrow_threshold
        if item.priority >= self._item.priority:
            return True
        return threshold is not None and item.priority > threshold

    def _sorted(self, candidates: list[_Candidate]) -> list[_Candidate]:
        return sorted(candidates, key=lambda one: importance(one.item))

    # --- taking them ---

    def _attempt(self, candidates: list[_Candidate], borrowing: bool) -> list[Target]:
        taken: list[Target] = []
        targets: list[Target] = []
        for candidate in candidates:
            if not self._is_valid(candidate, borrowing):
                continue
            self._state.suspend(candidate.item)
            taken.append(Target(candidate.item, candidate.reason))
            if self._fits(borrowing):
                targets = self._without_needless(taken, borrowing)
                taken = targets
                break
        self._restore(taken)
        return targets

    def _is_valid(self, candidate: _Candidate, borrowing: bool) -> bool:
        """Whether its queue, and every cohort below the common one, still borrows."""
        if candidate.cohort is None:
            return True
        if borrowing and candidate.only_without_borrowing:
            return False
        node = self._state.queues[candidate.item.queue].node
        while node is not candidate.cohort:
            if node.is_within_nominal(self._slots) or node.parent is None:
                return False
            node = node.parent
        return True


def _fits_here(node: Node, usage: Mapping[Slot, int]) -> tuple[bool, dict[Slot, int]]:
    """Whether a node's own subtree has room for it, and what would have to come from above."""
    fits = not any(node.borrows_with(slot, amount) for slot, amount in usage.items())
    return fits, {slot: max(0, amount - node.kept_unused(slot)) for slot, amount in usage.items()}


def find_targets(
    state: State,
    item: Item,
    usage: Mapping[Slot, int],
    slots: frozenset[Slot],
    has_places: Callable[[], bool] = lambda: True,
) -> list[Target]:
    """Who has to go so that `usage` fits the workload's queue, and its pods have places; none when
    that does not help. The state is the same afterwards."""
    if state.strategies:
        search = FairSearch(state, item, usage, slots, has_places)
        return search.targets(state.strategies)
    return ClassicalSearch(state, item, usage, slots, has_places).targets()
