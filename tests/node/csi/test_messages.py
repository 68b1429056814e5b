"""The messages of CSI have the field numbers and types that are published."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from tests.node.cri.test_messages import declared, matches
from tiphys.api.base import Struct
from tiphys.node.csi import messages


def published() -> dict[str, dict[str, tuple[int, str]]]:
    table: dict[str, dict[str, tuple[int, str]]] = {}
    for line in (Path(__file__).parent / "fields.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        message, name, number, kind = line.split()
        fields = table.setdefault(message, {})
        if name != "-":
            fields[name] = int(number), kind
    return table


MESSAGES = {
    name: message
    for name, message in inspect.getmembers(messages, inspect.isclass)
    if issubclass(message, Struct) and message is not Struct
}


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_fields_have_the_numbers_and_types_of_csi(name: str) -> None:
    table = published()[name]
    fields = declared(MESSAGES[name])
    assert fields.keys() == table.keys()
    for field, (number, declared_type) in fields.items():
        published_number, kind = table[field]
        assert number == published_number, field
        assert matches(kind, declared_type), field
