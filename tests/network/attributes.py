"""Netlink messages read back: attributes as dictionaries, for tests that compare them."""

from __future__ import annotations

import struct
from typing import Any

_NESTED = 0x8000


def attributes(data: bytes) -> list[tuple[int, Any]]:
    """(kind, value) of each: a list again where it is nested, a number where it has four or eight
    bytes, a text where it ends as one, else bytes."""
    rows: list[tuple[int, Any]] = []
    while data:
        length, kind = struct.unpack_from("=HH", data)
        payload, data = data[4:length], data[length + -length % 4 :]
        if kind & _NESTED:
            rows.append((kind & ~_NESTED, attributes(payload)))
        else:
            rows.append((kind, _value(payload)))
    return rows


def _value(payload: bytes) -> Any:
    if payload[-1:] == b"\0" and payload[:-1].decode(errors="replace").isprintable():
        name = payload[:-1].decode()
        if name.replace("-", "").isalnum() and name[0].isalpha():
            return name
    return int.from_bytes(payload, "big") if len(payload) in (4, 8) else payload


def expressions(data: bytes) -> list[tuple[str, dict[int, Any]]]:
    """(name, its attributes) of each expression of a rule."""
    rows = []
    for _, parts in attributes(data):
        (_, name), *rest = parts
        rows.append((name, _flat(rest[0][1] if rest else [])))
    return rows


def _flat(rows: list[tuple[int, Any]]) -> dict[int, Any]:
    return {kind: _flat(value) if isinstance(value, list) else value for kind, value in rows}


def parsed(message: bytes) -> tuple[int, int, int, dict[int, Any]]:
    """(kind of nf_tables, flags, family, attributes) of a message."""
    length, kind, flags, _, _ = struct.unpack_from("=IHHII", message)
    assert length == len(message) and kind >> 8 == 10
    family, version, resource = struct.unpack_from(">BBH", message, 16)
    assert (version, resource) == (0, 0)
    return kind & 0xFF, flags, family, _flat(attributes(message[20:]))


def names_of(message: bytes) -> str:
    """A message in short: its kind, the table, and what in it."""
    kinds = {3: "chain+", 5: "chain-", 6: "rule+", 8: "rules-", 12: "elements+", 14: "elements-"}
    kind, _, _, body = parsed(message)
    return " ".join(
        [kinds[kind], *(str(body[part]) for part in (2, 3) if isinstance(body.get(part), str))]
    )
