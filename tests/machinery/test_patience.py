"""Work that others wait for has an allowance, which each of its kinds takes from."""

from __future__ import annotations

import pytest

from tiphys.machinery import patience, regexp
from tiphys.machinery.patience import BRIEF, Brief, Unfinished, allowed, take
from tiphys.machinery.regexp import RegexpError, Together, compiled
from tiphys.machinery.structural.defaulting import Growth, TooMuch


def test_without_a_limit_everything_may_be_taken() -> None:
    assert allowed() is None
    take(1 << 60)
    assert allowed() is None


def test_an_allowance_ends_with_its_block_and_may_be_inside_of_another() -> None:
    with Brief():
        take(1000)
        with Brief():
            assert allowed() == BRIEF
            take(BRIEF)
            assert allowed() == 0
        assert allowed() == BRIEF - 1000
        with pytest.raises(Unfinished):
            take(BRIEF - 999)
    assert allowed() is None


def test_nothing_that_handles_errors_stops_it() -> None:
    assert not issubclass(Unfinished, Exception)


@pytest.mark.parametrize(("size", "units"), [(0, 1), (63, 1), (64, 2), (6400, 101)])
def test_defaults_take_by_their_size(size: int, units: int) -> None:
    growth = Growth()
    with Brief():
        growth.add(size)
        assert allowed() == BRIEF - units
    assert growth.size == size


def test_defaults_may_be_so_large_in_sum() -> None:
    growth = Growth(10)
    growth.add(6)
    growth.add(4)
    with pytest.raises(TooMuch):
        growth.add(1)


def test_an_expression_takes_by_its_size_and_a_large_one_is_compiled_elsewhere() -> None:
    with Brief():
        compiled("a{7}b{3}")
        assert BRIEF - 200 < (allowed() or 0) < BRIEF
    large = r"\pL{20}"
    with Brief(), pytest.raises(Unfinished):
        compiled(large)
    assert compiled(large).search("a" * 20)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regexp, "_MOST_TOGETHER", 5)


def test_expressions_of_one_object_have_a_limit_together(few: None) -> None:
    with Together():
        compiled("first{9}x")  # as large as it likes: the next one is too much
        with pytest.raises(RegexpError, match="expressions too large together"):
            compiled("second{9}x")
        with Together():
            compiled("third{9}x")
        with pytest.raises(RegexpError, match="expressions too large together"):
            compiled("fourth{9}x")
    assert compiled("fourth{9}x") and patience.allowed() is None
