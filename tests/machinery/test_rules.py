"""The CEL rules of schemas, run over objects."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from tiphys.machinery import structural
from tiphys.machinery.rules import RuleCosts, cel_value, check_rules, node_errors
from tiphys.machinery.structural import Schema


def schema(rule: str, kind: str = "integer", **more: Any) -> Schema:
    """An object whose field `a` has the rule."""
    field = {"type": kind, "x-kubernetes-validations": [{"rule": rule, **more}]}
    return structural.compile_schema({"type": "object", "properties": {"a": field}})


def broken(value: Any, of: Schema, *old: Any) -> list[str]:
    return [str(error) for error in check_rules(value, of, "", *old)]


def test_a_rule_that_does_not_hold_is_named() -> None:
    assert broken({"a": 3}, schema("self > 2")) == []
    assert broken({"a": 2}, schema("self > 2")) == ["a: Invalid value: 2: failed rule: self > 2"]
    assert broken({"a": 2}, schema("self > 2", message=" more ")) == ["a: Invalid value: 2: more"]
    assert broken({"a": None}, schema("self > 2")) == []
    assert broken({}, schema("self > 2")) == []


def test_a_rule_about_changes_needs_something_to_compare_with() -> None:
    grows = schema("self > oldSelf")
    assert broken({"a": 1}, grows) == []
    assert broken({"a": 2}, grows, {"a": 1}) == []
    assert broken({"a": 1}, grows, {"a": 1}) == ["a: Invalid value: 1: failed rule: self > oldSelf"]
    assert broken({"a": 1}, grows, {}) == []


def test_a_rule_with_an_optional_old_value_runs_without_one() -> None:
    rule = schema("!oldSelf.hasValue() || self > oldSelf.value()", optionalOldSelf=True)
    assert broken({"a": 1}, rule) == []
    assert broken({"a": 2}, rule, {"a": 1}) == []
    assert len(broken({"a": 1}, rule, {"a": 2})) == 1


def test_what_did_not_change_is_not_judged_again() -> None:
    assert broken({"a": 1}, schema("self > 2"), {"a": 1}) == []
    assert len(broken({"a": 1}, schema("self > 2"), {"a": 0})) == 1


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"reason": "FieldValueRequired"}, "a: Required value: failed rule: false"),
        ({"reason": "FieldValueForbidden"}, "a: Forbidden: failed rule: false"),
        ({"reason": "FieldValueDuplicate"}, "a: Duplicate value: 1"),
        ({"messageExpression": "'is ' + string(self)"}, "a: Invalid value: 1: is 1"),
        ({"messageExpression": "'  '", "message": "m"}, "a: Invalid value: 1: m"),
        ({"messageExpression": "'a\\nb'", "message": "m"}, "a: Invalid value: 1: m"),
        ({"messageExpression": "string(1/0)", "message": "m"}, "a: Invalid value: 1: m"),
    ],
)
def test_a_broken_rule_has_the_reason_and_the_words_it_declares(
    more: dict[str, Any], text: str
) -> None:
    assert broken({"a": 1}, schema("false", **more)) == [text]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "a: Invalid value: failed rule: false"),
        ({"fieldPath": ".b"}, "a.b: Invalid value: failed rule: false"),
        ({"reason": "FieldValueDuplicate"}, "a: Duplicate value"),
    ],
)
def test_the_value_of_an_object_is_not_shown(more: dict[str, Any], text: str) -> None:
    assert broken({"a": {"b": 1}}, schema("false", "object", **more)) == [text]


def test_rules_of_entries_and_items_name_the_entry_and_the_item() -> None:
    rule = {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 1"}]}
    properties = {
        "m": {"type": "object", "additionalProperties": rule},
        "l": {"type": "array", "items": rule},
    }
    nested = structural.compile_schema({"type": "object", "properties": properties})
    errors = check_rules({"m": {"x": 1, "y": 2}, "l": [2, 1]}, nested)
    assert [error.field for error in errors] == ["m[x]", "l[1]"]


def test_a_rule_that_fails_is_told_with_its_message() -> None:
    text = 'a: Invalid value: "integer": division by zero evaluating rule: 1 / self > 0'
    assert broken({"a": 0}, schema("1 / self > 0")) == [text]


@pytest.mark.parametrize(
    ("facts", "value", "seen"),
    [
        ({"type": "number"}, 1, 1.0),
        ({"type": "number"}, True, True),
        ({"type": "integer"}, 2.0, 2),
        ({"type": "integer"}, 2.5, 2.5),
        (
            {"type": "string", "format": "date"},
            "2024-01-02",
            datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
        ),
        ({"type": "string", "format": "date"}, "x", "x"),
        ({"type": "string", "format": "duration"}, "1m", datetime.timedelta(minutes=1)),
        ({"type": "string", "format": "byte"}, "YQ==", b"a"),
        ({"type": "string"}, "1m", "1m"),
        ({"type": "array", "items": {"type": "number"}}, [1], [1.0]),
        (
            {"type": "object", "properties": {"a": {"type": "number"}}},
            {"a": 1, "b": 1},
            {"a": 1.0, "b": 1},
        ),
        ({"type": "number"}, None, None),
    ],
)
def test_values_are_seen_by_the_type_that_their_schema_gives(
    facts: Any, value: Any, seen: Any
) -> None:
    result = cel_value(value, structural.compile_schema(facts))
    assert result == seen
    assert type(result) is type(seen)
    if isinstance(seen, list):
        assert type(result[0]) is float


def problems(rule: dict[str, Any], uncorrelated: str = "") -> list[str]:
    """What is wrong with a rule of an integer, as upstream words it."""
    of = structural.compile_schema({"type": "integer", "x-kubernetes-validations": [rule]})
    found = node_errors(of, "p", 1, uncorrelated, RuleCosts())
    return [f"{error.field.rpartition('.')[2]}: {error.detail}" for error in found]


@pytest.mark.parametrize(
    ("rule", "texts"),
    [
        ({"rule": "self > 1"}, []),
        ({"rule": "self > oldSelf"}, []),
        (
            {"rule": "self > 1", "optionalOldSelf": True},
            ["may not be set if oldSelf is not used in rule"],
        ),
        ({"rule": "oldSelf.hasValue()", "optionalOldSelf": True}, []),
        ({"rule": "1"}, ["cel expression must evaluate to a bool"]),
        ({"rule": "self >"}, ["compilation failed"]),
        ({"rule": "true", "messageExpression": "'a'"}, []),
        (
            {"rule": "true", "messageExpression": "1"},
            ["messageExpression must evaluate to a string"],
        ),
        ({"rule": "true", "messageExpression": "x"}, ["messageExpression compilation failed"]),
    ],
)
def test_a_rule_is_judged_before_it_is_run(rule: dict[str, Any], texts: list[str]) -> None:
    found = problems(rule)
    assert len(found) == len(texts)
    assert all(text in detail for text, detail in zip(texts, found, strict=True))


def test_a_rule_about_changes_needs_a_place_that_tells_old_values_apart() -> None:
    assert problems({"rule": "self > 1"}, "p") == []
    [detail] = problems({"rule": "self > oldSelf"}, "p")
    assert "oldSelf cannot be used on the uncorrelatable portion of the schema within p" in detail


def test_the_costs_of_all_rules_are_limited_together() -> None:
    costs = RuleCosts()
    costs.add("a", 60_000_000)
    costs.add("b", 40_000_000)
    assert costs.total_errors("p") == []
    costs.add("c", 1)
    assert [error.field for error in costs.total_errors("p")] == [
        "a",
        "b",
        "p",
    ]  # the small one is not named
