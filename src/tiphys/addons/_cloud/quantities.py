"""Amounts as quantities."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.quantity import canonical_quantity


def quantity(name: str, amount: int) -> Any:
    """The canonical quantity of an amount in units of `footprint`."""
    if name == "cpu":
        return canonical_quantity(f"{amount}m")
    if name in ("memory", "ephemeral-storage") and amount % 1024 == 0:
        return canonical_quantity(f"{amount // 1024}Ki")
    return canonical_quantity(str(amount))
