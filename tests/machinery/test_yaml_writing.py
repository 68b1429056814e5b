"""YAML as upstream writes it."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.machinery.yaml_writing import dump


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("ünïcode", "ünïcode"),
        ("", '""'),
        ("true", '"true"'),
        ("1", '"1"'),
        ("null", '"null"'),
        ("~", '"~"'),
        ("y", '"y"'),
        ("1e3", '"1e3"'),
        ("1_0.5e+3", '"1_0.5e+3"'),
        ("2024-01-01", '"2024-01-01"'),
        (True, "true"),
        (None, "null"),
        (3, "3"),
    ],
)
def test_strings_that_read_as_something_else_are_quoted(value: Any, text: str) -> None:
    assert dump({"a": value}).decode() == f"a: {text}\n"


def test_long_texts_stand_in_blocks_and_keys_in_order() -> None:
    assert dump({"b": [1], "a": "x\ny\n"}) == b"a: |\n  x\n  y\nb:\n- 1\n"


def test_a_value_that_is_there_twice_is_written_twice() -> None:
    shared = {"x": 1}
    assert dump([shared, shared]) == b"- x: 1\n- x: 1\n"
