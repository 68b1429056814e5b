"""Whom a workload may displace where queues share fairly.

Source: upstream's fair preemption, KEP 1714. Candidates are taken from the queue, or the cohort,
with the highest share of what is lent, as long as a strategy allows it: what the preemptor's side
has afterwards is not more than the other side keeps (LessThanOrEqualToFinalShare), or less than it
had (LessThanInitialShare). A queue that stays within its own quota takes it back from any queue
that borrows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tiphys.addons.kueue.core.quota import Node
from tiphys.addons.kueue.core.search import (
    FAIRNESS,
    RECLAMATION,
    WITHIN,
    Search,
    Target,
    importance,
)
from tiphys.addons.kueue.core.shares import Share, share_of
from tiphys.addons.kueue.core.state import Item, Queue, State

Strategy = Callable[[Share, Share, Share], bool]
"""(share of the preemptor's side with the workload, share of the other side with the candidate,
and without it) → whether the candidate may be displaced."""

STRATEGIES: Mapping[str, Strategy] = {
    "LessThanOrEqualToFinalShare": lambda mine, before, after: mine.rank <= after.rank,
    "LessThanInitialShare": lambda mine, before, after: mine.rank < before.rank,
}


_Importance = tuple[bool, bool, tuple[int, float, str]]


class FairSearch(Search):
    def targets(self, strategies: Sequence[str]) -> list[Target]:
        """The state is the same afterwards."""
        candidates = self._candidates()
        if not candidates:
            return []
        self._hold()
        taken: list[Target] = []
        left: list[Item] = []
        fits = self._by_first(candidates, STRATEGIES[strategies[0]], taken, left)
        if not fits and len(strategies) > 1:
            fits = self._by_second(left, taken)
        self._let_go()
        kept = self._without_needless(taken, borrowing=True) if fits else []
        self._restore(kept if fits else taken)
        return kept

    def _candidates(self) -> list[Item]:
        """Others of the queue, and those of queues of the tree that borrow what is needed; those
        that go anyhow, and those of other queues, first."""
        queue = self._queue
        candidates = self._allowed(queue.running.values(), queue.preemption.within)
        if queue.node.parent is not None:
            for other in _queues_below(self._state, queue.node.root):
                if other is not queue and not other.node.is_within_nominal(self._slots):
                    candidates += self._allowed(other.running.values(), queue.preemption.reclaim)
        return sorted(candidates, key=self._order)

    def _order(self, item: Item) -> _Importance:
        return not item.evicted, item.queue == self._queue.name, importance(item)

    # --- the workload's own usage counts in shares, and not in what fits ---

    def _hold(self) -> None:
        for slot, amount in self._usage.items():
            self._queue.node.use(slot, amount)

    def _let_go(self) -> None:
        for slot, amount in self._usage.items():
            self._queue.node.release(slot, amount)

    def _fits_now(self) -> bool:
        self._let_go()
        fits = self._fits(borrowing=True)
        self._hold()
        return fits

    def _take(self, item: Item, reason: str, taken: list[Target]) -> bool:
        """Whether the workload fits without it, and those before."""
        self._state.suspend(item)
        taken.append(Target(item, reason))
        return self._fits_now()

    # --- strategies ---

    def _by_first(
        self,
        candidates: Sequence[Item],
        strategy: Strategy,
        taken: list[Target],
        left: list[Item],
    ) -> bool:
        """Whether it fits. Who is not taken for the strategy's sake is `left`."""
        is_entitled = self._queue.node.is_within_nominal(self._slots)
        ordering = _Ordering(self._state, self._queue, candidates, self._order)
        for queue in ordering:
            if queue is self._queue or is_entitled:
                reason = WITHIN if queue is self._queue else RECLAMATION
                if self._take(ordering.pop(queue), reason, taken):
                    return True
                continue
            mine, before = self._shares(queue)
            while ordering.has(queue):
                item = ordering.pop(queue)
                if not strategy(mine, before, self._share_without(queue, item)):
                    left.append(item)
                    continue
                if self._take(item, FAIRNESS, taken):
                    return True
                break  # shares are others now: perhaps it is another queue's turn
        return False

    def _by_second(self, left: Sequence[Item], taken: list[Target]) -> bool:
        """By what the other side had before: one of each queue at the most."""
        strategy = STRATEGIES["LessThanInitialShare"]
        ordering = _Ordering(self._state, self._queue, left, self._order)
        for queue in ordering:
            mine, before = self._shares(queue)
            item = ordering.pop(queue)
            if strategy(mine, before, before) and self._take(item, FAIRNESS, taken):
                return True
            ordering.drop(queue)
        return False

    def _shares(self, other: Queue) -> tuple[Share, Share]:
        """Of both sides: the nodes just below the lowest cohort that the queues share."""
        mine, theirs = _sides(self._queue.node, other.node)
        return share_of(mine), share_of(theirs)

    def _share_without(self, queue: Queue, item: Item) -> Share:
        _, theirs = _sides(self._queue.node, queue.node)
        for slot, amount in item.usage.items():
            queue.node.release(slot, amount)
        share = share_of(theirs)
        for slot, amount in item.usage.items():
            queue.node.use(slot, amount)
        return share


def _sides(mine: Node, theirs: Node) -> tuple[Node, Node]:
    below = {id(node.parent): node for node in (mine, *mine.ancestors())}
    while id(theirs.parent) not in below:
        assert theirs.parent is not None  # they are of one tree
        theirs = theirs.parent
    return below[id(theirs.parent)], theirs


def _queues_below(state: State, node: Node) -> Iterator[Queue]:
    for child in node.children:
        queue = state.queue_at(child)
        if queue is not None:
            yield queue
        else:
            yield from _queues_below(state, child)


class _Ordering:
    """The queues that candidates are taken from: again and again the one with the highest share,
    from the root of the tree down. Between two of them one has to be popped or dropped."""

    def __init__(
        self,
        state: State,
        queue: Queue,
        candidates: Sequence[Item],
        order: Callable[[Item], _Importance],
    ) -> None:
        self._state = state
        self._queue = queue
        self._order = order
        self._above = {id(node) for node in queue.node.ancestors()}
        self._items: dict[str, list[Item]] = {}
        for item in candidates:
            self._items.setdefault(item.queue, []).append(item)
        self._pruned: set[int] = set()  # nodes without candidates left

    def has(self, queue: Queue) -> bool:
        return bool(self._items.get(queue.name))

    def pop(self, queue: Queue) -> Item:
        return self._items[queue.name].pop(0)

    def drop(self, queue: Queue) -> None:
        self._pruned.add(id(queue.node))

    def __iter__(self) -> Iterator[Queue]:
        root = self._queue.node.root
        if root is self._queue.node:
            while self.has(self._queue) and id(root) not in self._pruned:
                yield self._queue
            return
        while id(root) not in self._pruned:
            queue = self._next(root)
            if queue is not None:
                yield queue

    def _next(self, cohort: Node) -> Queue | None:
        """None: something has been pruned, and the search has to be repeated."""
        queue, queue_share = self._highest_queue(cohort)
        below, cohort_share = self._highest_cohort(cohort)
        if below is not None and (queue is None or cohort_share.rank >= queue_share.rank):
            return self._next(below)  # there may be someone worse off within
        if queue is None:
            self._pruned.add(id(cohort))
        return queue

    def _highest_queue(self, cohort: Node) -> tuple[Queue | None, Share]:
        top_queue: Queue | None = None
        highest = Share()
        for child in cohort.children:
            queue = self._state.queue_at(child)
            if queue is None or id(child) in self._pruned:
                continue
            share = share_of(child)
            if not self.has(queue) or not (share.is_borrowing or queue is self._queue):
                self._pruned.add(id(child))
            elif top_queue is None or share.rank > highest.rank:
                top_queue = queue
                highest = share
            elif share.rank == highest.rank and self._comes_before(queue, top_queue):
                top_queue = queue
        return top_queue, highest

    def _comes_before(self, queue_: Queue, other: Queue) -> bool:
        first, second = (self._order(self._items[queue.name][0]) for queue in (queue_, other))
        return first < second

    def _highest_cohort(self, cohort: Node) -> tuple[Node | None, Share]:
        top_cohort: Node | None = None
        highest = Share()
        for child in cohort.children:
            if self._state.queue_at(child) is not None or id(child) in self._pruned:
                continue
            share = share_of(child)
            if not share.is_borrowing and id(child) not in self._above:
                self._pruned.add(id(child))
            elif top_cohort is None or share.rank >= highest.rank:
                top_cohort = child
                highest = share
        return top_cohort, highest
