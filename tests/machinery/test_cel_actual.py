"""What running an expression costs: units of values, comparisons, searches and sums."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.machinery.cel.actual import comparison_cost, joining_cost, search_cost, weight
from tiphys.machinery.cel.frames import COST, as_bool, field_of, spend, unescaped
from tiphys.machinery.cel.values import CelError, CostExceeded, Optional


@pytest.mark.parametrize(
    ("value", "units"),
    [
        (1, 1),
        (None, 1),
        ("", 1),
        ("a" * 9, 1),
        ("a" * 10, 2),
        (b"a" * 20, 3),
        ([], 1),
        ([1, [2]], 4),
        ({}, 1),
        ({"a": 1, "b" * 10: [1]}, 7),
    ],
)
def test_a_value_has_so_many_parts(value: Any, units: int) -> None:
    assert weight(value) == units


@pytest.mark.parametrize(
    ("left", "right", "units"),
    [
        ("a" * 20, "a" * 30, 2),
        ("a" * 30, "a" * 9, 0),
        ([1] * 4, [1] * 4, 1),
        ([1] * 4, [1] * 3, 0),
        ([1] * 3, [1] * 3, 0),
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}, 1),
        (1, 1, 0),
        ("a" * 20, 1, 0),
    ],
)
def test_comparing_costs(left: Any, right: Any, units: int) -> None:
    assert comparison_cost(left, right) == units


@pytest.mark.parametrize(
    ("item", "container", "units"),
    [
        (1, [1, 2, 3], 3),
        ("a" * 90, [1, 2, 3], 6),
        ("a" * 89, [1, 2, 3], 3),
        (1, {"a": 1}, 0),
        (1, [], 0),
    ],
)
def test_searching_costs(item: Any, container: Any, units: int) -> None:
    assert search_cost(item, container) == units


@pytest.mark.parametrize(
    ("left", "right", "units"),
    [
        ([1], [2, 3], 3),
        ("a" * 5, "b" * 5, 1),
        ("a" * 5, "b" * 4, 0),
        (b"a" * 15, b"b" * 5, 2),
        (1, 2, 0),
        ([1], "a", 0),
    ],
)
def test_joining_costs(left: Any, right: Any, units: int) -> None:
    assert joining_cost(left, right) == units


# --- frames ---


def test_what_is_spent_is_taken_off_and_no_more_than_there_is() -> None:
    frame = {COST: [5]}
    spend(frame, 3)
    spend(frame, 2)
    assert frame[COST] == [0]
    with pytest.raises(CostExceeded, match="actual cost limit exceeded"):
        spend(frame, 1)


@pytest.mark.parametrize("value", [True, False])
def test_only_truth_values_are_true_or_false(value: bool) -> None:
    assert as_bool(value) is value
    for other in (1, 0, "true", None):
        with pytest.raises(CelError, match="no such overload"):
            as_bool(other)


class Thing:
    def cel_field(self, name: str) -> str:
        return f"its {name}"


@pytest.mark.parametrize(
    ("value", "name", "found"),
    [
        ({"a": 1}, "a", 1),
        ({"a-b": 1}, "a__dash__b", 1),
        ({"a__dash__b": 2, "a-b": 1}, "a__dash__b", 2),
        (Thing(), "x", "its x"),
    ],
)
def test_a_field_is_found(value: Any, name: str, found: Any) -> None:
    assert field_of(value, name) == found


def test_a_field_of_what_may_be_there_may_be_there() -> None:
    assert field_of(Optional(True, {"a": 1}), "a").value == 1
    assert not field_of(Optional(True, {"a": 1}), "x").present


@pytest.mark.parametrize(
    ("value", "message"),
    [({"a": 1}, "no such key: x"), (None, "no such key: x"), (7, "no such overload")],
)
def test_a_field_that_is_not_there(value: Any, message: str) -> None:
    with pytest.raises(CelError, match=message):
        field_of(value, "x")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a", "a"),
        ("a_b", "a_b"),
        ("a__dot__b__slash__c", "a.b/c"),
        ("__dash__", "-"),
        ("__namespace__", "namespace"),
        ("a__underscores__b", "a__b"),
        ("__a", "__a"),
    ],
)
def test_the_property_behind_an_escaped_name(name: str, plain: str) -> None:
    assert unescaped(name) == plain
