"""Pods that use more of the node's disk than they may: upstream's local limits of volumes, of
containers, and of all of a pod."""

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
    """Bytes on disk: of volumes by name, and of containers (what they wrote, and their logs) by
    name."""

    volumes: dict[str, int] = field(default_factory=dict)
    containers: dict[str, int] = field(default_factory=dict)


def is_limited(spec: core_v1.PodSpec) -> bool:
    """Whether a pod must be measured."""
    for volume in spec.volumes:
        if volume.empty_dir is not None and volume.empty_dir.size_limit:
            return True
    containers = (*spec.containers, *spec.init_containers)
    return any(STORAGE in container.resources.limits for container in containers)


def excess(spec: core_v1.PodSpec, used: DiskUsage) -> str:
    """What a pod has too much of, in upstream's words; "" if nothing."""
    return _excess_of_volumes(spec, used) or _excess_of_containers(spec, used)


def _excess_of_volumes(spec: core_v1.PodSpec, used: DiskUsage) -> str:
    for volume in spec.volumes:
        limit = volume.empty_dir.size_limit if volume.empty_dir is not None else None
        if not limit:
            continue
        most = quantity.ceil_units(limit)
        if 0 < most < used.volumes.get(volume.name, 0):  # a limit of 0 is none
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{limit}". '
    return ""


def _excess_of_containers(spec: core_v1.PodSpec, used: DiskUsage) -> str:
    limits = {
        container.name: container.resources.limits[STORAGE]
        for container in spec.containers
        if STORAGE in container.resources.limits
    }
    total = quantity.total([{STORAGE: limit} for limit in limits.values()]).get(STORAGE)
    if total and _on_disk(spec, used) > quantity.ceil_units(total):
        subject = "Pod ephemeral local storage usage"
        return f"{subject} exceeds the total limit of containers {total}. "
    for name, limit in limits.items():
        if used.containers.get(name, 0) > quantity.ceil_units(limit):
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


def _on_disk(spec: core_v1.PodSpec, used: DiskUsage) -> int:
    """Bytes of containers and volumes, but for those in memory."""
    total = sum(used.containers.values())
    for volume in spec.volumes:
        if volume.empty_dir is None or not volume.empty_dir.medium:
            total += used.volumes.get(volume.name, 0)
    return total


async def measure(
    spec: core_v1.PodSpec,
    volumes: Mapping[str, Path],
    logs: Mapping[str, Path],
    written: Mapping[str, int],
) -> DiskUsage:
    """`volumes` are the folders of volumes on this node, `logs` those of containers' logs,
    `written` the bytes that containers wrote beside them."""
    usage = DiskUsage()
    for name, folder in volumes.items():
        usage.volumes[name] = await folder_size(folder)
    for container in (*spec.containers, *spec.init_containers):
        name = container.name
        of_logs = await folder_size(logs[name]) if name in logs else 0
        usage.containers[name] = of_logs + written.get(name, 0)
    return usage


async def folder_size(folder: Path) -> int:
    """Bytes on disk of all in a folder, on its own file system; 0 of one that cannot be measured.

    A process measures it: there may be millions of files, and more folders within each other than
    handles can be open.
    """
    return await _du(folder, "-sxB1")


async def folder_inodes(folder: Path) -> int:
    """How many files and folders a folder has, with itself, in the same way."""
    return await _du(folder, "-sx", "--inodes")


async def _du(folder: Path, *options: str) -> int:
    measuring = await asyncio.create_subprocess_exec(
        "du",
        *options,
        "--",
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            output, _ = await measuring.communicate()
    except TimeoutError:
        return 0
    finally:
        if measuring.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                measuring.kill()
    size = output.split(b"\t", 1)[0]
    return int(size) if size.isdigit() else 0
