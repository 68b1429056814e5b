"""Where a pod goes: every filter over every node, then every score over what is left. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from tiphys.scheduler.plugins import plugins
from tiphys.scheduler.plugins.base import Floats, Plugin, Verdicts
from tiphys.scheduler.plugins.volumes import Stock
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Bools, Snapshot


@dataclass
class Placement:
    """`node` is empty when nothing fits; then `reasons` counts nodes by why not, and `message` says it. `objectors` are
    the plugins that kept the pod from some node."""

    node: str = ""
    objectors: list[Plugin] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    total: int = 0
    refused: str = ""  # why it can be nowhere, whatever the nodes are like
    preemption: str = ""  # what came of looking for pods that could make room

    @property
    def message(self) -> str:
        head = f"0/{self.total} nodes are available"
        if self.refused:
            return f"{head}: {self.refused}. {self.preemption}".rstrip()
        if not self.reasons:
            return "no nodes available to schedule pods" if not self.total else head
        parts = ", ".join(sorted(f"{count} {reason}" for reason, count in self.reasons.items()))
        return f"{head}: {parts}. {self.preemption}".rstrip()


class Placer:
    """Keeps what pods that are alike have in common between one placement and the next."""

    def __init__(self, view: Snapshot, chain: tuple[Plugin, ...] | None = None) -> None:
        self._view = view
        self._plugins = chain if chain is not None else plugins(Stock())
        self.names = frozenset(plugin.name for plugin in self._plugins)
        self._refusing = [p for p in self._plugins if type(p).refuse is not Plugin.refuse]
        self._static: OrderedDict[bytes, tuple[int, list[Verdicts], list[Floats | None]]] = OrderedDict()
        self._turn = 0

    def place(self, pod: PodInfo) -> Placement:
        placement, feasible, scores = self.survey(pod)
        if scores is not None:
            placement.node = self._view.names[self.best(feasible, scores)]
        return placement

    def survey(self, pod: PodInfo) -> tuple[Placement, Bools, Floats | None]:
        """(what was found, the rows that fit, the score of each row; None when none fits)."""
        view = self._view
        feasible = view.alive.copy()
        placement = Placement(total=int(view.alive.sum()))
        for plugin in self._refusing:
            if why := plugin.refuse(view, pod):
                placement.refused, placement.objectors = why, [plugin]
                return placement, feasible, None
        shared = self._shared(pod)
        for index, plugin in enumerate(self._plugins):
            verdicts = shared[0][index] if plugin.static else plugin.filter(view, pod)
            before = feasible
            for rows, reason in verdicts:
                failing = int((before & ~rows).sum())
                if failing:
                    placement.reasons[reason] = placement.reasons.get(reason, 0) + failing
                    if plugin not in placement.objectors:
                        placement.objectors.append(plugin)
                    feasible = feasible & rows
            if not feasible.any():
                return placement, feasible, None
        return placement, feasible, self._scores(pod, feasible, shared[1])

    def statically_possible(self, pod: PodInfo) -> Bools:
        """Rows that the pod could be on as far as the nodes themselves and its volumes are concerned, whoever is there."""
        rows, shared = self._view.alive.copy(), self._shared(pod)[0]
        if any(plugin.refuse(self._view, pod) for plugin in self._refusing):
            return rows & False
        for index, plugin in enumerate(self._plugins):
            for passing, _ in shared[index] if plugin.preemptible else plugin.filter(self._view, pod):
                rows &= passing
        return rows

    def fits(self, pod: PodInfo, row: int) -> bool:
        """Whether the pod fits on one row now."""
        shared = self._shared(pod)
        for index, plugin in enumerate(self._plugins):
            for rows, _ in shared[0][index] if plugin.static else plugin.filter(self._view, pod):
                if not rows[row]:
                    return False
        return True

    def _shared(self, pod: PodInfo) -> tuple[list[Verdicts], list[Floats | None]]:
        """The verdicts and raw scores of plugins that look at nodes alone."""
        found = self._static.get(pod.static_key)
        if found is None or found[0] != self._view.generation:
            verdicts = [plugin.filter(self._view, pod) if plugin.static else [] for plugin in self._plugins]
            feasible = self._view.alive.copy()
            for rows in (rows for verdict in verdicts for rows, _ in verdict):
                feasible &= rows
            scores = [p.score(self._view, pod, feasible) if p.static and p.weight else None for p in self._plugins]
            found = self._static[pod.static_key] = (self._view.generation, verdicts, scores)
            if len(self._static) > 512:
                self._static.popitem(last=False)
        return found[1], found[2]

    def _scores(self, pod: PodInfo, feasible: Bools, shared: list[Floats | None]) -> Floats:
        total = np.zeros(len(feasible))
        for index, plugin in enumerate(self._plugins):
            if plugin.weight:
                raw = shared[index] if plugin.static else plugin.score(self._view, pod, feasible)
                score = None if raw is None else plugin.normalize(raw, feasible)
                if score is not None:
                    total += plugin.weight * score
        return total

    def best(self, feasible: Bools, scores: Floats) -> int:
        """The row with the highest score."""
        scores[~feasible] = -1.0
        best = np.flatnonzero(scores >= scores.max() - 1e-9)
        self._turn += 1  # equals take turns
        return int(best[self._turn % len(best)])
