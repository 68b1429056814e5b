"""Pods that ask for whole cores, and managers of a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.managers.placement import Placement, place
from tiphys.node.managers.settings import Settings
from tiphys.node.managers.topology import Topology

GIB = 1 << 30


def container(name: str, cpu: str, memory: str = "1Gi", **more: Any) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": memory}
    resources = {"requests": amounts, "limits": amounts}
    return {"name": name, "image": "i", "resources": resources, **more}


def guaranteed(uid: str, *cpus: str, memory: str = "1Gi", **spec: Any) -> core_v1.Pod:
    """Of containers c0, c1, ... that ask for these CPUs each."""
    containers = [container(f"c{number}", cpu, memory) for number, cpu in enumerate(cpus)]
    made = pod(uid, containers=containers, **spec)
    made.metadata.uid = uid
    made.status.qos_class = "Guaranteed"
    return made


def static(topology: Topology, folder: Path, milli_cpu: int = 1000, **settings: Any) -> Placement:
    """Cores are given; the first `milli_cpu` are reserved."""
    kept = {"cpu": milli_cpu, "memory": settings.pop("memory", 0)}
    return place(Settings(cpu_policy="static", **settings), topology, kept, folder)
