"""Which nodes a pod may be on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node, pod
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.nodes import matches_node, matches_term, tolerated, whole_number

TAINT = core_v1.Taint(key="k", value="5", effect="NoSchedule")


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        ({"key": "k", "value": "5", "effect": "NoSchedule"}, True),
        ({"key": "k", "operator": "Equal", "value": "5"}, True),  # of every effect
        ({"key": "k", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),  # everything
        ({"key": "k", "value": "6"}, False),
        ({"key": "k", "value": "5", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"value": "5"}, False),  # without a key only Exists matches
        ({"key": "k", "operator": "Gt", "value": "4"}, True),
        ({"key": "k", "operator": "Gt", "value": "5"}, False),
        ({"key": "k", "operator": "Lt", "value": "6"}, True),
        ({"key": "k", "operator": "Lt", "value": "5"}, False),
        ({"key": "k", "operator": "Lt", "value": "x"}, False),
        ({"key": "k", "operator": "Lt", "value": "06"}, False),
    ],
)
def test_a_toleration(toleration: dict[str, Any], tolerates: bool) -> None:
    assert tolerated(TAINT, [from_builtins(toleration, core_v1.Toleration)]) is tolerates


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("-7", -7),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("-9223372036854775808", -(2**63)),
        ("007", None),
        ("+7", None),
        ("1" * 30, None),
        ("", None),
    ],
)
def test_a_whole_number(text: str, number: int | None) -> None:
    assert whole_number(text) == number


NODE = node("n", zone="a", size="5")


@pytest.mark.parametrize(
    ("term", "matches"),
    [
        ({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["4"]}]}, True),
        ({"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["5"]}]}, False),
        ({"matchExpressions": [{"key": "size", "operator": "Lt", "values": ["5"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, False),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}, True),
        (
            {
                "matchExpressions": [{"key": "zone", "operator": "Exists"}],
                "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}],
            },
            False,
        ),
        ({}, False),  # an empty term matches nothing
    ],
)
def test_a_term(term: dict[str, Any], matches: bool) -> None:
    assert matches_term(from_builtins(term, core_v1.NodeSelectorTerm), NODE) is matches


def required(*zones: str) -> dict[str, Any]:
    terms = [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
        for zone in zones
    ]
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": rule}


@pytest.mark.parametrize(
    ("spec", "matches"),
    [
        ({}, True),
        ({"nodeSelector": {"zone": "a"}}, True),
        ({"nodeSelector": {"zone": "a", "size": "6"}}, False),
        ({"affinity": required("b", "a")}, True),  # one term is enough
        ({"affinity": required("b")}, False),
        ({"affinity": required("a"), "nodeSelector": {"zone": "b"}}, False),
    ],
)
def test_selector_and_affinity_must_both_match(spec: dict[str, Any], matches: bool) -> None:
    assert matches_node(pod(**spec).spec, NODE) is matches
