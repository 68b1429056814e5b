"""Compares messages with the field numbers and types that are published."""

from __future__ import annotations

import inspect
import types
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from tiphys.api.base import F, Int32, Int64, Struct

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


def published(file: Path) -> dict[str, dict[str, tuple[int, str]]]:
    """Message -> field -> (number, type), from a table in a file."""
    table: dict[str, dict[str, tuple[int, str]]] = {}
    for line in file.read_text().splitlines():
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
    kind = kind.removeprefix("optional:")
    if get_origin(declared_type) not in (Union, types.UnionType):
        return False
    options = get_args(declared_type)
    return type(None) in options and any(_is_type(kind, option) for option in options)


def _is_type(kind: str, declared_type: Any) -> bool:
    if kind in PYTHON_TYPES:
        return bool(PYTHON_TYPES[kind] == declared_type)
    return bool(getattr(declared_type, "__name__", "") == kind)


def messages_of(module: types.ModuleType) -> dict[str, type[Struct]]:
    return {
        name: message
        for name, message in inspect.getmembers(module, inspect.isclass)
        if issubclass(message, Struct) and message is not Struct
    }


def differences(messages: dict[str, type[Struct]], file: Path) -> list[str]:
    """What is declared otherwise than the table says. Fields may be missing, messages not."""
    table = published(file)
    found = [f"{name} is not declared" for name in table.keys() - messages.keys()]
    for name, message in messages.items():
        if name not in table:
            found.append(f"{name} is not published")
            continue
        for field, (number, declared_type) in declared(message).items():
            published_number, kind = table[name].get(field, (0, ""))
            if number != published_number or not matches(kind, declared_type):
                found.append(f"{name}.{field} is {kind} {published_number}")
    return found
