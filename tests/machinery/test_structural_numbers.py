"""Numbers of custom objects are written as Go writes them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tiphys.machinery.structural.numbers import encoded, with_integers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 100.0}, '{"a":100}'),
        ({"a": [1.0, 1.5, {"b": -2.0}]}, '{"a":[1,1.5,{"b":-2}]}'),
        ({"a": 1.0, "b": "1.0,"}, '{"a":1,"b":"1.0,"}'),
        ({"a": "x.0y"}, '{"a":"x.0y"}'),
        ({"a": 1.05}, '{"a":1.05}'),
        ({"a": 1e16}, '{"a":10000000000000000}'),
        ({"a": 1e19}, '{"a":1e19}'),
        ({"a": 9.3e18}, '{"a":9.3e18}'),
        ({"a": 2.0**62}, '{"a":4611686018427387904}'),
        ({"a": -(2.0**63)}, '{"a":-9.223372036854776e18}'),
        ({"a": 7, "b": True, "c": None}, '{"a":7,"b":true,"c":null}'),
        ([0.0], "[0]"),
    ],
)
def test_whole_numbers_are_written_as_such(value: Any, text: str) -> None:
    assert encoded(value, msgspec.json.encode).decode() == text


def test_what_has_none_is_not_read_again() -> None:
    data = b'{"a":1.5}'
    assert encoded(None, lambda obj: data) is data
    suspicious = b'{"a":"x.0y"}'
    assert encoded(None, lambda obj: suspicious) is suspicious


def test_texts_that_look_like_numbers_stay() -> None:
    assert with_integers({"1.0": "1.0"}) == {"1.0": "1.0"}
