"""Karpenter's own files, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_NEAR = "shared/seeds/karpenter"


def folder() -> Path | None:
    """Where the originals are: ``KARPENTER_SEEDS``, or a neighbour of the checkout."""
    if told := os.environ.get("KARPENTER_SEEDS"):
        return Path(told)
    near = (parent / _NEAR for parent in Path(__file__).resolve().parents)
    return next((path for path in near if path.is_dir()), None)


ROOT = folder()


needs_originals = pytest.mark.skipif(ROOT is None, reason="no originals here (KARPENTER_SEEDS)")
