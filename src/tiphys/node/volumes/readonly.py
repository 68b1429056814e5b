"""Mounts that are read-only with all that is mounted below them. Pure."""

from __future__ import annotations

from tiphys.node.volumes.volumefiles import VolumeError


def is_recursive(mode: str, name: str, able: bool) -> bool:
    """`mode` is the spec's `recursiveReadOnly` of the mount of a volume `name`, `able` whether the
    runtime can do it. Raises VolumeError."""
    if mode == "Enabled" and not able:
        problem = "requested recursive read-only mode, but it is not supported by the runtime"
        raise VolumeError(f'volume "{name}" {problem}')
    return able and mode in ("Enabled", "IfPossible")
