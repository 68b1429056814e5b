"""Values as Go prints them."""

from __future__ import annotations

import math

import pytest

from tiphys.machinery.fielderrors import invalid_value
from tiphys.machinery.goformat import quoted, shortest


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (3.0, "3"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (0.0001, "0.0001"),
        (1e-5, "1e-05"),
        (999999.0, "999999"),
        (123456.5, "123456.5"),
        (1e6, "1e+06"),
        (1234567.0, "1.234567e+06"),
        (1.5e10, "1.5e+10"),
        (1e20, "1e+20"),
        (5e-324, "5e-324"),
        (0.0, "0"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_are_printed_as_go_prints_them(number: float, text: str) -> None:
    assert shortest(number) == text
    assert f"Invalid value: {text}: why" == invalid_value("a", number, "why").detail


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a", '"a"'),
        ("", '""'),
        ('a"b', r'"a\"b"'),
        ("a\\b", r'"a\\b"'),
        ("a\nb", r'"a\nb"'),
        ("ä", '"ä"'),
        ("\x00", r'"\x00"'),
    ],
)
def test_texts_are_quoted_as_go_quotes_them(text: str, shown: str) -> None:
    assert quoted(text) == shown
