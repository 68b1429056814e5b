"""Structs as structural schemas."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import pytest
from msgspec import Meta

from tests.operator.echo import Echo, EchoSpec
from tiphys.api.base import JSON, Int32, Quantity, Struct, Time, always, to_builtins
from tiphys.api.meta_v1 import Object
from tiphys.operator import Rule, Scale, custom_resource, definition
from tiphys.operator.schema import NoSchema, schema_of


def properties(kind: type[Struct]) -> dict[str, Any]:
    return dict(to_builtins(schema_of(kind))["properties"])


class Kinds(Struct):
    text: str = ""
    number: int = 0
    small: Int32 = 3
    ratio: float = 0.5
    flag: bool = False
    amount: Quantity | None = None
    when: Time | None = None
    free: JSON = None
    either: int | str | None = None
    rows: Annotated[list[str], Meta(min_length=1)] = []
    pairs: dict[str, int] = {}
    above: Annotated[int, Meta(gt=0, lt=10)] = 1
    shaped: Annotated[str, Meta(pattern="^a")] = ""


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        ("text", {"type": "string"}),
        ("number", {"type": "integer", "format": "int64"}),
        ("small", {"type": "integer", "format": "int32", "default": 3}),
        ("ratio", {"type": "number", "default": 0.5}),
        ("flag", {"type": "boolean"}),
        ("when", {"type": "string", "format": "date-time"}),
        ("free", {"x-kubernetes-preserve-unknown-fields": True}),
        (
            "either",
            {
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": True,
            },
        ),
        ("rows", {"type": "array", "items": {"type": "string"}, "minItems": 1}),
        (
            "pairs",
            {"type": "object", "additionalProperties": {"type": "integer", "format": "int64"}},
        ),
        (
            "above",
            {
                "type": "integer",
                "format": "int64",
                "default": 1,
                "minimum": 0,
                "exclusiveMinimum": True,
                "maximum": 10,
                "exclusiveMaximum": True,
            },
        ),
        ("shaped", {"type": "string", "pattern": "^a"}),
    ],
)
def test_a_field_is_written_as_its_type(field: str, schema: dict[str, Any]) -> None:
    assert properties(Kinds)[field] == schema


def test_amounts_are_numbers_or_strings() -> None:
    amount = properties(Kinds)["amount"]
    assert amount["x-kubernetes-int-or-string"] and "numkMGTPE" in amount["pattern"]


def test_lists_enums_and_rules_come_along() -> None:
    spec = properties(Echo)["spec"]
    lines = spec["properties"]["lines"]
    assert lines["x-kubernetes-list-type"] == "map"
    assert lines["x-kubernetes-list-map-keys"] == ["name"]
    assert lines["maxItems"] == 5
    assert lines["items"]["required"] == ["name"]
    assert lines["items"]["x-kubernetes-validations"][0]["message"] == "a line keeps no secrets"
    assert lines["items"]["properties"]["text"]["description"] == "What is said."
    assert spec["properties"]["mode"] == {
        "type": "string",
        "enum": ["Once", "Twice"],
        "default": "Once",
    }
    assert spec["properties"]["replicas"]["minimum"] == 0


class Endless(Struct):
    again: Endless | None = None


class Torn(Struct):
    value: list[str] | dict[str, str] = []


@pytest.mark.parametrize(
    ("kind", "message"), [(Endless, "holds itself"), (Torn, "one type for a field")]
)
def test_what_no_schema_can_say_is_refused(kind: type[Struct], message: str) -> None:
    with pytest.raises(NoSchema, match=message):
        schema_of(kind)


def test_a_definition_names_scope_columns_and_subresources() -> None:
    made = to_builtins(definition(Echo))
    assert made["metadata"]["name"] == "echoes.test.tiphys.dev"
    assert made["spec"]["names"]["shortNames"] == ["ec"]
    version = made["spec"]["versions"][0]
    assert version["subresources"] == {
        "status": {},
        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
    }
    assert version["additionalPrinterColumns"] == [
        {"name": "Said", "type": "string", "jsonPath": ".status.said"}
    ]


def test_a_resource_is_written_as_what_it_is() -> None:
    with pytest.raises(TypeError, match="give the two fields these defaults"):

        @custom_resource("other.dev")
        class Wrong(Object):
            pass

    with pytest.raises(TypeError, match="no metadata"):
        custom_resource("other.dev")(EchoSpec)
    with pytest.raises(TypeError, match="not declared"):
        definition(EchoSpec)


class Ruled(Struct):
    """A field of the name that rules of a struct have, and rules at fields."""

    rules: Annotated[list[str], Rule("self.size() < 3", message="few")] = []
    inner: Annotated[Inner | None, Rule("has(self.a)")] = None


class Inner(Struct):
    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.a != ''"),)
    a: str = ""


def test_a_rule_may_stand_at_a_field_beside_those_of_its_struct() -> None:
    made = properties(Ruled)
    assert made["rules"]["x-kubernetes-validations"] == [
        {"rule": "self.size() < 3", "message": "few"}
    ]
    rules = [one["rule"] for one in made["inner"]["x-kubernetes-validations"]]
    assert rules == ["self.a != ''", "has(self.a)"]


@pytest.mark.parametrize("scaled", [False, True])
def test_a_resource_without_a_status_has_the_subresources_that_it_declares(scaled: bool) -> None:
    scale = Scale(spec_replicas=".spec.size", status_replicas=".spec.size") if scaled else None

    @custom_resource("test.tiphys.dev", plural="plains", scale=scale)
    class Plain(Object):
        """Has no status."""

        api_version: str = always("test.tiphys.dev/v1")
        kind: str = always("Plain")
        size: int = 0

    [version] = definition(Plain).spec.versions
    if not scaled:
        assert version.subresources is None
    else:
        assert version.subresources is not None and version.subresources.status is None
        assert version.subresources.scale is not None
        assert version.subresources.scale.spec_replicas_path == ".spec.size"
