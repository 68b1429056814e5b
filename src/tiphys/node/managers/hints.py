"""Hints of what is near a NUMA node, and one made of many, as upstream merges them
(`pkg/kubelet/cm/topologymanager/policy.go`). Pure.

A set of NUMA nodes is a bit mask, so that the smaller of two sets of equal size is the one with the
lower nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

Mask = int


class Hint(NamedTuple):
    """
    nodes:     NUMA nodes that something can be had from; None where it does not matter
    preferred: no smaller set of nodes would ever do
    """

    nodes: Mask | None
    preferred: bool


ANYWHERE = Hint(None, True)
NOWHERE = Hint(None, False)

Hints = Mapping[str, Sequence[Hint] | None]
"""Of one provider, by resource; none of a resource where it does not matter, an empty list where it
cannot be had."""


def mask_of(nodes: Iterable[int]) -> Mask:
    mask = 0
    for node in nodes:
        mask |= 1 << node
    return mask


def nodes_of(mask: Mask) -> list[int]:
    return [node for node in range(mask.bit_length()) if mask >> node & 1]


def masks(nodes: Iterable[int]) -> Iterator[Mask]:
    """Every set of some of the nodes, the small ones first."""
    ordered = sorted(nodes)
    for size in range(1, len(ordered) + 1):
        for chosen in combinations(ordered, size):
            yield mask_of(chosen)


def breadth(mask: Mask) -> tuple[int, int]:
    """Orders sets: fewer nodes first, then lower ones."""
    return mask.bit_count(), mask


def flattened(providers: Iterable[Hints]) -> list[Sequence[Hint]]:
    """One list of hints for each resource of each provider."""
    lists: list[Sequence[Hint]] = []
    for hints in providers:
        if not hints:
            lists.append([ANYWHERE])
        for of_resource in hints.values():
            if of_resource is None:
                lists.append([ANYWHERE])
            else:
                lists.append(of_resource or [NOWHERE])
    return lists


Order = Callable[[Mask], tuple[float, ...]]
"""Of sets of equal merit the one with the smallest value is taken."""


def merged(lists: Sequence[Sequence[Hint]], everywhere: Mask, order: Order = breadth) -> Hint:
    """The best hint that takes one of each list: nodes that all of them have, preferred if all are
    preferred and say the same nodes. `everywhere` not preferred if no nodes are common to any.

    Upstream tries every combination, 16 million of three resources on eight nodes. What a
    combination comes to is its common nodes and whether it is preferred: only these are kept from
    one list to the next.
    """
    outcomes = {_Outcome(everywhere, True, None)}
    for hints in lists:
        outcomes = {outcome.joined(hint) for outcome in outcomes for hint in set(hints)}
    target = max((_narrowest(hints) for hints in lists), default=0)
    candidates = [outcome for outcome in outcomes if outcome.nodes]
    if not candidates:
        return Hint(everywhere, False)

    def merit(outcome: _Outcome) -> tuple[float, ...]:
        return (*_rank(outcome, target), *order(outcome.nodes))

    best = min(candidates, key=merit)
    return Hint(best.nodes, best.preferred)


class _Outcome(NamedTuple):
    """What a combination of hints comes to. `said` is the set that all of them named, as long as
    they are preferred."""

    nodes: Mask
    preferred: bool
    said: Mask | None

    def joined(self, hint: Hint) -> _Outcome:
        if hint.nodes is None:
            preferred = self.preferred and hint.preferred
            return _Outcome(self.nodes, preferred, self.said if preferred else None)
        agrees = self.said is None or self.said == hint.nodes
        preferred = self.preferred and hint.preferred and agrees
        return _Outcome(self.nodes & hint.nodes, preferred, hint.nodes if preferred else None)


def _narrowest(hints: Sequence[Hint]) -> int:
    """Of how many nodes the narrowest hint is; 0 if none names any."""
    return min((hint.nodes.bit_count() for hint in hints if hint.nodes is not None), default=0)


def _rank(outcome: _Outcome, target: int) -> tuple[int, int, int]:
    """Preferred ones first. Of the others, those of as many nodes as the resource that needs most
    (`target`), then those of fewer nodes, then those of more."""
    if outcome.preferred:
        return 0, 0, 0
    distance = target - outcome.nodes.bit_count()
    return 1, int(distance < 0), abs(distance)


def single_node_only(lists: Iterable[Sequence[Hint]]) -> list[Sequence[Hint]]:
    """Those that are preferred and of one node, or of any."""
    return [
        [
            hint
            for hint in hints
            if hint.preferred and (hint.nodes is None or hint.nodes.bit_count() == 1)
        ]
        for hints in lists
    ]
