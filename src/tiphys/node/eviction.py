"""Pods that use more of the node's disk than they may, and the words in which they are evicted. Upstream's local limits: of
volumes, of containers, of all of a pod."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tiphys.api import core_v1
from tiphys.machinery import quantity

STORAGE = "ephemeral-storage"
_PATIENCE = 60.0  # seconds that measuring one folder may take


@dataclass
class DiskUsage:
    """Bytes on disk: of volumes by name, and of containers (what they wrote, and their logs) by name."""

    volumes: dict[str, int] = field(default_factory=dict)
    containers: dict[str, int] = field(default_factory=dict)


def is_limited(spec: core_v1.PodSpec) -> bool:
    """Whether there is anything to measure of a pod."""
    volumes = any(v.empty_dir is not None and v.empty_dir.size_limit for v in spec.volumes)
    return volumes or any(
        STORAGE in c.resources.limits for c in (*spec.containers, *spec.init_containers)
    )


def excess(spec: core_v1.PodSpec, used: DiskUsage) -> str:
    """What a pod has too much of, in upstream's words; "" if nothing."""
    for volume in spec.volumes:
        limit = volume.empty_dir.size_limit if volume.empty_dir is not None else None
        if limit and 0 < quantity.ceil_units(limit) < used.volumes.get(volume.name, 0):
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{limit}". '
    limits = {
        c.name: c.resources.limits[STORAGE]
        for c in spec.containers
        if STORAGE in c.resources.limits
    }
    on_disk = sum(used.containers.values()) + sum(
        used.volumes.get(v.name, 0)
        for v in spec.volumes
        if v.empty_dir is None or v.empty_dir.medium != "Memory"
    )
    whole = quantity.total([{STORAGE: limit} for limit in limits.values()]).get(STORAGE)
    if whole and on_disk > quantity.ceil_units(whole):
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {whole}. "
    for name, limit in limits.items():
        if used.containers.get(name, 0) > quantity.ceil_units(limit):
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


async def measure(
    spec: core_v1.PodSpec,
    volumes: Mapping[str, Path],
    logs: Mapping[str, Path],
    written: Mapping[str, int],
) -> DiskUsage:
    """`volumes` are the folders of volumes on this node, `logs` those of containers' logs, `written` the bytes that
    containers wrote beside them."""
    made = DiskUsage()
    for name, folder in volumes.items():
        made.volumes[name] = await folder_size(folder)
    for container in (*spec.containers, *spec.init_containers):
        size = await folder_size(logs[container.name]) if container.name in logs else 0
        made.containers[container.name] = size + written.get(container.name, 0)
    return made


async def folder_size(folder: Path) -> int:
    """Bytes on disk of all in a folder, on its own file system; 0 of one that cannot be measured. By a process of its own:
    there may be millions of files, and deeper ones than handles can be open."""
    measuring = await asyncio.create_subprocess_exec(
        "du",
        "-sxB1",
        "--",
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            told, _ = await measuring.communicate()
    except TimeoutError:
        return 0
    finally:
        if measuring.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                measuring.kill()
    size = told.split(b"\t", 1)[0]
    return int(size) if size.isdigit() else 0
