"""Values that are not objects: what a broken disk, or an edit of the store by hand, leaves
under a key.

They are found when they come in, at the start and from other writers, so that no read has to check:
a list joins bytes, and one such value would make the whole response something that no client can
read.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tiphys.store.engine import Change

_CODE = 7  # upstream's storage.ErrCodeCorruptObj
ENCRYPTED = b"k8s:enc:"  # the prefix of every encrypted value
IDENTITY_FAULT = "identity transformer tried to read encrypted data"
_NOT_DECODABLE = "object not decodable"


class _Metadata(msgspec.Struct):
    name: str


class _Object(msgspec.Struct):
    metadata: _Metadata


_decoder = msgspec.json.Decoder(_Object)


@dataclass(frozen=True, slots=True)
class Corrupt:
    """What is under a key in place of an object. Its text is upstream's message for it.

    sealed: no key opens it (see `encryption`); it may be whole
    """

    key: str
    revision: int
    fault: str
    sealed: bool = False

    def __str__(self) -> str:
        fault = "data from the storage is not transformable" if self.sealed else _NOT_DECODABLE
        return (
            f"StorageError: corrupt object, Code: {_CODE}, Key: {self.key}, ResourceVersion: 0,"
            f" AdditionalErrorMsg: {fault} revision={self.revision}: {self.fault}"
        )


def fault_of(value: bytes) -> str:
    """Why stored bytes are not an object, "" if they are one: 5 µs for 3 kB."""
    try:
        _decoder.decode(value)
        if not value.isascii():
            value.decode()  # msgspec does not look into strings that it skips
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return str(error)
    if b'"metadata":{' not in value:
        return "not written as this server writes"
    return ""


def is_resource_key(key: str) -> bool:
    """Whether a key is ``/group/plural/...``."""
    return key.startswith("/") and key.count("/") >= 3


def prefix_of(key: str) -> str:
    """``/group/plural/`` of a key. ValueError for a key of no resource."""
    return key[: key.index("/", key.index("/", 1) + 1) + 1]


def corrupt_of(change: Change) -> Corrupt | None:
    """What is wrong with a change, None if nothing is."""
    fault = change.fault
    if not fault and change.value is not None and change.value.startswith(ENCRYPTED):
        fault = IDENTITY_FAULT
    if fault:
        return Corrupt(change.key, change.revision, fault, sealed=True)
    if change.value is not None:
        fault = fault_of(change.value)
    if not fault and not is_resource_key(change.key):
        fault = "not a key of a resource"
    return Corrupt(change.key, change.revision, fault) if fault else None
