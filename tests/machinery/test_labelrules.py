"""What labels, annotations and selectors of labels may be: the refused beside the allowed."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tiphys.api.core_v1 import NodeSelectorRequirement
from tiphys.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from tiphys.machinery.fielderrors import FieldError
from tiphys.machinery.labelrules import (
    LABEL_OPERATORS,
    label_name,
    label_selector,
    requirement,
    validate_annotations,
    validate_labels,
)

NODE_OPERATORS = (*LABEL_OPERATORS, "Gt", "Lt")
LIMIT = 256 * 1024


def refused(errors: Iterable[FieldError]) -> list[tuple[str, str]]:
    """Path and beginning of each message."""
    return [(error.field, error.detail.split(":")[0]) for error in errors]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, []),
        ({"a": "b", "example.com/a": ""}, []),
        ({"": "b"}, ["Invalid value"] * 2),
        ({"-a": "b"}, ["Invalid value"]),
        ({"a": "-b"}, ["Invalid value"]),
        ({"a/b/c": "b", "d": "e" * 64}, ["Invalid value"] * 2),
        ({"a": "e" * 63}, []),
    ],
)
def test_labels(labels: dict[str, str], words: list[str]) -> None:
    assert refused(validate_labels(labels, "metadata.labels")) == [
        ("metadata.labels", word) for word in words
    ]


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({}, []),
        ({"A.B/c": "anything / at all"}, []),  # in any case
        ({"a b": "c"}, ["Invalid value"]),
        ({"a": "v" * (LIMIT - 1)}, []),
        ({"a": "v" * LIMIT}, ["Too long"]),
        ({"a": "v" * (LIMIT // 2 - 1), "b": "v" * (LIMIT // 2 - 1)}, []),
        ({"a": "v" * (LIMIT // 2 - 1), "b": "v" * (LIMIT // 2)}, ["Too long"]),
        ({"a": "ä" * (LIMIT // 2 - 1) + "v"}, []),  # bytes count
        ({"a": "ä" * (LIMIT // 2)}, ["Too long"]),
    ],
)
def test_annotations(annotations: dict[str, str], words: list[str]) -> None:
    assert refused(validate_annotations(annotations, "metadata.annotations")) == [
        ("metadata.annotations", word) for word in words
    ]


def test_annotations_that_are_too_long_say_how_long_they_may_be() -> None:
    [error] = validate_annotations({"a": "v" * LIMIT}, "f")
    assert (error.reason, error.detail) == (
        "FieldValueTooLong",
        "Too long: may not be more than 262144 bytes",
    )


def test_a_name_of_a_label_has_to_be_there() -> None:
    assert label_name("a.b/c", "f") == []
    assert {field for field, _ in refused(label_name("", "f"))} == {"f"}


@pytest.mark.parametrize(
    ("operator", "values", "path", "detail"),
    [
        ("In", ["a"], "", ""),
        ("In", [], "values", "must be specified when `operator` is 'In' or 'NotIn'"),
        ("NotIn", ["a", "b"], "", ""),
        ("NotIn", [], "values", "must be specified when `operator` is 'In' or 'NotIn'"),
        ("Exists", [], "", ""),
        ("Exists", ["a"], "values", "may not be specified when `operator` is 'Exists'"),
        ("DoesNotExist", [], "", ""),
        ("DoesNotExist", ["a"], "values", "may not be specified when `operator` is 'Exists'"),
        ("Gt", ["1"], "", ""),
        ("Gt", [], "values", "must be specified single value when `operator` is 'Lt' or 'Gt'"),
        ("Lt", ["1"], "", ""),
        ("Lt", ["1", "2"], "values", "must be specified single value when `operator`"),
        ("Near", ["1"], "operator", "not a valid selector operator"),
        ("", [], "operator", "not a valid selector operator"),
    ],
)
def test_an_operator_takes_so_many_values(
    operator: str, values: list[str], path: str, detail: str
) -> None:
    wanted = NodeSelectorRequirement(key="a", operator=operator, values=values)
    errors = requirement(wanted, NODE_OPERATORS, "f")
    assert [error.field for error in errors] == ([f"f.{path}"] if path else [])
    assert all(detail in error.detail for error in errors)


def test_labels_are_not_compared() -> None:
    wanted = LabelSelectorRequirement(key="a", operator="Gt", values=["1"])
    assert refused(requirement(wanted, LABEL_OPERATORS, "f")) == [("f.operator", "Invalid value")]


def test_values_must_be_such_as_labels_have_where_that_is_asked() -> None:
    wanted = NodeSelectorRequirement(key="-a", operator="In", values=["b", "-c"])
    assert refused(requirement(wanted, NODE_OPERATORS, "f")) == [
        ("f.key", "Invalid value"),
        ("f.values[1]", "Invalid value"),
    ]
    assert refused(requirement(wanted, NODE_OPERATORS, "f", strict=False)) == [
        ("f.key", "Invalid value")
    ]


def test_a_selector_is_looked_at_in_both_its_parts() -> None:
    assert label_selector(None, "f") == [] == label_selector(LabelSelector(), "f")
    wanted = LabelSelector(
        match_labels={"a": "-b"},
        match_expressions=[
            LabelSelectorRequirement(key="a", operator="Exists"),
            LabelSelectorRequirement(key="a", operator="In"),
        ],
    )
    assert refused(label_selector(wanted, "f")) == [
        ("f.matchLabels", "Invalid value"),
        ("f.matchExpressions[1].values", "Required value"),
    ]
