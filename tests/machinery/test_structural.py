"""Schemas of custom resources, over values that were judged by release 1.36, too."""

from __future__ import annotations

import copy

from tests.machinery.values import JUDGED, SCHEMAS
from tiphys.machinery import structural
from tiphys.machinery.rules import check_rules
from tiphys.machinery.structural import compile_schema

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
