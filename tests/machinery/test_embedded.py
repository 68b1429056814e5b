"""Objects inside of objects: their kind, and the labels and annotations of their metadata."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.machinery.structural import compile_schema
from tiphys.machinery.structural.embedded import embedded_errors, unreadable_embedded

GOOD = {"apiVersion": "v1", "kind": "Pod"}


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        (GOOD, []),
        ({}, ["f.apiVersion: Required value", "f.kind: Required value"]),
        (GOOD | {"kind": ""}, ['f.kind: Invalid value: "": must not be empty']),
        (GOOD | {"apiVersion": None}, ["f.apiVersion: Invalid value: null: must not be empty"]),
        (GOOD | {"metadata": {"labels": {"a": "b"}, "annotations": {"A.b/c": "any thing"}}}, []),
        (GOOD | {"metadata": {"labels": None, "annotations": None}}, []),
        (GOOD | {"metadata": 7}, []),
        (GOOD | {"metadata": {"labels": {"-a": "b"}}}, ["f.metadata.labels: "]),
        (GOOD | {"metadata": {"labels": {"a": "-b"}}}, ["f.metadata.labels: "]),
        (GOOD | {"metadata": {"annotations": {"a b": "c"}}}, ["f.metadata.annotations: "]),
    ],
)
def test_what_an_embedded_object_must_have(value: dict[str, Any], refused: list[str]) -> None:
    errors = [str(error) for error in embedded_errors(value, "f")]
    assert len(errors) == len(refused)
    assert all(error.startswith(start) for error, start in zip(errors, refused, strict=True))


EMBEDDED = {
    "type": "object",
    "x-kubernetes-embedded-resource": True,
    "x-kubernetes-preserve-unknown-fields": True,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "one": EMBEDDED,
        "many": {"type": "array", "items": EMBEDDED},
        "named": {"type": "object", "additionalProperties": EMBEDDED},
        "kind": {"type": "integer"},
    },
}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"one": GOOD, "many": [GOOD], "named": {"a": GOOD}, "kind": 7}, ""),
        ({"one": {}, "other": {"kind": 7}}, ""),
        ({"one": {"kind": 7}}, "one.kind: Invalid value: 7: must be a string"),
        ({"one": {"apiVersion": {}}}, "one.apiVersion: Invalid value: {}: must be a string"),
        ({"one": {"spec": {"kind": 7}}}, ""),
        ({"many": [GOOD, {"kind": 7}]}, "many[1].kind: Invalid value: 7: must be a string"),
        ({"named": {"a": {"kind": 7}}}, "named.a.kind: Invalid value: 7: must be a string"),
        ({"one": {"metadata": {"labels": {"a": "b"}}}}, ""),
        ({"one": {"metadata": {"labels": 7}}}, "one.metadata: Invalid value: {"),
        ({"one": {"metadata": "x"}}, 'one.metadata: Invalid value: "x": '),
        ({"one": "x"}, ""),
    ],
)
def test_what_of_it_cannot_be_read(value: Any, problem: str) -> None:
    told = unreadable_embedded(value, compile_schema(SCHEMA))
    assert told.startswith(problem) and bool(told) == bool(problem)


def test_nothing_is_looked_for_where_nothing_is_embedded() -> None:
    schema = compile_schema({"type": "object", "properties": {"kind": {"type": "string"}}})
    assert unreadable_embedded({"kind": 7}, schema) == ""
