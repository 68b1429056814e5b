"""Whether a node has room, and which node it leaves in the best shape."""

from __future__ import annotations

import numpy as np

from tiphys.scheduler.plugins.base import Floats, Plugin, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Bools, Snapshot


class NodeResourcesFit(Plugin):
    """Room for the requests; scores what stays free (least allocated)."""

    name = "NodeResourcesFit"

    def filter(self, view: Snapshot, pod: PodInfo) -> Verdicts:
        verdicts: Verdicts = [(view.requested[3] + 1 <= view.allocatable[3], "Too many pods")]
        for name, value in pod.requests.items():
            if not value:
                continue
            at = view.resources.get(name)
            free = np.zeros(len(view.names), np.int64) if at is None else view.allocatable[at] - view.requested[at]
            verdicts.append((value <= free, f"Insufficient {name}"))
        return verdicts

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        total = np.zeros(len(view.names))
        for at in (0, 1):
            size = view.allocatable[at]
            free = size - view.scored[at] - pod.scored[at]
            with np.errstate(divide="ignore", invalid="ignore"):
                total += np.where((size > 0) & (free > 0), free * 100 // np.maximum(size, 1), 0)
        return np.floor(total / 2)


class BalancedAllocation(Plugin):
    """Prefers nodes whose cpu and memory would be used in like measure."""

    name = "NodeResourcesBalancedAllocation"

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        if not pod.requests:
            return None
        fractions = []
        for at in (0, 1):
            size = np.maximum(view.allocatable[at], 1)
            asked = pod.requests.get("cpu" if at == 0 else "memory", 0)
            fractions.append(np.minimum((view.requested[at] + asked) / size, 1.0))
        return np.floor((1 - np.abs(fractions[0] - fractions[1]) / 2) * 100)
