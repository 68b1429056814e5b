"""How much swap containers may use, as upstream (`memorySwap.swapBehavior`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.machinery import quantity
from tiphys.node.resources.pressure import is_critical

NO_SWAP, LIMITED_SWAP = "NoSwap", "LimitedSwap"
_BEHAVIORS = ("", NO_SWAP, LIMITED_SWAP)
_MEMINFO = Path("/proc/meminfo")
_KIB = 1024


def parse_behavior(value: Any) -> str:
    """Of `memorySwap` in a KubeletConfiguration. Raises ValueError."""
    if not isinstance(value, Mapping) or value.keys() - {"swapBehavior"}:
        raise ValueError("it has the field swapBehavior alone")
    behavior = value.get("swapBehavior", "")
    if behavior not in _BEHAVIORS:
        allowed = ", ".join(f'"{each}"' for each in _BEHAVIORS)
        raise ValueError(f"swapBehavior: {behavior!r} is none of {allowed}")
    return behavior or NO_SWAP


class MachineMemory(NamedTuple):
    """Bytes that a machine has."""

    memory: int
    swap: int


def machine_memory(meminfo: Path = _MEMINFO) -> MachineMemory:
    """Of this machine; zeros where the kernel does not say."""
    amounts = {"MemTotal": 0, "SwapTotal": 0}
    try:
        for line in meminfo.read_text().splitlines():
            name, _, amount = line.partition(":")
            if name in amounts:
                amounts[name] = int(amount.split()[0]) * _KIB
    except (OSError, ValueError, IndexError):
        return MachineMemory(0, 0)
    return MachineMemory(amounts["MemTotal"], amounts["SwapTotal"])


def swap_limit(behavior: str, pod: core_v1.Pod, container: Any, machine: MachineMemory) -> int:
    """Bytes that a container may use, on control groups of version 2. Those of burstable pods that
    ask for less memory than they may have get a share of the swap like theirs of the memory."""
    if behavior != LIMITED_SWAP or pod.status.qos_class != "Burstable" or is_critical(pod):
        return 0
    requests, limits = container.resources.requests, container.resources.limits
    requested = quantity.ceil_units(requests.get("memory", "0"))
    most = quantity.ceil_units(limits.get("memory", "0"))
    if not requested or requested == most or not machine.memory:
        return 0
    return int(min(1.0, requested / machine.memory) * machine.swap)
