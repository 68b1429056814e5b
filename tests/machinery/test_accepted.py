"""Whatever is accepted of any type can be answered in every form: what a reader could not be sent
spoils the list that it is in."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.fuzz.requests import JUNK
from tiphys.api.catalog import RESOURCES
from tiphys.machinery import protobuf
from tiphys.machinery.decoding import DecodeError, typed
from tiphys.machinery.schema import Field, fields_of

TIMES = (
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05.123456Z",
    "9999-12-31T23:59:59-23:00",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+10:00",
)
SCALARS: dict[str, list[Any]] = {
    "string": ["", "a", "é", "\u0000"],
    "int32": [0, 1, -(2**31), 2**31 - 1],
    "int64": [0, -1, 2**53 + 1],
    "bool": [True, False],
    "time": list(TIMES),
    "microtime": list(TIMES),
    "quantity": ["1", "1.5Gi", "-3m", 4, "1e9", "0.0001n"],
}


def value(field: Field, chance: random.Random, depth: int) -> Any:
    if chance.random() < 0.2 or depth > 6:
        return chance.choice([*JUNK, *TIMES])
    if field.kind == "struct":
        return body(field.item, chance, depth + 1)
    if field.kind == "list":
        return [value(field.item, chance, depth + 1) for _ in range(chance.randint(0, 2))]
    if field.kind == "dict":
        keys = chance.sample(["a", "", "é", "x/y"], chance.randint(0, 2))
        return {key: value(field.item, chance, depth + 1) for key in keys}
    return chance.choice(SCALARS.get(field.kind, JUNK))


def body(kind: Any, chance: random.Random, depth: int = 0) -> dict[str, Any]:
    """A few of a type's fields, most of them as they should be."""
    fields = list(fields_of(kind).values())
    chosen = chance.sample(fields, min(len(fields), chance.randint(1, 4)))
    return {field.name: value(field, chance, depth) for field in chosen}


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_accepted_goes_over_the_wire_and_back(seed: int) -> None:
    chance = random.Random(seed)
    accepted = 0
    for _ in range(1500):
        kind = chance.choice(RESOURCES).type
        sent = body(kind, chance)
        try:
            obj = typed(json.dumps(sent).encode(), kind)
        except DecodeError:
            continue
        accepted += 1
        wire = protobuf.encode(obj)
        assert protobuf.encode(protobuf.decode(wire, kind)) == wire, sent
    assert accepted > 300
