"""What a node has for pods."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from tiphys.api.base import canonical_quantity
from tiphys.node import hugepages

PODS = 110  # the most pods of one node, as upstream


def machine_capacity(disk: Path) -> dict[str, Any]:
    """What this machine has. `disk` lies on the file system that pods write to."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    storage = shutil.disk_usage(disk).total
    found = capacity(
        cpu=str(os.cpu_count() or 1),
        memory=f"{memory // 1024}Ki",
        storage=f"{storage // 1024}Ki",
    )
    huge = hugepages.set_aside().items()
    return found | {name: canonical_quantity(f"{size // 1024}Ki") for name, size in huge}


def capacity(cpu: str, memory: str, storage: str) -> dict[str, Any]:
    """The resources of a node, in canonical quantities."""
    return {
        "cpu": canonical_quantity(cpu),
        "memory": canonical_quantity(memory),
        "ephemeral-storage": canonical_quantity(storage),
        "pods": canonical_quantity(str(PODS)),
    }
