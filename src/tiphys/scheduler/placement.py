"""Where a pod goes: every filter over every node, then every score over what is left. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins import plugins
from tiphys.scheduler.plugins.base import Floats, Plugin, PluginError, Verdict
from tiphys.scheduler.plugins.volumes import Stock
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


@dataclass
class Placement:
    """`node` is empty when nothing fits; then `reasons` counts nodes by why not, and `message` says it. `objectors` are
    the plugins that kept the pod from some node."""

    node: str = ""
    objectors: list[Plugin] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    total: int = 0
    unresolvable: Bools | None = None  # rows where the pod would not fit if others went; None: none
    refused: str = ""  # why it can be nowhere, whatever the nodes are like
    error: str = ""  # why nobody knows where it can be: the pod is tried again after a back-off
    preemption: str = ""  # what came of looking for pods that could make room

    @property
    def message(self) -> str:
        """As upstream's FitError, or the other error that there was."""
        if self.error:
            return self.error
        if not self.total:
            return "no nodes available to schedule pods"
        return f"{available(self.total, self.reasons, self.refused)} {self.preemption}".rstrip()

    def resolvable(self, view: Snapshot) -> Bools:
        """The rows where the going of other pods may help."""
        if self.refused:
            return np.zeros(len(view.alive), np.bool_)
        return view.alive if self.unresolvable is None else view.alive & ~self.unresolvable

    def copy(self) -> Placement:
        return replace(self, objectors=list(self.objectors), reasons=dict(self.reasons))

    def reject(self, plugin: Plugin, verdict: Verdict, failing: Bools, count: int) -> None:
        """A plugin has kept the pod from `count` nodes, the rows `failing`."""
        self.reasons[verdict.reason] = self.reasons.get(verdict.reason, 0) + count
        if plugin not in self.objectors:
            self.objectors.append(plugin)
        if verdict.unresolvable is not False:
            hopeless = failing if verdict.unresolvable is True else failing & verdict.unresolvable
            self.unresolvable = (
                hopeless if self.unresolvable is None else self.unresolvable | hopeless
            )


def available(total: int, reasons: Mapping[str, int], refused: str = "") -> str:
    """How upstream says that of `total` nodes none is available, and why."""
    parts = refused or ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{total} nodes are available:{f' {parts}.' if parts else ''}"


def _blamed(plugin: Plugin, error: PluginError) -> PluginError:
    """The error, and which plugin it comes from."""
    return PluginError(f'running "{plugin.name}" filter plugin: {error}')


@dataclass
class _Shared:
    """What pods of one static key have in common, as long as the nodes' `generation` is the same: how far plugins that
    look at nodes alone (they come first) would have them, and what these give as raw scores."""

    generation: int
    placement: Placement
    feasible: Bools
    count: int
    scores: list[Floats | None]


class Placer:
    """Keeps what pods that are alike have in common between one placement and the next."""

    def __init__(self, view: Snapshot, chain: tuple[Plugin, ...] | None = None) -> None:
        self._view = view
        self._plugins = chain if chain is not None else plugins(Stock())
        self.names = frozenset(plugin.name for plugin in self._plugins)
        self._refusing = [p for p in self._plugins if type(p).refuse is not Plugin.refuse]
        self._narrowing = [p for p in self._plugins if type(p).narrow is not Plugin.narrow]
        self._static = [p for p in self._plugins if p.static]
        self._filtering = [
            p for p in self._plugins if not p.static and type(p).filter is not Plugin.filter
        ]
        self._scoring = [(index, p) for index, p in enumerate(self._plugins) if p.weight]
        self._known: OrderedDict[bytes, _Shared] = OrderedDict()
        self._turn = 0

    def place(self, pod: PodInfo, nominated: str = "") -> Placement:
        """Where the pod fits best. On the `nominated` node, if it fits there: room was made for it there."""
        placement, feasible, scores = self.survey(pod)
        if scores is not None:
            row = self._view.row.get(nominated, -1)
            placement.node = self._view.names[
                row if row >= 0 and feasible[row] else self.best(feasible, scores)
            ]
        return placement

    def survey(self, pod: PodInfo, reasons: bool = False) -> tuple[Placement, Bools, Floats | None]:
        """(what was found, the rows that fit, the score of each row; None when none fits). Why others do not fit is found
        out when none does, or when the `reasons` are wanted."""
        view = self._view
        if not view.row:
            return Placement(), view.alive, None
        for plugin in self._refusing:
            if why := plugin.refuse(view, pod):
                return (
                    Placement(objectors=[plugin], total=len(view.row), refused=why),
                    view.alive,
                    None,
                )
        shared = self._shared(pod)
        placement, feasible = Placement(total=len(view.row)), shared.feasible
        try:
            if shared.count and not reasons:
                feasible = self._passing(pod, feasible)
                if feasible.any():
                    return placement, feasible, self._scores(pod, feasible, shared.scores)
            placement = shared.placement.copy()
            feasible, count = self._filtered(pod, placement, shared.feasible, shared.count)
        except PluginError as error:
            placement.error = str(error)
            return placement, feasible, None
        return placement, feasible, self._scores(pod, feasible, shared.scores) if count else None

    def _passing(self, pod: PodInfo, feasible: Bools) -> Bools:
        """The rows of `feasible` that fit. Raises PluginError."""
        for plugin in self._filtering:
            try:
                rows = plugin.passing(self._view, pod, feasible)
            except PluginError as error:
                raise _blamed(plugin, error) from None
            if rows is not None:
                feasible = feasible & rows
        return feasible

    def _filtered(
        self, pod: PodInfo, placement: Placement, feasible: Bools, count: int
    ) -> tuple[Bools, int]:
        """(the rows of `feasible` that fit, how many). Raises PluginError."""
        for plugin in self._filtering:
            if not count:
                break
            feasible, count = self._judged(plugin, pod, placement, feasible, count)
        return feasible, count

    def _judged(
        self, plugin: Plugin, pod: PodInfo, placement: Placement, among: Bools, count: int
    ) -> tuple[Bools, int]:
        """(the rows of `among` that one plugin lets pass, how many)."""
        try:
            verdicts = plugin.filter(self._view, pod, among)
        except PluginError as error:
            raise _blamed(plugin, error) from None
        passing, passes = among, count
        for verdict in verdicts:
            left = passing & verdict.rows
            number = int(np.count_nonzero(left))
            if number < passes or (plugin.cumulative and passes < count):
                failing = (among if plugin.cumulative else passing) & ~verdict.rows
                if failures := int(np.count_nonzero(failing)):
                    placement.reject(plugin, verdict, failing, failures)
            passing, passes = left, number
        return passing, passes

    def fits(self, pod: PodInfo, row: int) -> bool:
        """Whether the pod fits on one row now. Raises PluginError."""
        if not self._shared(pod).feasible[row]:
            return False
        only = np.zeros(len(self._view.alive), np.bool_)
        only[row] = True
        return bool(self._passing(pod, only)[row])

    def obstacles(self, pod: PodInfo, row: int) -> list[str]:
        """Why the pod does not fit on one row now; empty: it does. Raises PluginError."""
        shared, placement = self._shared(pod), Placement()
        if not shared.feasible[row]:
            return list(shared.placement.reasons)
        only = np.zeros(len(self._view.alive), np.bool_)
        only[row] = True
        self._filtered(pod, placement, only, 1)
        return list(placement.reasons)

    def _shared(self, pod: PodInfo) -> _Shared:
        found = self._known.get(pod.static_key)
        if found is None or found.generation != self._view.generation:
            found = self._known[pod.static_key] = self._survey_nodes(pod)
            if len(self._known) > 512:
                self._known.popitem(last=False)
        return found

    def _survey_nodes(self, pod: PodInfo) -> _Shared:
        view = self._view
        placement, feasible, count = (
            Placement(total=len(view.row)),
            view.alive.copy(),
            len(view.row),
        )
        for plugin in self._narrowing:
            if (names := plugin.narrow(pod)) is not None:
                if not names:
                    placement.refused, count, feasible = (
                        "pod affinity terms conflict",
                        0,
                        feasible & False,
                    )
                    placement.objectors.append(plugin)
                    break
                rows = np.zeros(len(view.names), np.bool_)
                rows[[view.row[name] for name in names if name in view.row]] = True
                verdict = Verdict(rows, f"node(s) didn't satisfy plugin(s) [{plugin.name}]", True)
                failing, feasible = feasible & ~rows, feasible & rows
                if missed := int(np.count_nonzero(failing)):
                    placement.reject(plugin, verdict, failing, missed)
                count -= missed
        for plugin in self._static:
            feasible, count = self._judged(plugin, pod, placement, feasible, count)
        scores = [
            p.score(view, pod, feasible) if p.static and p.weight else None for p in self._plugins
        ]
        return _Shared(view.generation, placement, feasible, count, scores)

    def _scores(self, pod: PodInfo, feasible: Bools, shared: list[Floats | None]) -> Floats:
        total = np.zeros(len(feasible))
        for index, plugin in self._scoring:
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
