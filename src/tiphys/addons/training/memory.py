"""What a job remembers when its pods and its operator are gone: the checkpoints that all ranks had,
and which nodes were at fault how often. Pure.

Both are annotations: `hyp` refuses a status with a field that the published one has not.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from tiphys.addons.training.observation import AgentReport, Observation
from tiphys.addons.training.protocol import common_progress, count_of
from tiphys.addons.training.sizes import Group
from tiphys.addons.training.types import HyperPodPyTorchJob

CHECKPOINTS = "training.addons.tiphys.dev/checkpoints"
FAULTY_NODES = "training.addons.tiphys.dev/faulty-nodes"

_MOST_PREFIXES = 16
_MOST_NODES = 64
T = TypeVar("T")


def checkpoints_of(job: HyperPodPyTorchJob) -> dict[str, Any]:
    """By prefix, in the words of the agents' protocol."""
    return _read(job, CHECKPOINTS, dict[str, Any])


def checkpoints_after(seen: Observation, groups: tuple[Group, ...]) -> dict[str, Any]:
    """Those that the job remembers, with what its agents say now if those of all ranks answer: the
    one that does not might have less than the others."""
    checkpoints = checkpoints_of(seen.job)
    reports = _of_all_ranks(seen, groups)
    for prefix, entry in common_progress(reports).items():
        if prefix not in checkpoints or count_of(entry) > count_of(checkpoints[prefix]):
            checkpoints.pop(prefix, None)  # the newest prefix is the last one
            checkpoints[prefix] = entry
    return dict(list(checkpoints.items())[-_MOST_PREFIXES:])


def _of_all_ranks(seen: Observation, groups: tuple[Group, ...]) -> list[AgentReport]:
    """Empty where one of them is missing."""
    reports = []
    for group in groups:
        by_rank = {member.rank: member.agent for member in seen.of(group.name)}
        for rank in range(group.first_rank, group.first_rank + group.target):
            report = by_rank.get(rank)
            if report is None:
                return []
            reports.append(report)
    return reports


def faulty_nodes_of(job: HyperPodPyTorchJob) -> dict[str, int]:
    """How often each was at fault, the latest last."""
    return _read(job, FAULTY_NODES, dict[str, int])


def faulty_nodes_after(job: HyperPodPyTorchJob, nodes: list[str]) -> dict[str, int]:
    """With one more fault of those nodes. The ones with the most faults are kept."""
    counts = faulty_nodes_of(job)
    for node in nodes:
        counts[node] = counts.pop(node, 0) + 1
    kept = set(_worst(counts)[:_MOST_NODES])
    return {node: count for node, count in counts.items() if node in kept}


def repeat_offenders(job: HyperPodPyTorchJob, most: int) -> tuple[str, ...]:
    """The nodes with the most faults in the job's whole life, of equal ones the latest."""
    return tuple(_worst(faulty_nodes_of(job))[:most])


def _worst(counts: dict[str, int]) -> list[str]:
    latest_first = list(reversed(counts))
    return sorted(latest_first, key=lambda node: -counts[node])


def written(value: dict[str, Any]) -> str:
    """As it stands in an annotation; the order of keys shows what came last."""
    return msgspec.json.encode(value).decode()


def _read(job: HyperPodPyTorchJob, annotation: str, shape: type[T]) -> T:
    """Empty for what is malformed."""
    text = job.metadata.annotations.get(annotation, "{}")
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.DecodeError:
        return shape()
