"""Users' regular expressions are RE2."""

from __future__ import annotations

import time

import pytest

from tiphys.machinery.regexp import RegexpError, compiled


def test_an_expression_is_searched_for_anywhere() -> None:
    assert compiled(r"b+").search("aabbcc")[0] == "bb"
    assert compiled(r"^\d{2}\z").search("12") and not compiled(r"^\d{2}\z").search("12\n")


def test_classes_are_of_ascii() -> None:
    assert compiled(r"^\w+$").search("é") is None
    assert compiled(r"^\pL+$").search("é") is not None


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a(?=b)", "error parsing regexp: invalid or unsupported Perl syntax: `(?=`"),
        ("(a", "error parsing regexp: missing closing ): `(a`"),
        ("*a", "error parsing regexp: missing argument to repetition operator: `*`"),
        (r"(a)\1", r"error parsing regexp: invalid escape sequence: `\1`"),
    ],
)
def test_what_is_no_expression_is_told_in_the_words_of_go(pattern: str, why: str) -> None:
    with pytest.raises(RegexpError) as error:
        compiled(pattern)
    assert str(error.value) == why


def test_no_expression_takes_time_that_grows_beyond_all_bounds() -> None:
    began = time.process_time()
    assert compiled("(a+)+$").search("a" * 5000 + "b") is None
    assert time.process_time() - began < 1
