"""What of a machine pods do not get: what is kept back for the system and for eviction. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.api.base import Quantity, format_quantity
from tiphys.machinery import quantity
from tiphys.machinery.footprint import CPU, units
from tiphys.node.hugepages import PREFIX
from tiphys.node.resources.pressure import Threshold

_MILLI, _UNIT = 10**6, 10**9  # nano units of each
# Signals of eviction whose threshold the scheduler is not to fill (upstream's
# `hardEvictionReservation`).
_EVICTION = {"memory.available": "memory", "nodefs.available": "ephemeral-storage"}


def kept_back(
    capacity: Mapping[str, str], reserved: Mapping[str, int], thresholds: Iterable[Threshold]
) -> dict[str, int]:
    """By resource, in units of `footprint`: what is reserved, and what eviction keeps free."""
    kept = {name: amount for name, amount in reserved.items() if name in capacity and amount}
    for threshold in thresholds:
        name = _EVICTION.get(threshold.signal)
        if name is not None and name in capacity:
            free = threshold.amount(units(name, capacity[name]))
            kept[name] = kept.get(name, 0) + free
    return kept


def allocatable(capacity: Mapping[str, Any], kept: Mapping[str, int]) -> dict[str, Any]:
    """What is left for pods, in canonical quantities. Memory that is set aside as huge pages is
    given as these alone."""
    huge = sum(units(name, total) for name, total in capacity.items() if name.startswith(PREFIX))
    if huge:
        kept = {**kept, "memory": kept.get("memory", 0) + huge}
    return {name: _less(name, total, kept.get(name, 0)) for name, total in capacity.items()}


def _less(name: str, total: Any, kept: int) -> Any:
    if not kept:
        return total
    amount = kept * (_MILLI if name == CPU else _UNIT)
    left = quantity.subtract(total, format_quantity(amount))
    return Quantity("0") if left.startswith("-") else left
