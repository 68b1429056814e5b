"""Why a body cannot be read, in Go's words."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import core_v1
from tiphys.machinery import decoding, gowords


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        ({"spec": []}, "array into Go struct field Pod.spec of type v1.PodSpec"),
        (
            {"spec": {"containers": {}}},
            "object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            {"spec": {"containers": [3]}},
            "number into Go struct field PodSpec.spec.containers of type v1.Container",
        ),
        (
            {"spec": {"nodeSelector": {"a": 1}}},
            "number into Go struct field PodSpec.spec.nodeSelector of type string",
        ),
        (
            {"spec": {"nodeSelector": 1}},
            "number into Go struct field PodSpec.spec.nodeSelector of type map[string]string",
        ),
        (
            {"spec": {"hostNetwork": "x"}},
            "string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            {"spec": {"priority": 1.5}},
            "number 1.5 into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            {"spec": {"priority": 1 << 31}},
            "number 2147483648 into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            {"metadata": {"creationTimestamp": 1}},
            "number into Go struct field ObjectMeta.metadata.creationTimestamp of type v1.Time",
        ),
    ],
)
def test_a_value_of_another_type_is_told_with_its_field(body: Any, rest: str) -> None:
    with pytest.raises(decoding.DecodeError) as refused:
        decoding.convert(body, core_v1.Pod)
    assert str(refused.value) == f"json: cannot unmarshal {rest}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"spec": []}, "cannot restore struct from: slice"),
        ({"spec": {"nodeSelector": 1}}, "cannot restore map from int64"),
        ({"spec": {"containers": {}}}, "cannot restore slice from map"),
        ({"spec": {"hostname": 1}}, "cannot convert int64 to string"),
        ({"spec": {"hostname": []}}, "unrecognized type: string"),
        ({"spec": {"priority": "x"}}, "unrecognized type: int32"),
        ({"spec": {"priority": 1.5}}, "cannot convert float64 to int32"),
    ],
)
def test_the_converter_of_patches_has_words_of_its_own(body: Any, words: str) -> None:
    with pytest.raises(decoding.DecodeError) as refused:
        decoding.convert(body, core_v1.Pod)
    assert refused.value.restoration == words


def test_bytes_that_are_no_base64_are_told() -> None:
    with pytest.raises(decoding.DecodeError, match="illegal base64 data at input byte 0"):
        decoding.convert({"data": {"a": "$"}}, core_v1.Secret)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": [1, "x"], "a": None}, "map[a:<nil> b:[1 x]]"),
        (True, "true"),
        ([], "[]"),
        (1.5, "1.5"),
    ],
)
def test_values_are_printed_as_go_prints_them(value: Any, text: str) -> None:
    assert gowords.formatted(value) == text


def test_numbers_of_any_length_are_read() -> None:
    assert gowords.parse_number("9" * 399) == int("9" * 399)
    assert gowords.parse_number("1" + "0" * 399) == float("inf")
    assert gowords.parse_number("12") == 12
