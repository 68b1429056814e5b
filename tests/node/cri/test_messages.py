"""The messages of CRI have the field numbers and types that are published."""

from __future__ import annotations

import inspect
import types
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import pytest

from tiphys.api.base import F, Int32, Int64, Struct
from tiphys.node.cri import messages

# uint32 and uint64 have no type of their own here: both fit what is read of them in an Int64.
PYTHON_TYPES = {
    "string": str,
    "bytes": bytes,
    "bool": bool,
    "int32": Int32,
    "enum": Int32,
    "int64": Int64,
    "uint32": Int64,
    "uint64": Int64,
}


class Field(NamedTuple):
    number: int
    type: Any


def published() -> dict[str, dict[str, tuple[int, str]]]:
    """Message -> field -> (number, type), from the table beside this file."""
    table: dict[str, dict[str, tuple[int, str]]] = {}
    for line in (Path(__file__).parent / "fields.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        message, name, number, kind = line.split()
        fields = table.setdefault(message, {})
        if name != "-":
            fields[name] = int(number), kind
    return table


def declared(message: type[Struct]) -> dict[str, Field]:
    fields = {}
    for name, hint in get_type_hints(message, include_extras=True).items():
        if get_origin(hint) is Annotated:
            facts = [fact for fact in hint.__metadata__ if isinstance(fact, F)]
            if facts:
                fields[name] = Field(facts[0].tag, _without_facts(hint))
    return fields


def _without_facts(hint: Any) -> Any:
    """The type that stands beside the field's facts: Int32 is itself annotated."""
    others = [fact for fact in hint.__metadata__ if not isinstance(fact, F)]
    return Annotated[(hint.__origin__, *others)] if others else hint.__origin__


def matches(kind: str, declared_type: Any) -> bool:
    """Whether a declared type is that of a published one."""
    if kind.startswith("repeated:"):
        arguments = get_args(declared_type)
        element = kind.removeprefix("repeated:")
        return get_origin(declared_type) is list and _is_type(element, arguments[0])
    if kind.startswith("map<"):
        key, value = kind.removeprefix("map<").removesuffix(">").split(",")
        key_type, value_type = get_args(declared_type)
        return _is_type(key, key_type) and _is_type(value, value_type)
    if kind in PYTHON_TYPES:
        return bool(PYTHON_TYPES[kind] == declared_type)
    if get_origin(declared_type) not in (Union, types.UnionType):
        return False
    options = get_args(declared_type)
    return type(None) in options and any(_is_type(kind, option) for option in options)


def _is_type(kind: str, declared_type: Any) -> bool:
    if kind in PYTHON_TYPES:
        return bool(PYTHON_TYPES[kind] == declared_type)
    return bool(getattr(declared_type, "__name__", "") == kind)


MESSAGES = {
    name: message
    for name, message in inspect.getmembers(messages, inspect.isclass)
    if issubclass(message, Struct) and message is not Struct
}


def test_every_message_is_one_of_cri() -> None:
    assert MESSAGES.keys() == published().keys()


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_fields_have_the_numbers_and_types_of_cri(name: str) -> None:
    table = published()[name]
    for field, (number, declared_type) in declared(MESSAGES[name]).items():
        assert field in table, f"{name}.{field} is not a field of CRI"
        published_number, kind = table[field]
        assert number == published_number, f"{name}.{field}"
        assert matches(kind, declared_type), f"{name}.{field} is {kind}, not {declared_type}"
