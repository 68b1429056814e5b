"""What is judged of an object with very many broken rules, and of lists, nulls and alternatives."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.machinery.structural import compile_schema, validation

TEXT = {"type": "string"}


def told(value: Any, **schema: Any) -> list[str]:
    return [str(error) for error in validation.validate(value, compile_schema(schema), "f")]


def test_nobody_looks_for_more_when_enough_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "ENOUGH", 3)
    many = [7] * 10
    assert len(told(many, type="array", items=TEXT)) == 4
    assert len(told(many[:3], type="array", items=TEXT)) == 3
    fields = {f"a{number}": 7 for number in range(10)}
    assert len(told(fields, type="object", additionalProperties=TEXT)) == 4
    nested = {"a": many, "b": many}
    lists = {"type": "array", "items": TEXT}
    assert len(told(nested, type="object", additionalProperties=lists)) == 4


def test_a_list_is_judged_as_a_whole_after_its_items() -> None:
    rules = {"x-kubernetes-list-type": "set"}
    errors = told(["a", 7, "a"], type="array", items=TEXT, **rules)
    assert [error.split(":")[0] for error in errors] == ["f[1]", "f[2]"]


@pytest.mark.parametrize(
    ("schema", "errors"),
    [
        ({"type": "string"}, 1),
        ({"type": "string", "nullable": True}, 0),
        ({"x-kubernetes-int-or-string": True}, 0),
        ({"enum": ["a", "b"]}, 1),
        ({"enum": ["a", None]}, 0),
    ],
)
def test_a_null_is_a_value_where_it_may_be(schema: dict[str, Any], errors: int) -> None:
    assert len(told(None, **schema)) == errors


def test_what_a_null_may_be_instead_is_told() -> None:
    [error] = told(None, enum=["a", "b"])
    assert error == 'f: Unsupported value: null: supported values: "a", "b"'


SHORT, LONG = {"maxLength": 2}, {"minLength": 4}


@pytest.mark.parametrize(
    ("schema", "value", "last"),
    [
        ({"allOf": [SHORT, {"minLength": 1}]}, "a", ""),
        ({"allOf": [SHORT, LONG]}, "a", '"f" must validate all the schemas (allOf)'),
        (
            {"allOf": [SHORT, LONG]},
            "abc",
            '"f" must validate all the schemas (allOf). None validated',
        ),
        ({"anyOf": [SHORT, LONG]}, "a", ""),
        ({"anyOf": [SHORT, LONG]}, "abc", '"f" must validate at least one schema (anyOf)'),
        ({"oneOf": [SHORT, LONG]}, "a", ""),
        ({"oneOf": [SHORT, LONG]}, "abc", "one only one"),
        ({"oneOf": [SHORT, {"minLength": 1}]}, "a", "Found 2 valid alternatives"),
        ({"not": SHORT}, "abc", ""),
        ({"not": SHORT}, "a", '"f" must not validate the schema (not)'),
    ],
)
def test_alternatives(schema: dict[str, Any], value: str, last: str) -> None:
    errors = told(value, type="string", **schema)
    assert bool(errors) == bool(last)
    if last == "one only one":
        assert errors[-1].endswith(
            "must validate one and only one schema (oneOf). Found none valid"
        )
    elif last:
        assert errors[-1].endswith(last)


@pytest.mark.parametrize(
    ("new", "old", "count"),
    [
        ({"a": 7, "b": 7}, {"a": 7, "b": "x"}, 1),
        ({"a": 7}, {"a": 7}, 0),
        ({"a": 7}, "x", 1),
        ([7, 8], [7, 9], 2),  # items of such a list have no names
    ],
)
def test_what_did_not_change_is_not_judged_again(new: Any, old: Any, count: int) -> None:
    schema = compile_schema({"additionalProperties": TEXT, "items": TEXT})
    assert len(validation.validate(new, schema, "f", old)) == count
