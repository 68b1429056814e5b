"""The schemas of definitions, on both sides of each rule: upstream's validation of structural schemas,
of lists and maps that merge, and of defaults."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.tables import each_row
from tiphys.apiserver.resources.customresourcedefinitions.schemas import schema_errors

OBJECT = {"type": "object"}
ANY = {"x-kubernetes-preserve-unknown-fields": True}
INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
EITHER = {"x-kubernetes-int-or-string": True}
TEXT = {"type": "string"}
KEYED = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
    "items": {"type": "object", "required": ["k"], "properties": {"k": TEXT}},
}


def keyed(items: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    return {**KEYED, "items": {**KEYED["items"], **(items or {})}, **parts}  # type: ignore[dict-item]


def a_set(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "x-kubernetes-list-type": "set", "items": items}


@each_row(
    [
        (ANY, []),
        (EITHER, []),
        ({**EITHER, "anyOf": INT_OR_STRING}, []),
        ({**EITHER, "allOf": [{"anyOf": INT_OR_STRING}, {"pattern": "a"}]}, []),
        ({**EITHER, "allOf": [{"pattern": "a"}, {"anyOf": INT_OR_STRING}]}, [".allOf[1].anyOf[0].type", ".allOf[1].anyOf[1].type"]),
        ({"type": "string", "oneOf": [{"anyOf": INT_OR_STRING}]}, [".oneOf[0].anyOf[0].type", ".oneOf[0].anyOf[1].type"]),
        ({**EITHER, **ANY}, [".x-kubernetes-preserve-unknown-fields"]),
        ({"type": "object", "x-kubernetes-embedded-resource": True, **ANY}, []),
        ({"type": "string", "x-kubernetes-embedded-resource": True, **ANY}, [".type"]),
        ({"type": "object", "x-kubernetes-embedded-resource": True, **ANY, "additionalProperties": TEXT}, [".additionalProperties"]),
        ({"type": "object", "additionalProperties": TEXT}, []),
        ({"type": "object", "additionalProperties": {}}, [".additionalProperties.type"]),
        ({"type": "object", "properties": {"a": TEXT}, "additionalProperties": TEXT}, [".additionalProperties"]),
        ({"type": "object", "properties": {"metadata": TEXT}}, []),
        ({"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"kind": {"type": "integer"}}}, [".properties[kind].type"]),
        ({"type": "array", "items": TEXT}, []),
        ({"type": "array"}, [".items"]),
        ({"type": "string", "pattern": "["}, [".pattern"]),
        ({"type": "string", "pattern": "a+"}, []),
        ({"type": "string", "allOf": [{"pattern": "["}]}, [".allOf[0].pattern"]),
        ({"type": "string", "not": {"pattern": "["}}, [".not.pattern"]),
        ({"type": "string", "not": {"not": {"type": "string"}}}, [".not.not.type"]),
        ({"type": "string", "uniqueItems": True}, [".uniqueItems"]),
        # What allOf and its kin speak of is declared outside.
        ({"type": "object", "properties": {"a": TEXT}, "anyOf": [{"properties": {"a": {"minLength": 1}}}]}, []),
        ({"type": "array", "items": TEXT, "anyOf": [{"items": {"minLength": 1}}]}, []),
        ({"type": "object", "anyOf": [{"properties": {"metadata": {"minLength": 1}}}], "properties": {"metadata": OBJECT}}, [".anyOf[0].properties[metadata]"]),
        # Keyed lists and sets.
        (keyed(), []),
        (keyed({"required": []}), [".items.properties[k].default"]),
        (keyed({"required": [], "properties": {"k": {"type": "string", "default": "x"}}}), []),
        (keyed({"properties": {"k": {"type": "string", "nullable": True}}}), [".items.properties[k].nullable"]),
        (keyed({"properties": {"k": OBJECT}}), [".items.properties[k].type"]),
        (keyed({"nullable": True}), [".items.nullable"]),
        (keyed({"type": "string", "properties": None}), [".items.type"]),
        (keyed(**{"x-kubernetes-list-map-keys": ["k", "k"]}), [".x-kubernetes-list-map-keys"]),
        (keyed(**{"x-kubernetes-list-map-keys": []}), [".x-kubernetes-list-map-keys"]),
        (keyed(**{"x-kubernetes-list-type": "set"}), [".items.x-kubernetes-map-type", ".x-kubernetes-list-type"]),
        (a_set(TEXT), []),
        (a_set({"type": "string", "nullable": True}), [".items.nullable"]),
        (a_set({"type": "object", "x-kubernetes-map-type": "atomic"}), []),
        (a_set({"type": "object", "x-kubernetes-map-type": "granular"}), [".items.x-kubernetes-map-type"]),
        (a_set({"type": "array", "items": TEXT}), []),
        (a_set({"type": "array", "items": TEXT, "x-kubernetes-list-type": "atomic"}), []),
        (a_set({"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}), [".items.x-kubernetes-list-type"]),
        ({"type": "object", "x-kubernetes-map-type": "granular"}, []),
        # Defaults obey their own schema.
        ({"type": "string", "default": "x"}, []),
        ({"type": "string", "default": 1}, [".default"]),
        ({"type": "object", "properties": {"a": TEXT}, "default": {"b": "x"}}, [".default"]),
        ({"type": "object", "properties": {"a": TEXT}, "default": {"a": "x"}}, []),
        ({"type": "array", "items": {"type": "string", "default": 1}}, [".items.default"]),
        ({"type": "object", "properties": {"a": {"type": "integer", "maximum": 2, "default": 3}}}, [".properties[a].default"]),
    ],
)  # fmt: skip
def test_schemas(facts: dict[str, Any], wrong: list[str]) -> None:
    whole = {"type": "object", "properties": {"spec": facts}}
    found = [error.field for error in schema_errors(whole, "at", has_status=False)]
    assert sorted(found) == [f"at.properties[spec]{end}" for end in wrong]


@pytest.mark.parametrize(
    ("anywhere", "missing"),
    [
        ({"properties": {"z": {"minLength": 1}}}, "at.properties[z]"),
        ({"properties": {"spec": {"properties": {"z": {}}}}}, "at.properties[spec].properties[z]"),
        ({"properties": {"spec": {"items": {"minLength": 1}}}}, "at.properties[spec].items"),
        ({"allOf": [{"properties": {"z": {}}}]}, "at.properties[z]"),
        ({"not": {"properties": {"z": {}}}}, "at.properties[z]"),
    ],
)
@pytest.mark.parametrize("key", ["allOf", "anyOf", "oneOf", "not"])
def test_what_is_said_of_a_field_needs_the_field(
    key: str, anywhere: dict[str, Any], missing: str
) -> None:
    whole = {"type": "object", "properties": {"spec": OBJECT}}
    whole[key] = anywhere if key == "not" else [anywhere]
    found = [error.field for error in schema_errors(whole, "at", has_status=False)]
    assert missing in found


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        (OBJECT, []),
        ({**OBJECT, "description": "x", "properties": {"a": TEXT}}, []),
        ({**OBJECT, "nullable": False, "maxProperties": 3}, ["at"]),
        ({**OBJECT, "x-kubernetes-map-type": "atomic"}, ["at"]),
    ],
)
def test_beside_a_status_the_root_says_little(facts: dict[str, Any], wrong: list[str]) -> None:
    assert [error.field for error in schema_errors(facts, "at", has_status=True)] == wrong
    assert schema_errors(facts, "at", has_status=False) == []
