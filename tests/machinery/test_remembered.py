"""Results of short texts are remembered, and an allowance of work ends."""

from __future__ import annotations

import pytest

from tiphys.machinery.patience import BRIEF, Brief, Unfinished, allowed, take
from tiphys.machinery.query import truth
from tiphys.machinery.remembered import remembered


def test_long_texts_are_not_remembered() -> None:
    computed = []

    @remembered(2, longest=3)
    def length(text: str) -> int:
        computed.append(text)
        return len(text)

    assert [length(text) for text in ("abc", "abc", "abcd", "abcd")] == [3, 3, 4, 4]
    assert computed == ["abc", "abcd", "abcd"]


def test_work_ends_when_its_allowance_is_spent() -> None:
    take(10 * BRIEF)  # without an allowance there is no limit
    with Brief():
        take(BRIEF)
        assert allowed() == 0
        with pytest.raises(Unfinished):
            take(1)
    assert allowed() is None


@pytest.mark.parametrize(
    ("text", "true"),
    [
        (None, False),
        ("0", False),
        ("false", False),
        ("FALSE", False),
        ("", True),
        ("1", True),
        ("no", True),
    ],
)
def test_a_boolean_parameter(text: str | None, true: bool) -> None:
    assert truth(text) is true


def test_of_longer_texts_a_sixteenth_as_many_are_remembered() -> None:
    computed = []

    @remembered(32)
    def length(text: str) -> int:
        computed.append(text)
        return len(text)

    for text in ("a" * 200, "b" * 200, "c" * 200, "a" * 200, "a", "b", "c", "a"):
        length(text)
    assert [len(text) for text in computed] == [200, 200, 200, 200, 1, 1, 1]
