"""Paths of printer columns, scales and selectable fields."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.machinery.jsonpath import (
    PathError,
    compile_path,
    field_path,
    get_field,
    schema_path,
    set_field,
)

DOCUMENT = {
    "a": {"b": [1, 2, 3], "c.d": "dotted"},
    "rows": [{"type": "Ready", "n": 1}, {"type": "Other", "n": 5}, {"n": 7}],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [[1, 2, 3]]),
        ("{.a.b[0]}", [1]),
        ("$.a.b[-1]", [3]),
        (".a.b[3]", []),
        (".a.b[-4]", []),
        (".a.b[*]", [1, 2, 3]),
        (".a.b[1:]", [2, 3]),
        (".a.b[:2]", [1, 2]),
        (".a['c.d']", ["dotted"]),
        (r".a.c\.d", ["dotted"]),
        (".a.x.y", []),
        ('.rows[?(@.type=="Ready")].n', [1]),
        (".rows[?(@.n>=5)].n", [5, 7]),
        (".rows[?(@.n<5)].n", [1]),
        (".rows[?(@.type!='Ready')].n", [5]),
        (".rows[?(@.type)].n", [1, 5]),
        (".rows[?(@.type>5)].n", []),
    ],
)
def test_what_a_path_finds(path: str, found: list[Any]) -> None:
    assert compile_path(path)(DOCUMENT) == found


@pytest.mark.parametrize("path", [".a[", ".a[x]", "..", ".a[?(type)]"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(PathError):
        compile_path(path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (".spec.a", ("spec", "a")),
        (".a['b.c']", ("a", "b.c")),
        (".a[0]", None),
        ("", None),
        ("a", None),
    ],
)
def test_a_path_of_plain_fields(text: str, names: tuple[str, ...] | None) -> None:
    assert field_path(text) == names


def test_fields_are_read_and_set_with_the_objects_on_the_way() -> None:
    document: dict[str, Any] = {"a": 1}
    set_field(document, ("a", "b", "c"), 2)
    assert document == {"a": {"b": {"c": 2}}}
    assert (
        get_field(document, ("a", "b", "c")) == 2 and get_field(document, ("a", "x", "c")) is None
    )


SCHEMA = {
    "properties": {
        "spec": {"properties": {"a.b": {"type": "string"}}},
        "map": {"additionalProperties": {"type": "integer"}},
    }
}


def test_a_path_through_a_schema_has_its_usual_form() -> None:
    assert schema_path(".spec['a.b']", SCHEMA) == ("spec.a.b", {"type": "string"})
    assert schema_path(".map.x", SCHEMA) == ("map[x]", {"type": "integer"})


@pytest.mark.parametrize(
    ("path", "arrays", "problem"),
    [
        (".x", True, "does not refer to a valid field"),
        (".spec.a", True, "does not refer to a valid field"),
        (".map.x.y", True, "does not refer to a valid field"),
        (".", True, "unexpected end of JSON path"),
        ("spec", True, "expected [ or . but got: spec"),
        (".spec[a]", True, "expected single quoted string but got a"),
        (".spec['a.b'x", True, "expected ] but got x"),
        (".spec['a.b']", False, "array notation is not allowed"),
    ],
)
def test_a_path_that_leads_nowhere(path: str, arrays: bool, problem: str) -> None:
    with pytest.raises(PathError) as error:
        schema_path(path, SCHEMA, arrays)
    assert str(error.value) == problem
