"""Huge pages: which sizes of them a machine has set aside, and what pods and containers may use.

Pages are set aside by the machine's administrator (``/proc/sys/vm/nr_hugepages``), before the node
starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tiphys.api import core_v1
from tiphys.api.base import format_quantity
from tiphys.machinery import quantity

PREFIX = "hugepages-"  # of resources: the size of a page follows
MEDIUM = "HugePages"  # of volumes: "-" and the size of a page may follow
_FOLDER = Path("/sys/kernel/mm/hugepages")
_NANO = 10**9
_UNITS = ("B", "KB", "MB", "GB", "TB")


def set_aside(folder: Path = _FOLDER) -> dict[str, int]:
    """Bytes by resource (``hugepages-2Mi``) of every size that the kernel has, though it be 0."""
    sizes: dict[str, int] = {}
    for pages in sorted(folder.glob("hugepages-*kB")):
        size = int(pages.name.removeprefix(PREFIX).removesuffix("kB")) * 1024
        try:
            count = int((pages / "nr_hugepages").read_text())
        except (OSError, ValueError):
            count = 0
        sizes[f"{PREFIX}{format_quantity(size * _NANO, 'binary')}"] = count * size
    return sizes


def page_size(resource: str) -> int:
    """Bytes of a page of ``hugepages-2Mi``."""
    return quantity.ceil_units(resource.removeprefix(PREFIX))


def kernel_name(resource: str) -> str:
    """What control groups call the size of ``hugepages-2Mi``: ``2MB``."""
    size, unit = page_size(resource), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size // 1024, unit + 1
    return f"{size}{_UNITS[unit]}"


def limits(resources: Mapping[str, str], sizes: Iterable[str]) -> dict[str, int]:
    """Bytes by the kernel's name of a size: of the machine's `sizes`, those that a container does
    not ask for are 0."""
    return {kernel_name(size): quantity.ceil_units(resources.get(size, "0")) for size in sizes}


def volume_page_size(spec: core_v1.PodSpec, medium: str) -> int:
    """Bytes of a page of a pod's volume. Raises ValueError, as upstream refuses it: the pod has to
    ask for pages of that size, and of no other where the volume names none."""
    asked = {
        name
        for container in (*spec.init_containers, *spec.containers)
        for name in container.resources.requests
        if name.startswith(PREFIX)
    }
    if spec.resources is not None:
        asked |= {name for name in spec.resources.requests if name.startswith(PREFIX)}
    if medium != MEDIUM:
        try:
            wanted = page_size(medium.removeprefix(f"{MEDIUM}-"))
        except ValueError:
            raise ValueError(f"medium {medium} has no size of pages") from None
        if wanted not in map(page_size, asked):
            raise ValueError(f"medium {medium}: the pod does not ask for huge pages of this size")
        return wanted
    if len(asked) != 1:
        problem = "asks for huge pages of several sizes" if asked else "asks for no huge pages"
        raise ValueError(f"medium {medium}: the pod {problem}")
    return page_size(asked.pop())
