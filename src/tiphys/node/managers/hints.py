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

    Upstream tries every combination, 16 million of three resources on eight nodes. Here only what
    combinations come to is kept from one list to the next (docs/decisions/0023).
    """
    agreed: set[Mask | None] = {None}  # of preferred ones: the masks of all hints, None if any
    common: set[Mask] = set()  # of the others: nodes that all hints have
    for hints in lists:
        named = {everywhere if hint.nodes is None else hint.nodes for hint in hints}
        before = common | {everywhere if mask is None else mask for mask in agreed}
        common = {mask & nodes for mask in before for nodes in named}
        agreed = _agreed(agreed, {hint.nodes for hint in hints if hint.preferred})
    preferred = {everywhere if mask is None else mask & everywhere for mask in agreed} - {0}
    if preferred:
        return Hint(min(preferred, key=order), True)
    target = max((_narrowest(hints) for hints in lists), default=0)

    def merit(mask: Mask) -> tuple[float, ...]:
        return (*_distance(mask, target), *order(mask))

    return Hint(min(common - {0}, key=merit, default=everywhere), False)


def _agreed(before: set[Mask | None], further: set[Mask | None]) -> set[Mask | None]:
    """The masks on which all hints agree, `further` ones included; None where any will do."""
    agreed = before & further
    if None in before:
        agreed |= further
    if None in further:
        agreed |= before
    return agreed


def _narrowest(hints: Sequence[Hint]) -> int:
    """Of how many nodes the narrowest hint is; 0 if none names any."""
    return min((hint.nodes.bit_count() for hint in hints if hint.nodes is not None), default=0)


def _distance(mask: Mask, target: int) -> tuple[int, int]:
    """Sets of as many nodes as the resource that needs most (`target`) first, then those of fewer,
    then those of more."""
    missing = target - mask.bit_count()
    return int(missing < 0), abs(missing)


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
