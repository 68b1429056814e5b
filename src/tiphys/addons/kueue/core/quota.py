"""The tree of quotas: cluster queues are its leaves, cohorts lend between what is below them.

Source: upstream's concepts "Cohort" and "ClusterQueue". A node's subtree has its own nominal quota
and what its children may lend; usage goes to the parent only as far as it exceeds what a node keeps
to itself (its quota above its lending limit).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple


class Slot(NamedTuple):
    """One resource in one flavor: what quotas are counted by."""

    flavor: str
    resource: str


@dataclass(frozen=True)
class Quota:
    """How much of a slot a node has. A limit of None is none."""

    nominal: int
    borrowing: int | None = None
    lending: int | None = None


@dataclass(eq=False)
class Node:
    """A cluster queue or a cohort. `subtree` and `usage` include what is below it; `weight` is its
    claim to what others lend, beside that of its sisters."""

    name: str
    quotas: Mapping[Slot, Quota]
    weight: float = 1.0
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    subtree: dict[Slot, int] = field(default_factory=dict)
    usage: dict[Slot, int] = field(default_factory=dict)

    # --- what there is ---

    def kept(self, slot: Slot) -> int:
        """What is never lent to the parent."""
        quota = self.quotas.get(slot)
        if quota is None or quota.lending is None:
            return 0
        return max(0, self.subtree.get(slot, 0) - quota.lending)

    def kept_unused(self, slot: Slot) -> int:
        return max(0, self.kept(slot) - self.usage.get(slot, 0))

    def available(self, slot: Slot) -> int:
        """What can be used now; below zero when quotas have shrunk under what is used."""
        used = self.usage.get(slot, 0)
        subtree_quota = self.subtree.get(slot, 0)
        if self.parent is None:
            return subtree_quota - used
        from_parent = self.parent.available(slot)
        limit = self._borrowing_limit(slot)
        if limit is not None:
            kept = self.kept(slot)
            lent_to_parent = subtree_quota - kept
            used_of_parent = max(0, used - kept)
            from_parent = min(from_parent, lent_to_parent - used_of_parent + limit)
        return self.kept_unused(slot) + from_parent

    def potential(self, slot: Slot) -> int:
        """What could be used if nothing were in use."""
        subtree_quota = self.subtree.get(slot, 0)
        if self.parent is None:
            return subtree_quota
        most = self.kept(slot) + self.parent.potential(slot)
        limit = self._borrowing_limit(slot)
        return most if limit is None else min(most, subtree_quota + limit)

    @cached_property
    def lendable(self) -> Mapping[str, int]:
        """What could be used below it if nothing were in use, by resource."""
        totals: dict[str, int] = {}
        for slot in self.root.subtree:
            totals[slot.resource] = totals.get(slot.resource, 0) + self.potential(slot)
        return totals

    def _borrowing_limit(self, slot: Slot) -> int | None:
        quota = self.quotas.get(slot)
        return quota.borrowing if quota is not None else None

    def borrows_with(self, slot: Slot, amount: int) -> bool:
        """Whether `amount` more would be more than its own subtree has."""
        return self.usage.get(slot, 0) + amount > self.subtree.get(slot, 0)

    def is_within_nominal(self, slots: frozenset[Slot]) -> bool:
        return all(self.usage.get(slot, 0) <= self.subtree.get(slot, 0) for slot in slots)

    # --- where it is ---

    def ancestors(self) -> Iterator[Node]:
        """From the parent to the root."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    @property
    def root(self) -> Node:
        *_, last = (self, *self.ancestors())
        return last

    def height(self) -> int:
        """Steps to the farthest leaf."""
        return 1 + max((child.height() for child in self.children), default=-1)

    def path(self) -> str:
        """``/cohort/.../queue``, as messages about preemption name a queue."""
        return "/" + "/".join(node.name for node in reversed((self, *self.ancestors())))

    # --- changing it ---

    def use(self, slot: Slot, amount: int) -> None:
        beyond = amount - self.kept_unused(slot)
        self.usage[slot] = self.usage.get(slot, 0) + amount
        if self.parent is not None and beyond > 0:
            self.parent.use(slot, beyond)

    def release(self, slot: Slot, amount: int) -> None:
        in_parent = self.usage.get(slot, 0) - self.kept(slot)
        self.usage[slot] = self.usage.get(slot, 0) - amount
        if self.parent is not None and in_parent > 0:
            self.parent.release(slot, min(amount, in_parent))


def sum_up(node: Node) -> None:
    """Works out `subtree` of a node and of all below it. Usage starts at nothing."""
    node.usage.clear()
    node.__dict__.pop("lendable", None)
    node.subtree = {slot: quota.nominal for slot, quota in node.quotas.items()}
    for child in node.children:
        sum_up(child)
        for slot, subtree_quota in child.subtree.items():
            lent = subtree_quota - child.kept(slot)
            node.subtree[slot] = node.subtree.get(slot, 0) + lent


def borrowing_height(node: Node, slot: Slot, amount: int) -> tuple[int, bool]:
    """How far up the quota for `amount` comes from: 0 from the queue itself, otherwise the height
    of the lowest cohort that has it. And whether there is a larger cohort around that one, in
    which more may be reclaimed."""
    if node.parent is None or not node.borrows_with(slot, amount):
        return 0, node.parent is not None
    remaining = amount - node.kept_unused(slot)
    for cohort in node.ancestors():
        if not cohort.borrows_with(slot, remaining):
            return cohort.height(), cohort.parent is not None
        remaining -= cohort.kept_unused(slot)
    return node.root.height(), False
