"""Mounts inside of mounts. Pure.

A volume that is mounted read-only must have the folders that others are mounted on, for the runtime
cannot make them there: a Secret at /var/run/secrets, say, with the token below it. As upstream,
they are made when the volume is filled.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from tiphys.api import core_v1


def places_inside(pod: core_v1.Pod, volume: str) -> list[str]:
    """Paths in a volume at which some container has another one mounted; none below another."""
    outermost: list[str] = []
    for place in sorted(set(_inside(pod, volume))):
        if not any(place.startswith(f"{above}/") for above in outermost):
            outermost.append(place)
    return outermost


def _inside(pod: core_v1.Pod, volume: str) -> Iterator[str]:
    spec = pod.spec
    containers: list[Any] = [*spec.init_containers, *spec.containers, *spec.ephemeral_containers]
    for container in containers:
        paths = [posixpath.normpath(mount.mount_path) for mount in container.volume_mounts]
        for mount in container.volume_mounts:
            is_whole = not mount.sub_path and not mount.sub_path_expr
            if mount.name != volume or not is_whole:
                continue
            prefix = posixpath.normpath(mount.mount_path).rstrip("/") + "/"
            for path in paths:
                if path.startswith(prefix):
                    yield path.removeprefix(prefix)
