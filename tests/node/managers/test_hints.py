"""One hint of many."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.node.managers.hints import (
    ANYWHERE,
    NOWHERE,
    Hint,
    breadth,
    flattened,
    masks,
    merged,
    single_node_only,
)

ZERO, ONE, BOTH = Hint(0b01, True), Hint(0b10, True), Hint(0b11, False)
TWO_NODES = 0b11


@pytest.mark.parametrize(
    ("providers", "best"),
    [
        ([], Hint(0b11, True)),
        ([{}], Hint(0b11, True)),
        ([{"gpu": None}], Hint(0b11, True)),
        ([{"gpu": []}], Hint(0b11, False)),
        ([{"cpu": [ZERO, BOTH]}, {}], ZERO),
        ([{"cpu": [ZERO, ONE]}, {"gpu": [ONE]}], ONE),
        ([{"cpu": [ZERO, ONE]}, {"gpu": [ZERO, ONE]}], ZERO),
        ([{"cpu": [ZERO]}, {"gpu": [ONE]}], Hint(0b11, False)),
        ([{"cpu": [ZERO, ONE, BOTH]}, {"gpu": [Hint(0b11, True)]}], BOTH),
        ([{"cpu": [Hint(0b11, True)]}, {"gpu": [BOTH]}], Hint(0b11, False)),
        ([{"cpu": [ZERO], "gpu": [ZERO, ONE]}], ZERO),
    ],
)
def test_nodes_that_all_have_and_prefer(providers: list[dict[str, list[Hint]]], best: Hint) -> None:
    assert merged(flattened(providers), TWO_NODES) == best


def test_a_single_node_or_none() -> None:
    wide = [[Hint(0b11, True), BOTH], [ANYWHERE]]
    assert merged(single_node_only(wide), TWO_NODES) == Hint(TWO_NODES, False)
    assert merged(single_node_only([[ZERO, BOTH], [NOWHERE]]), TWO_NODES).preferred is False
    assert merged(single_node_only([[ZERO, BOTH], [ANYWHERE]]), TWO_NODES) == ZERO


def test_nodes_close_to_each_other_come_first() -> None:
    near = {0b0011: 21.0, 0b0101: 11.0}

    def order(mask: int) -> tuple[float, ...]:
        return mask.bit_count(), near.get(mask, 10.0), mask

    hints = [[Hint(0b0011, True), Hint(0b0101, True)]]
    assert merged(hints, 0b1111) == Hint(0b0011, True)
    assert merged(hints, 0b1111, order) == Hint(0b0101, True)


def of_every_combination(lists: list[list[Hint]], everywhere: int) -> Hint:
    """As upstream finds it: one after the other, by its comparison."""
    target = max(
        (min((h.nodes.bit_count() for h in hints if h.nodes is not None), default=0))
        for hints in lists
    )
    best: Hint | None = None
    for combination in product(*lists):
        named = [hint.nodes for hint in combination if hint.nodes is not None]
        mask = everywhere
        for nodes in named:
            mask &= nodes
        preferred = len(set(named)) <= 1 and all(hint.preferred for hint in combination)
        if mask and (best is None or is_better(Hint(mask, preferred), best, target)):
            best = Hint(mask, preferred)
    return best or Hint(everywhere, False)


def is_better(candidate: Hint, current: Hint, target: int) -> bool:
    assert candidate.nodes is not None
    assert current.nodes is not None
    if candidate.preferred != current.preferred:
        return candidate.preferred
    narrower = breadth(candidate.nodes) < breadth(current.nodes)
    if current.preferred:
        return narrower
    new, old = candidate.nodes.bit_count(), current.nodes.bit_count()
    if old > target:
        return narrower
    if old == target:
        return new == target and narrower
    if new > target or new < old:
        return False
    return new > old or narrower


HINTS = st.builds(Hint, st.sampled_from([None, *masks(range(3))]), st.booleans())


@given(st.lists(st.lists(HINTS, min_size=1, max_size=4), min_size=1, max_size=4))
def test_as_good_as_the_best_of_every_combination(lists: list[list[Hint]]) -> None:
    assert merged(lists, 0b111) == of_every_combination(lists, 0b111)
