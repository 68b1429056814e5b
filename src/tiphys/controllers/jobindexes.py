"""Completion indexes of jobs: sets of numbers, written as ``1,3-5``. Pure."""

from __future__ import annotations

from collections.abc import Set

from tiphys.api import core_v1

INDEX = "batch.kubernetes.io/job-completion-index"


def parse_indexes(text: str) -> set[int]:
    """``1,3-5`` is {1, 3, 4, 5}."""
    indexes: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        indexes.update(range(int(first), int(last or first) + 1))
    return indexes


def format_indexes(indexes: Set[int]) -> str:
    """The shortest way to write a set of indexes; a run of two is no range, as upstream."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(_run(first, last) for first, last in runs)


def _run(first: int, last: int) -> str:
    if first == last:
        return str(first)
    separator = "," if last == first + 1 else "-"
    return f"{first}{separator}{last}"


def index_of(pod: core_v1.Pod) -> int | None:
    """The index that a pod works on; None when it has none."""
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isascii() and text.isdigit() else None
