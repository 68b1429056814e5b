"""Collections of cycles hold a process up for a moment, however much it has."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tiphys.client import collection
from tiphys.client.collection import ThoroughCollections, collect_thoroughly, settle_collector


class Cycle:
    """What nothing but a collection frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def settled() -> Iterator[None]:
    before = gc.get_threshold()
    settle_collector()
    yield
    gc.callbacks.remove(collection._freeze_survivors)
    gc.set_threshold(*before)
    gc.unfreeze()


def test_what_survives_two_collections_is_not_looked_at_again(settled: None) -> None:
    living = [Cycle() for _ in range(1000)]
    gc.collect(1)
    assert not any(one in gc.get_objects() for one in living[:10])
    del living
    assert gc.collect() < 1000, "frozen cycles stay"
    assert collect_thoroughly() >= 1000


@pytest.mark.parametrize(
    ("waited", "frozen", "due"),
    [
        (600, 30_000, False),  # hardly more than at the start
        (600, 30_001, True),
        (600, 600_000, True),  # 0.6 s, at the microsecond that one is taken to cost
        (600, 600_001, False),
        (1200, 1_200_000, True),
        (29_999, 30_000_000, False),
        (30_000, 30_000_000, True),
    ],
)
def test_a_thorough_collection_takes_a_thousandth_of_the_time(
    waited: float, frozen: int, due: bool
) -> None:
    assert ThoroughCollections(now=50.0).is_due(frozen, 50.0 + waited) == due


def test_what_one_took_says_when_the_next_one_is_due() -> None:
    collections = ThoroughCollections(now=0.0)
    collections.took(2.0, 1_000_000, now=1000.0)  # 2 µs for each object
    assert not collections.is_due(1_000_000, 1e9)  # nothing came
    assert not collections.is_due(1_050_000, 3099.0)
    assert collections.is_due(1_050_000, 3101.0)
