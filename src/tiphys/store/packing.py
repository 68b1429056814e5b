"""Objects of the past, compressed: ten thousand deleted pods weigh 30 MiB as they were, and a tenth
of that packed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from tiphys.store.entries import Entry

WORTH_PACKING = 512  # bytes of an object


class Packed(NamedTuple):
    """Bytes that are compressed, with a like of them as dictionary."""

    like: bytes
    compressed: bytes


def packed_alike(values: Sequence[bytes]) -> list[Packed]:
    """Compresses values that are alike, pods of one Deployment, say: to a tenth, each by itself."""
    packed: list[Packed] = []
    like = values[0]
    for value in values:
        compressor = zlib.compressobj(level=1, zdict=like)
        packed.append(Packed(like, compressor.compress(value) + compressor.flush()))
    return packed


def unpacked(packed: Packed) -> bytes:
    return zlib.decompressobj(zdict=packed.like).decompress(packed.compressed)


def pack(entry: Entry, packed: Packed) -> None:
    """Keeps the object's bytes as `packed_alike` made them. The entry stays the same object."""
    _BYTES.__set__(entry, packed)
    entry.__class__ = _PackedEntry


class _PackedEntry(Entry):
    """An object as it once was, whose bytes are compressed, and restored on request."""

    __slots__ = ()

    @property
    def data(self) -> bytes:  # type: ignore[override]
        packed: Packed = _BYTES.__get__(self)
        return unpacked(packed)


_BYTES: Any = Entry.__dict__["data"]  # the slot in which an entry has them, compressed or not
