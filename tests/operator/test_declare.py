"""Structs as versions of a custom resource: what is made of their names, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.base import Struct, always
from tiphys.api.meta_v1 import Object
from tiphys.operator import custom_resource, definition
from tiphys.operator.schema import NoSchema, schema_of

GROUP = "test.tiphys.dev"


def declared(name: str, version: str = "v1", **facts: Any) -> type[Object]:
    """A struct of that kind, declared."""
    api_version = f"{GROUP}/{version}"
    fields = {"api_version": always(api_version), "kind": always(name)}
    body = {"__annotations__": {"api_version": str, "kind": str}, **fields}
    kind = type(Object)(name, (Object,), body)
    return custom_resource(GROUP, version, **facts)(kind)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "plural"),
    [
        ("Echo", "echos"),
        ("Policy", "policies"),
        ("Gateway", "gateways"),
        ("Class", "classes"),
        ("Box", "boxes"),
        ("Switch", "switches"),
        ("Mesh", "meshes"),
    ],
)
def test_a_plural_is_made_of_the_kind(kind: str, plural: str) -> None:
    assert definition(declared(kind)).spec.names.plural == plural


def test_a_plural_that_is_given_is_taken() -> None:
    assert definition(declared("Echo", plural="echoes")).metadata.name == f"echoes.{GROUP}"


def test_versions_of_one_resource_have_one_definition() -> None:
    newest = declared("Echo", "v2")
    older = declared("Echo", "v1", storage=False)
    made = definition(newest, older)
    assert [(version.name, version.storage) for version in made.spec.versions] == [
        ("v2", True),
        ("v1", False),
    ]


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([declared("Other", "v2", storage=False)], "not versions of one resource"),
        ([declared("Echo", "v2", namespaced=False, storage=False)], "not versions of one resource"),
        ([declared("Echo", "v2")], "exactly one version is stored"),
    ],
)
def test_versions_that_do_not_belong_together_are_refused(
    others: list[type[Object]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        definition(declared("Echo"), *others)


def test_none_that_is_stored_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly one version is stored"):
        definition(declared("Echo", storage=False))


def test_what_is_not_declared_has_no_definition() -> None:
    with pytest.raises(TypeError, match="is not declared"):
        definition(Object)


def test_a_kind_that_is_written_otherwise_is_refused() -> None:
    with pytest.raises(TypeError, match="must be written with api_version"):
        custom_resource(GROUP)(Object)


def test_a_type_without_a_schema_is_named() -> None:
    class Odd(Struct):
        when: complex = 0j

    with pytest.raises(NoSchema, match=r"when: .*complex.* has no structural schema"):
        schema_of(Odd)
