"""Fields that are a number or a percentage."""

from __future__ import annotations

import pytest

from tiphys.machinery.intorpercent import scaled


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [
        (3, 3, 3),
        (0, 0, 0),
        (None, 0, 0),
        ("0%", 0, 0),
        ("25%", 3, 2),
        ("50%", 5, 5),
        ("101%", 11, 10),
    ],
)
def test_a_percentage_is_rounded_as_the_field_says(
    value: int | str | None, up: int, down: int
) -> None:
    assert scaled(value, 10, round_up=True) == up
    assert scaled(value, 10, round_up=False) == down


def test_what_is_no_percentage_is_refused() -> None:
    with pytest.raises(ValueError):
        scaled("many", 10, round_up=True)
