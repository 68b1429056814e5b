"""Fields that are a number or a percentage: ``maxSurge``, ``maxUnavailable``, ``minAvailable``."""

from __future__ import annotations


def scaled(value: int | str | None, total: int, *, round_up: bool) -> int:
    """The number that a field means: itself, or its percentage of `total`, rounded up or down.
    None counts as 0. Raises ValueError for a text that is no percentage."""
    if not isinstance(value, str):
        return value or 0
    percent = int(value.rstrip("%"))
    if round_up:
        return -(-percent * total // 100)
    return percent * total // 100
