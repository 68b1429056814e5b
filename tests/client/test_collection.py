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
    ("waited", "mebibytes", "due"),
    [
        (600, 16, False),  # hardly more than at the start
        (600, 17, True),
        (600, 190, True),  # 0.6 s
        (600, 191, False),
        (1200, 381, True),
        (10_000, 3_700, False),
        (12_000, 3_700, True),
    ],
)
def test_a_thorough_collection_takes_a_thousandth_of_the_time(
    waited: float, mebibytes: int, due: bool
) -> None:
    assert ThoroughCollections(now=50.0).is_due(mebibytes << 20, 50.0 + waited) == due


def test_what_one_took_says_when_the_next_one_is_due() -> None:
    collections = ThoroughCollections(now=0.0)
    collections.took(2.0, 100 << 20, now=1000.0)  # slower than it is taken to be
    assert not collections.is_due(116 << 20, 1e9)  # hardly anything came
    assert not collections.is_due(117 << 20, 3300.0)
    assert collections.is_due(117 << 20, 3400.0)
