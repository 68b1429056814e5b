"""The API's envelope: magic, then `runtime.Unknown` with an object's kind and bytes."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.protobuf.encoding import encode
from tiphys.machinery.protobuf.wire import BYTES, VARINT, WireError, frame, numbered, varint

MAGIC = b"k8s\x00"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"


def wrap(message: Any) -> bytes:
    """An API object in upstream's envelope: magic, then runtime.Unknown with its kind and bytes."""
    return envelope(message.api_version, message.kind, encode(message))


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    """The envelope of a message that is encoded already."""
    return envelope_head(api_version, kind, len(message)) + message + ENVELOPE_TAIL


ENVELOPE_TAIL = b"\x1a\x00\x22\x00"  # no content encoding, no content type


def envelope_head(api_version: str, kind: str, size: int) -> bytes:
    """What stands before a message of `size` bytes; `ENVELOPE_TAIL` stands behind it."""
    named = frame(1, api_version.encode()) + frame(2, kind.encode())
    return MAGIC + frame(1, named) + varint(2 << 3 | BYTES) + varint(size)


def unwrap(data: bytes) -> tuple[str, str, bytes]:
    """(apiVersion, kind, message bytes) of an envelope. Raises WireError."""
    if data[:4] != MAGIC:
        raise WireError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    parts = numbered(data[4:])
    kind = numbered(_bytes_of(parts, 1, "TypeMeta"))
    try:
        api_version = _bytes_of(kind, 1, "APIVersion").decode()
        name = _bytes_of(kind, 2, "Kind").decode()
    except UnicodeDecodeError as error:
        raise WireError(f"proto: invalid UTF-8: {error}") from None
    return api_version, name, _bytes_of(parts, 2, "Raw")


def _bytes_of(parts: dict[int, Any], tag: int, name: str) -> bytes:
    part = parts.get(tag, b"")
    if not isinstance(part, bytes):  # a number stands there
        raise WireError(f"proto: wrong wireType = {VARINT} for field {name}")
    return part
