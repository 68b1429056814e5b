"""Values that are no objects: what a broken disk or a stranger's hand leaves under a key.

They are found when they come in, at the start and from other writers, so that no read has to look: a list joins bytes, and
one such value in it would make the whole answer something that no client can read.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tiphys.store.engine import Change

CODE = 7  # of upstream's storage error for them


class _Named(msgspec.Struct):
    name: str


class _Stored(msgspec.Struct):
    metadata: _Named


_decoder = msgspec.json.Decoder(_Stored)


def fault_of(value: bytes) -> str:
    """Why stored bytes are no object, "" if they are one: 5 µs for 3 kB."""
    try:
        _decoder.decode(value)
        if not value.isascii():
            value.decode()  # msgspec does not look into strings that it skips
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return str(error)
    return "" if b'"metadata":{' in value else "not written as this server writes"


@dataclass(frozen=True, slots=True)
class Corrupt:
    """What stands under a key in an object's place."""

    key: str
    revision: int
    fault: str

    def __str__(self) -> str:
        return (
            f"StorageError: corrupt object, Code: {CODE}, Key: {self.key}, ResourceVersion: 0,"
            f" AdditionalErrorMsg: object not decodable revision={self.revision}: {self.fault}"
        )


def corrupt(change: Change) -> Corrupt | None:
    """What is wrong with a change, None if nothing is."""
    fault = fault_of(change.value) if change.value is not None else ""
    if not fault and (change.key.count("/") < 3 or change.key[0] != "/"):
        fault = "not a key of a resource"
    return Corrupt(change.key, change.revision, fault) if fault else None
