"""Every declared type: JSON and protobuf round trips of random objects lose nothing."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiphys.api
from tiphys.api.base import Struct, decode, encode, to_builtins
from tiphys.api.catalog import RESOURCES, storage_resources
from tiphys.machinery import protobuf
from tiphys.machinery.schema import Field, fields_of

MODULES = [
    importlib.import_module(f"tiphys.api.{m.name}")
    for m in pkgutil.iter_modules(tiphys.api.__path__)
    if "_v" in m.name
]
TYPES = sorted(
    {
        t
        for m in MODULES
        for t in vars(m).values()
        if isinstance(t, type) and issubclass(t, Struct) and t.__module__ == m.__name__
    },
    key=lambda t: (t.__module__, t.__name__),
)

_text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)
_scalars: dict[str, Any] = {
    "string": _text,
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bytes": st.binary(max_size=8),
    "quantity": st.sampled_from(["1", "100m", "2Gi", "0"]),
    "intorstring": st.integers(0, 99) | st.just("50%"),
    "time": st.just("2026-01-02T03:04:05Z"),
    "microtime": st.just("2026-01-02T03:04:05.000006Z"),
    "any": st.sampled_from([None, {"a": [1, "x"]}]),
}


def values(field: Field, depth: int) -> st.SearchStrategy[Any]:
    if field.kind == "list":
        return st.lists(values(field.item, depth), max_size=2)
    if field.kind == "dict":
        return st.dictionaries(_text, values(field.item, depth), max_size=2)
    if field.kind == "struct":
        made = structs(field.item, depth - 1)
    elif field.kind == "union":
        # An empty list of a union is no value there: upstream writes it as null.
        assert field.other is not None
        made = structs(field.item, depth - 1) | values(field.other, depth).filter(
            lambda arm: arm != []
        )
    else:
        made = _scalars[field.kind]
    return st.none() | made if field.optional else made


def structs(kind: type[Struct], depth: int) -> st.SearchStrategy[Any]:
    if depth <= 0:
        return st.builds(kind)
    parts = {
        f.attribute: values(f, depth)
        for n, f in fields_of(kind).items()
        if n not in ("kind", "apiVersion")
    }
    return st.builds(lambda **given: kind(**given), **parts)


@pytest.mark.parametrize(
    "kind", TYPES, ids=lambda t: f"{t.__module__.rpartition('.')[2]}.{t.__name__}"
)
def test_json_and_protobuf_lose_nothing(kind: type[Struct]) -> None:
    @settings(max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(structs(kind, 2))
    def check(obj: Any) -> None:
        again = decode(encode(obj), kind)
        assert to_builtins(again) == to_builtins(obj)
        assert encode(again) == encode(obj)
        if _on_the_wire(kind):
            back = protobuf.decode(protobuf.encode(obj), kind)
            assert to_builtins(back) == to_builtins(obj)

    check()


def _on_the_wire(kind: type[Struct]) -> bool:
    """Whether the type itself has a protobuf form: all of its fields have a tag."""
    return all(
        field.facts.tag or field.name in ("kind", "apiVersion")
        for field in fields_of(kind).values()
    )


def _reached(kind: type[Struct], seen: dict[type[Struct], None]) -> dict[type[Struct], None]:
    """A type and all that are in it."""
    if kind not in seen:
        seen[kind] = None
        for field in fields_of(kind).values():
            inner: Field | None = field
            while inner is not None and inner.kind in ("list", "dict"):
                inner = inner.item
            if inner is not None and inner.kind in ("struct", "union"):
                _reached(inner.item, seen)
    return seen


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: f"{r.group}.{r.version}.{r.plural}")
def test_every_served_kind_can_be_sent_in_protobuf(resource: Any) -> None:
    for kind in _reached(resource.type, {}):
        assert _on_the_wire(kind), kind
        protobuf.encoding.writers(kind)  # raises for what has no place on the wire
        assert isinstance(protobuf.decode(b"", kind), kind)


def test_every_resource_of_the_catalogue_has_its_type_and_its_list() -> None:
    for resource in RESOURCES:
        made = resource.type()
        assert (made.api_version, made.kind) == (resource.api_version, resource.kind)
        if "list" in resource.verbs:
            assert hasattr(importlib.import_module(resource.module), resource.kind + "List")


def test_each_stored_resource_has_one_storage_version() -> None:
    prefixes = [resource.prefix for resource in storage_resources()]
    assert len(prefixes) == len(set(prefixes))


def test_empty_fields_are_left_out_and_required_ones_are_not() -> None:
    from tiphys.api import core_v1

    text = encode(core_v1.Container(name="a")).decode()
    assert text == '{"name":"a","resources":{}}'
    assert '"restartCount":0' in encode(core_v1.ContainerStatus()).decode()
