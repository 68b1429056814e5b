"""Machines that run containers: which types this machine can pretend to be, and their orders."""

from __future__ import annotations

import os
import platform
from functools import cache

from tiphys.addons._cloud.catalog import Amounts, InstanceType
from tiphys.addons._cloud.quantities import quantity
from tiphys.addons.machines import Machine
from tiphys.api import core_v1

HOLLOW = "hollow"
CONTAINERD = "containerd"
RUNTIME = "cloud.tiphys.dev/runtime"
"""Label of nodes that run containers."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_HAD = ("cpu", "memory", "ephemeral-storage", "pods")  # what a sandbox has of its machine


@cache
def room() -> tuple[str, Amounts]:
    """The architecture of this machine, and what it has, in units of `footprint`."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    machine = platform.machine()
    amounts = {"cpu": (os.cpu_count() or 1) * 1000, "memory": memory}
    return _ARCHITECTURES.get(machine, machine), amounts


def fits(type_: InstanceType, architecture: str, amounts: Amounts) -> bool:
    """Whether a machine of that size could be one of the type. Several may be made beside each
    other: they share it as sandboxes do."""
    return (
        type_.labels["kubernetes.io/arch"] == architecture
        and all(name in _HAD for name in type_.capacity)
        and all(type_.capacity[name] <= amount for name, amount in amounts.items())
    )


def order(
    type_: InstanceType, name: str, id: str, labels: dict[str, str], taints: list[core_v1.Taint]
) -> Machine:
    capacity = {each: str(quantity(each, amount)) for each, amount in type_.capacity.items()}
    return Machine(name, id, labels, taints, capacity, dict(type_.reserved))
