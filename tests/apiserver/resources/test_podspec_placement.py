"""Where pods may run, on both sides of each rule: upstream's ValidateTolerations, validateAffinity and
validateTopologySpreadConstraints."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import spec
from tests.apiserver.rules import fields, wrong_with
from tests.apiserver.tables import each_row

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def wrong_fields(parts: dict[str, Any], path: str) -> list[str]:
    """Below the path, which is cut off."""
    return [field.removeprefix(path) for field in fields(wrong_with("pods", parts))]


@each_row(
    [
        ({"operator": "Exists"}, []),
        ({"operator": "Exists", "effect": "NoSchedule"}, []),
        ({"key": "a"}, []),
        ({"key": "a", "value": "b", "operator": "Equal"}, []),
        ({"value": "b"}, ["operator"]),
        ({"key": "a b", "operator": "Exists"}, ["key"]),
        ({"key": "a", "operator": "Exists", "value": "b"}, ["operator"]),
        ({"key": "a", "operator": "Gt", "value": "5"}, []),
        ({"key": "a", "operator": "Lt", "value": "-5"}, []),
        ({"key": "a", "operator": "Gt", "value": "05"}, ["value"]),
        ({"key": "a", "operator": "Lt", "value": "x"}, ["value"]),
        ({"key": "a", "operator": "Gt", "value": ""}, ["value"]),
        ({"key": "a", "operator": "Equal", "value": "x y"}, []),
        ({"key": "a", "effect": "NoExecute", "tolerationSeconds": 0}, []),
        ({"key": "a", "tolerationSeconds": 5}, ["effect"]),
        ({"key": "a", "effect": "PreferNoSchedule", "tolerationSeconds": 5}, ["effect"]),
    ],
)
def test_tolerations(toleration: dict[str, Any], wrong: list[str]) -> None:
    assert wrong_fields(spec(tolerations=[toleration]), "spec.tolerations[0].") == wrong


def expression(key: str = "a", operator: str = "Exists", *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def required(*expressions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": list(expressions), **fields}]}}


def preferred(weight: int, *expressions: dict[str, Any]) -> dict[str, Any]:
    return {PREFERRED: [{"weight": weight, "preference": {"matchExpressions": list(expressions)}}]}


def named(operator: str, *values: str, key: str = "metadata.name") -> dict[str, Any]:
    return required(matchFields=[expression(key, operator, *values)])


EXPRESSION = f"{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0]"
FIELD = f"{REQUIRED}.nodeSelectorTerms[0].matchFields[0]"
WISH = f"{PREFERRED}[0]"


@each_row(
    [
        (required(expression()), []),
        (required(), []),
        (required(expression("a", "In", "b", "c")), []),
        (required(expression("a", "NotIn")), [f"{EXPRESSION}.values"]),
        (required(expression("a", "DoesNotExist", "b")), [f"{EXPRESSION}.values"]),
        (required(expression("a", "Gt", "1")), []),
        (required(expression("a", "Lt")), [f"{EXPRESSION}.values"]),
        (required(expression("a", "Lt", "1", "2")), [f"{EXPRESSION}.values"]),
        (required(expression("a b")), [f"{EXPRESSION}.key"]),
        (required(expression("a", "In", "b c")), [f"{EXPRESSION}.values[0]"]),
        ({REQUIRED: {"nodeSelectorTerms": []}}, [f"{REQUIRED}.nodeSelectorTerms"]),
        (named("In", "n"), []),
        (named("NotIn", "n"), []),
        (named("In", "n", "m"), [f"{FIELD}.values"]),
        (named("In"), [f"{FIELD}.values"]),
        (named("Exists"), [f"{FIELD}.operator"]),
        (named("In", "n", key="spec.x"), [f"{FIELD}.key"]),
        (preferred(1, expression()), []),
        (preferred(100, expression()), []),
        (preferred(0, expression()), [f"{WISH}.weight"]),
        (preferred(101, expression()), [f"{WISH}.weight"]),
        (preferred(1, expression("a", "In")), [f"{WISH}.preference.matchExpressions[0].values"]),
        (preferred(1, expression("a", "In", "b c")), []),  # upstream warns of it, at most
    ],
)  # fmt: skip
def test_affinity_to_nodes(affinity: dict[str, Any], wrong: list[str]) -> None:
    parts = spec(affinity={"nodeAffinity": affinity})
    assert wrong_fields(parts, "spec.affinity.nodeAffinity.") == wrong


def near(**term: Any) -> dict[str, Any]:
    return {REQUIRED: [{"topologyKey": "zone", **term}]}


def rather(weight: int, **term: Any) -> dict[str, Any]:
    return {PREFERRED: [{"weight": weight, "podAffinityTerm": {"topologyKey": "zone", **term}}]}


BAD = {"matchLabels": {"a b": "c"}}
GOOD = {"matchLabels": {"a": "b"}}
TERM = f"{REQUIRED}[0]"


@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
@pytest.mark.parametrize(
    ("affinity", "wrong"),
    [
        (near(), []),
        (near(labelSelector=GOOD, namespaceSelector={}, namespaces=["a", "b"]), []),
        (near(topologyKey=""), [f"{TERM}.topologyKey"] * 3),
        (near(topologyKey="a b"), [f"{TERM}.topologyKey"]),
        (near(namespaces=["a", "B"]), [f"{TERM}.namespace"]),
        (near(labelSelector=BAD), [f"{TERM}.labelSelector.matchLabels"]),
        (near(namespaceSelector=BAD), [f"{TERM}.namespaceSelector.matchLabels"]),
        (rather(1), []),
        (rather(100), []),
        (rather(0), [f"{WISH}.weight"]),
        (rather(101), [f"{WISH}.weight"]),
        (rather(1, topologyKey="a b"), [f"{WISH}.podAffinityTerm.topologyKey"]),
    ],
)  # fmt: skip
def test_affinity_to_pods(kind: str, affinity: dict[str, Any], wrong: list[str]) -> None:
    parts = spec(affinity={kind: affinity})
    assert wrong_fields(parts, f"spec.affinity.{kind}.") == wrong


def spread(when: str = "DoNotSchedule", **parts: Any) -> dict[str, Any]:
    return {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": when, **parts}


@each_row(
    [
        ([spread(), spread("ScheduleAnyway"), spread(topologyKey="host")], []),
        ([spread(), spread("ScheduleAnyway"), spread()], ["[2].{topologyKey, whenUnsatisfiable}"]),
        ([spread(maxSkew=0)], ["[0].maxSkew"]),
        ([spread(minDomains=1)], []),
        ([spread(minDomains=0)], ["[0].minDomains"]),
        ([spread("ScheduleAnyway", minDomains=0)], ["[0].minDomains"]),
        ([spread("ScheduleAnyway", minDomains=1)], ["[0].minDomains"]),
        ([spread(nodeAffinityPolicy="Honor", nodeTaintsPolicy="Ignore")], []),
        ([spread(nodeAffinityPolicy="x")], ["[0].nodeAffinityPolicy"]),
        ([spread(labelSelector=GOOD)], []),
        ([spread(labelSelector=BAD)], ["[0].labelSelector.matchLabels"]),
        ([spread("")], ["[0].whenUnsatisfiable"]),
    ],
)
def test_spread(constraints: list[dict[str, Any]], wrong: list[str]) -> None:
    parts = spec(topologySpreadConstraints=constraints)
    assert wrong_fields(parts, "spec.topologySpreadConstraints") == wrong
