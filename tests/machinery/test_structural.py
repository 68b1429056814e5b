"""Schemas of custom resources, over values that were judged by release 1.36, too."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from tests.machinery.values import JUDGED, SCHEMAS
from tiphys.machinery import structural
from tiphys.machinery.rules import check_rules
from tiphys.machinery.structural import compile_schema, numbers

HERE = "where-it-is"


def judged(name: str, value: object) -> list[str]:
    schema = compile_schema({"type": "object", "properties": {HERE: SCHEMAS[name]}})
    content = {HERE: copy.deepcopy(value)}
    structural.prune(content, schema)
    structural.drop_nulls(content, schema)
    structural.apply_defaults(content, schema)
    found = structural.validate(content, schema)
    if not any(
        error.reason.startswith(("FieldValueType", "FieldValueRequired")) for error in found
    ):
        found += check_rules(content, schema)
    return sorted(str(error).replace(HERE, "~") for error in found)


def test_values_are_judged_as_upstream_judges_them() -> None:
    assert len(JUDGED) > 150
    wrong = [(name, value, judged(name, value), told) for name, value, told in JUDGED]
    assert [row for row in wrong if row[2] != sorted(row[3])] == []


def schema_of(**properties: dict[str, Any]) -> structural.Schema:
    return compile_schema({"type": "object", "properties": properties})


STRICT = schema_of(
    a={"type": "integer", "minimum": 5, "maximum": 7},
    rows={
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
        "items": {
            "type": "object",
            "properties": {"k": {"type": "string"}, "n": {"type": "integer", "minimum": 5}},
        },
    },
)


@pytest.mark.parametrize(
    ("new", "old", "fields"),
    [
        ({"a": 1}, {}, ["a"]),
        ({"a": 1}, {"a": 1}, []),  # it was like that before the rule
        ({"a": 2}, {"a": 1}, ["a"]),
        ({"a": 8}, {}, ["a"]),
        ({"a": 5}, {}, []),
        ({"a": 7}, {}, []),
        ({"rows": [{"k": "x", "n": 1}]}, {"rows": [{"k": "x", "n": 1}]}, []),
        # An item of a map list is the one with its key, wherever it was.
        (
            {"rows": [{"k": "y", "n": 1}, {"k": "x", "n": 1}]},
            {"rows": [{"k": "x", "n": 1}]},
            ["rows[0].n"],
        ),
        ({"rows": [{"k": "x"}, {"k": "x"}]}, {}, ["rows[1]"]),
    ],
)
def test_what_did_not_change_is_not_judged_again(new: Any, old: Any, fields: list[str]) -> None:
    assert [error.field for error in structural.validate(new, STRICT, old=old)] == fields


def test_pruning_takes_out_what_is_not_named_unless_it_is_to_be_preserved() -> None:
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = schema_of(strict={"type": "object"}, free=free)
    value = {"strict": {"x": 1}, "free": {"x": {"y": 1}}, "kind": "K", "other": 1}
    pruned: list[str] = []
    structural.prune(value, schema, True, "", pruned)
    assert value == {"strict": {}, "free": {"x": {"y": 1}}, "kind": "K"}
    assert pruned == ["strict.x", "other"]


def test_a_default_replaces_a_null_that_is_not_allowed() -> None:
    with_default = {"type": "string", "default": "D"}
    schema = schema_of(
        a=with_default,
        b=with_default | {"nullable": True},
        m={"type": "object", "additionalProperties": with_default},
        rows={"type": "array", "items": with_default},
    )
    value = {"a": None, "b": None, "m": {"x": None, "y": "z"}, "rows": [None, "z"]}
    structural.apply_defaults(value, schema)
    assert value == {"a": "D", "b": None, "m": {"x": "D", "y": "z"}, "rows": ["D", "z"]}


@pytest.mark.parametrize(
    ("form", "number", "allowed"),
    [
        ("int32", 2**31 - 1, True),
        ("int32", 2**31, False),
        ("int32", -(2**31), True),
        ("int64", 2**63 - 1, True),
        ("int64", 2**63, False),
    ],
)
def test_a_format_limits_an_integer(form: str, number: int, allowed: bool) -> None:
    schema = schema_of(a={"type": "integer", "format": form})
    assert (structural.validate({"a": number}, schema) == []) is allowed


def test_what_is_said_of_further_properties_is_not_about_those_with_a_name() -> None:
    schema = compile_schema(
        {
            "type": "object",
            "properties": {"named": {"type": "object", "nullable": True}},
            "additionalProperties": {"type": "object", "default": {"x": 1}},
        }
    )
    value: dict[str, Any] = {"named": None, "other": None}
    structural.apply_defaults(value, schema)
    assert value == {"named": None, "other": {"x": 1}}


def test_rules_know_kind_and_names_of_whole_objects_alone() -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer"}}}
    embedded = {**inner, "x-kubernetes-embedded-resource": True}
    assert "kind" not in compile_schema(inner).as_seen().properties
    for whole in (compile_schema(inner).as_seen(root=True), compile_schema(embedded).as_seen()):
        assert {"kind", "apiVersion", "metadata", "n"} == set(whole.properties)
    names = {"kind": {"type": "string"}, "apiVersion": {"type": "string"}}
    meta = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
    }
    declared = compile_schema({"type": "object", "properties": {**names, "metadata": meta}})
    assert declared.as_seen(root=True) is declared


def test_a_key_that_is_left_out_is_its_default() -> None:
    schema = schema_of(
        rows={
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {
                "type": "object",
                "properties": {"k": {"type": "string", "default": "D"}},
            },
        }
    )
    errors = structural.validate({"rows": [{}, {"k": "D"}, {"k": "other"}]}, schema)
    assert [error.field for error in errors] == ["rows[1]"]


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ('{"a":100.0}', '{"a":100}'),
        ('{"a":[1.0,-2.0,0.5]}', '{"a":[1,-2,0.5]}'),
        ('{"a":{"b":1e3}}', '{"a":{"b":1000}}'),
        ('{"a":1e16}', '{"a":10000000000000000}'),
        ('{"a":9223372036854775808.0}', '{"a":9.223372036854776e18}'),
        ('{"a":1e-7}', '{"a":1e-7}'),
        ('{"a":"1.0]","b":"x:1e3"}', '{"a":"1.0]","b":"x:1e3"}'),
        ('{"a":true,"b":null,"c":1}', '{"a":true,"b":null,"c":1}'),
    ],
)
def test_whole_numbers_are_written_as_go_writes_them(sent: str, written: str) -> None:
    assert numbers.encoded(msgspec.json.decode(sent), msgspec.json.encode).decode() == written
