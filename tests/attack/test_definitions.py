"""Attacks on definitions, their schemas and what is sent in protobuf."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.api import apiextensions_v1, core_v1
from tiphys.api.base import Struct
from tiphys.machinery import protobuf
from tiphys.machinery.cel.checker import check, type_of
from tiphys.machinery.cel.declared import declared
from tiphys.machinery.cel.values import CelError
from tiphys.machinery.structural import compile_schema

Definition = apiextensions_v1.CustomResourceDefinition
_FIELD = st.builds(
    lambda tag, wire, data: protobuf.varint(tag << 3 | wire) + protobuf.varint(len(data)) + data,
    st.integers(1, 50),
    st.sampled_from([0, 1, 2, 5]),
    st.binary(max_size=12),
)


@pytest.mark.parametrize("kind", [Definition, apiextensions_v1.JSONSchemaProps, core_v1.Pod])
def test_bytes_that_are_no_message_are_refused_as_such(kind: type[Struct]) -> None:
    @settings(max_examples=300, deadline=None, database=None)
    @given(st.lists(_FIELD, max_size=6).map(b"".join) | st.binary(max_size=40))
    def attack(data: bytes) -> None:
        try:
            assert isinstance(protobuf.decode(data, kind), kind)
        except protobuf.WireError:
            pass

    attack()


def test_a_schema_that_is_nested_without_end_is_refused() -> None:
    data = b""
    for _ in range(5000):
        data = protobuf.frame(28, data)  # not
    with pytest.raises(protobuf.WireError):
        protobuf.decode(data, apiextensions_v1.JSONSchemaProps)


def test_estimating_a_rule_takes_no_longer_than_reading_it() -> None:
    rule = "self" + ".all(a, a" * 1 + " == 'x')" + " && self.exists(b, b == 'y')" * 200
    schema = compile_schema({"type": "array", "items": {"type": "string"}})
    started = time.perf_counter()
    with pytest.raises(CelError):
        check(
            rule + " && self.nothing", {"self": type_of(schema)}, "bool", {"self": declared(schema)}
        )
    assert check(rule, {"self": type_of(schema)}, "bool", {"self": declared(schema)}) > 10**8
    assert time.perf_counter() - started < 2.0
