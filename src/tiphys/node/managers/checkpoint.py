"""What was allocated, in a file that upstream's kubelet reads as well: JSON with a checksum.

The checksum is FNV-1a of how Go prints the value (`k8s.io/utils/dump`)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CheckpointError(Exception):
    """The file cannot be used; the text says what to do about it."""


def checksum(printed: str) -> int:
    """FNV-1a of 32 bits."""
    value = 0x811C9DC5
    for byte in printed.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def read(path: Path) -> Mapping[str, Any] | None:
    """None if there is no such file. Raises ValueError, OSError."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("it is no object")
    # Go reads names in any case; older kubelets wrote `defaultCPUSet`.
    return {name.lower(): value for name, value in document.items()}


def verify(document: Mapping[str, Any], printed: str) -> None:
    """Raises ValueError if the value is not as it was written. A checksum of 0 is that of a file
    without one."""
    if document.get("checksum", 0) not in (0, checksum(printed)):
        raise ValueError("checkpoint is corrupted")


def write(path: Path, document: Mapping[str, Any], printed: str) -> None:
    """Replaces the file at once. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    value = {**document, "checksum": checksum(printed)}
    with draft.open("w") as file:
        json.dump(value, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
