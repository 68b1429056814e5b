"""Keywords of schemas that judge a value by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.machinery.keywords import checks_of


def details(facts: dict[str, Any], value: Any) -> list[str]:
    errors = [check(value, "f") for check in checks_of(facts)]
    return [error.detail.rpartition(" in body ")[2] for error in errors if error is not None]


@pytest.mark.parametrize(
    ("facts", "good", "bad", "detail"),
    [
        ({"maximum": 3}, [3, 2.5, "x", True], 4, "should be less than or equal to 3"),
        ({"maximum": 3, "exclusiveMaximum": True}, [2], 3, "should be less than 3"),
        ({"minimum": 3}, [3, 4], 2, "should be greater than or equal to 3"),
        ({"minimum": 3, "exclusiveMinimum": True}, [4], 3, "should be greater than 3"),
        ({"minimum": 0}, [0], -1, "should be greater than or equal to 0"),
        ({"multipleOf": 0.1}, [0.3, 1, -0.2], 0.35, "should be a multiple of 0.1"),
        ({"maxLength": 2}, ["ab", [1, 2, 3]], "abc", "Too long: may not be more than 2 bytes"),
        ({"minLength": 2}, ["ab", []], "a", "should be at least 2 chars long"),
        ({"pattern": "^a"}, ["ab", 3], "ba", "should match '^a'"),
        ({"format": "date"}, ["2024-01-01", 3], "x", 'must be of type date: "x"'),
        ({"format": "nobody-knows"}, ["x"], None, ""),
        (
            {"maxItems": 1},
            [[1], "ab", {"a": 1, "b": 2}],
            [1, 2],
            "Too many: 2: must have at most 1 item",
        ),
        ({"minItems": 1}, [[1], "", {}], [], "should have at least 1 items"),
        ({"uniqueItems": True}, [[1, 2], "aa"], [1, 2, 1], "shouldn't contain duplicates"),
        ({"uniqueItems": False}, [[1, 1]], None, ""),
        (
            {"maxProperties": 1},
            [{"a": 1}, [1, 2]],
            {"a": 1, "b": 2},
            "Too many: 2: must have at most 1 item",
        ),
        ({"minProperties": 1}, [{"a": 1}, []], {}, "should have at least 1 properties"),
        ({"enum": ["a", 1]}, ["a", 1], True, 'Unsupported value: true: supported values: "a", "1"'),
        (
            {"enum": [True, None, {"a": 1.5}]},
            [True, None],
            1,
            'Unsupported value: 1: supported values: "true", "null", "{"a":1.5}"',
        ),
    ],
)
def test_a_keyword_takes_what_is_within_and_refuses_the_first_beyond(
    facts: dict[str, Any], good: list[Any], bad: Any, detail: str
) -> None:
    assert [value for value in good if details(facts, value)] == []
    assert details(facts, bad) == ([detail] if detail else [])


def test_of_the_keywords_about_text_the_first_that_fails_speaks() -> None:
    facts = {"maxLength": 3, "minLength": 2, "pattern": "^a"}
    assert details(facts, "bbbb") == ["Too long: may not be more than 3 bytes"]
    assert details(facts, "b") == ["should be at least 2 chars long"]
    assert details(facts, "bb") == ["should match '^a'"]
    assert details(facts, "ab") == []
