"""How much a queue or a cohort takes of what others lend: dominant resource shares.

Source: the concept "Fair Sharing". A node's share is, of the resource that it borrows the most of,
what it borrows in thousandths of what its cohort could lend, divided by its weight. Who has the
lowest share comes next; who has the highest gives way first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from tiphys.addons.kueue.core.quota import Node, Slot
from tiphys.addons.kueue.core.state import State

LARGEST = 2**63 - 1
_NOTHING: Mapping[Slot, int] = {}


class Share(NamedTuple):
    """`ratio` is unweighted. A node may borrow, and have a ratio of 0, where no other lends."""

    weight: float = 1.0
    ratio: float = 0.0
    resource: str = ""
    borrowed: frozenset[Slot] = frozenset()

    @property
    def is_borrowing(self) -> bool:
        return bool(self.borrowed)

    def borrows_for(self, usage: Mapping[Slot, int]) -> bool:
        """Whether it borrows any of the requested resources."""
        return any(usage.get(slot, 0) > 0 for slot in self.borrowed)

    @property
    def weighted(self) -> float:
        if not self.ratio:
            return 0.0
        return self.ratio / self.weight if self.weight else math.inf

    @property
    def rank(self) -> tuple[bool, float]:
        """To compare: who borrows with a weight of nothing comes after all others."""
        is_endless = math.isinf(self.weighted)
        return is_endless, self.ratio if is_endless else self.weighted

    @property
    def shown(self) -> int:
        """As `status.fairSharing.weightedShare` has it."""
        return LARGEST if math.isinf(self.weighted) else math.ceil(self.weighted)


def share_of(node: Node, more: Mapping[Slot, int] = _NOTHING) -> Share:
    """The share of a node as it is, or with so much more. The root of a tree has none."""
    if node.parent is None:
        return Share(node.weight)
    borrowed: dict[Slot, int] = {}
    for slot, subtree_quota in node.subtree.items():
        beyond = node.usage.get(slot, 0) + more.get(slot, 0) - subtree_quota
        if beyond > 0:
            borrowed[slot] = beyond
    if not borrowed:
        return Share(node.weight)
    totals: dict[str, int] = {}
    for slot, amount in borrowed.items():
        totals[slot.resource] = totals.get(slot.resource, 0) + amount
    lendable = node.parent.lendable
    ratio = 0.0
    resource = ""
    for name in sorted(totals):
        most = lendable.get(name, 0)
        if most > 0 and totals[name] * 1000 / most > ratio:
            ratio = totals[name] * 1000 / most
            resource = name
    return Share(node.weight, ratio, resource, frozenset(borrowed))


class Shares(NamedTuple):
    """Those of all queues and cohorts, by name."""

    queues: Mapping[str, Share]
    cohorts: Mapping[str, Share]


def shares_of(state: State) -> Shares | None:
    """None: queues do not share fairly."""
    if not state.strategies:
        return None
    return Shares(
        {name: share_of(queue.node) for name, queue in state.queues.items()},
        {name: share_of(node) for name, node in state.cohorts.items()},
    )
