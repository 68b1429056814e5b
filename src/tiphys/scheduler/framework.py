"""The framework: runs the plugins of a profile at their extension points, over all nodes at once.
Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tiphys.scheduler.counting import Bools
from tiphys.scheduler.placement import Placement
from tiphys.scheduler.plugins.base import Floats, Plugin, PluginError, Verdict
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_REMEMBERED_KEYS = 512
# Scores closer than this are equal: sums of floats differ in their last bits.
_TIE = 1e-9


class Candidates(NamedTuple):
    """The rows that have passed so far, and how many they are."""

    rows: Bools
    size: int


class Evaluation(NamedTuple):
    """What pre-filter, filter and score say of a pod.

    `feasible` are the rows where it fits, `scores` the weighted sum for each row. `scores` is None
    when the pod fits nowhere; then `placement` says why.
    """

    placement: Placement
    feasible: Bools
    scores: Floats | None


@dataclass
class _StaticResult:
    """What pods with equal static keys share while the snapshot's `generation` stays: what static
    plugins, which look at nodes alone, say of all nodes. `scores` has the raw scores of static
    plugins, None for others."""

    generation: int
    placement: Placement
    candidates: Candidates
    scores: list[Floats | None]


class Framework:
    """Keeps what pods that are alike have in common between one evaluation and the next."""

    def __init__(self, snapshot: Snapshot, plugins: Sequence[Plugin]) -> None:
        self._snapshot = snapshot
        self._plugins = tuple(plugins)
        self.plugin_names = frozenset(plugin.name for plugin in plugins)
        self._pre_filter_plugins = _overriding("pre_filter", plugins)
        self._pre_filter_nodes_plugins = _overriding("pre_filter_nodes", plugins)
        self._static_plugins = [plugin for plugin in plugins if plugin.static]
        self._filter_plugins = [
            plugin for plugin in _overriding("filter", plugins) if not plugin.static
        ]
        self._score_plugins = [
            (index, plugin) for index, plugin in enumerate(plugins) if plugin.weight
        ]
        self._static_results: OrderedDict[bytes, _StaticResult] = OrderedDict()
        self._ties_broken = 0

    # --- the extension points, in order ---

    def place(self, pod: PodInfo, nominated_node: str = "") -> Placement:
        """The best node of the pod: the nominated one, if it fits there, because room was made
        there for it."""
        evaluation = self.evaluate(pod)
        if evaluation.scores is not None:
            row = self._snapshot.row_of.get(nominated_node, -1)
            if row < 0 or not evaluation.feasible[row]:
                row = self.select_host(evaluation.feasible, evaluation.scores)
            evaluation.placement.node = self._snapshot.names[row]
        return evaluation.placement

    def evaluate(self, pod: PodInfo, explain: bool = False) -> Evaluation:
        """Runs pre-filter, filter and score.

        Why a node does not fit is only worked out when none does, or when `explain` asks for it:
        that takes longer.
        """
        snapshot = self._snapshot
        if not snapshot.row_of:
            return Evaluation(Placement(), snapshot.alive, None)
        rejection = self._run_pre_filter(pod)
        if rejection is not None:
            return Evaluation(rejection, snapshot.alive, None)
        static = self._static_result(pod)
        try:
            placement, candidates = self._run_filters(pod, static, explain)
        except PluginError as error:
            failed = Placement(node_count=len(snapshot.row_of), error=str(error))
            return Evaluation(failed, static.candidates.rows, None)
        if not candidates.size:
            return Evaluation(placement, candidates.rows, None)
        scores = self._run_scores(pod, candidates.rows, static.scores)
        return Evaluation(placement, candidates.rows, scores)

    def feasible(self, pod: PodInfo) -> Bools | None:
        """The rows where the pod fits now, None if a plugin rejects it everywhere: for who plans
        with nodes that are not there yet, without scores and reasons. Raises PluginError."""
        if self._run_pre_filter(pod) is not None:
            return None
        return self._feasible_rows(pod, self._static_result(pod).candidates.rows)

    def select_host(self, feasible: Bools, scores: Floats) -> int:
        """The feasible row with the highest score; rows with equal scores take turns. Changes
        `scores`."""
        scores[~feasible] = -1.0
        best_rows = (scores >= scores.max() - _TIE).nonzero()[0]
        self._ties_broken += 1
        return int(best_rows[self._ties_broken % len(best_rows)])

    # --- pre-filter ---

    def _run_pre_filter(self, pod: PodInfo) -> Placement | None:
        """The placement of a pod that a plugin rejects on all nodes."""
        for plugin in self._pre_filter_plugins:
            message = plugin.pre_filter(self._snapshot, pod)
            if message:
                return Placement(
                    node_count=len(self._snapshot.row_of),
                    unschedulable_plugins=[plugin],
                    pre_filter_message=message,
                )
        return None

    def _run_pre_filter_nodes(
        self, pod: PodInfo, placement: Placement, candidates: Candidates
    ) -> Candidates:
        snapshot = self._snapshot
        for plugin in self._pre_filter_nodes_plugins:
            names = plugin.pre_filter_nodes(pod)
            if names is None:
                continue
            if not names:
                placement.pre_filter_message = "pod affinity terms conflict"
                placement.unschedulable_plugins.append(plugin)
                return Candidates(snapshot.no_rows(), 0)
            verdict = Verdict(
                snapshot.rows_named(names),
                f"node(s) didn't satisfy plugin(s) [{plugin.name}]",
                unresolvable=True,
            )
            candidates = _apply(plugin, [verdict], placement, candidates)
        return candidates

    # --- filter ---

    def _run_filters(
        self, pod: PodInfo, static: _StaticResult, explain: bool
    ) -> tuple[Placement, Candidates]:
        """Raises PluginError."""
        if static.candidates.size and not explain:
            feasible = self._feasible_rows(pod, static.candidates.rows)
            count = int(np.count_nonzero(feasible))
            if count:
                placement = Placement(node_count=len(self._snapshot.row_of))
                return placement, Candidates(feasible, count)
        placement = static.placement.copy()
        return placement, self._explained_filters(pod, placement, static.candidates)

    def _feasible_rows(self, pod: PodInfo, among: Bools) -> Bools:
        """The rows of `among` where the pod fits. Raises PluginError."""
        for plugin in self._filter_plugins:
            try:
                rows = plugin.feasible_rows(self._snapshot, pod, among)
            except PluginError as error:
                raise _with_plugin_name(plugin, error) from None
            if rows is not None:
                among = among & rows
        return among

    def _explained_filters(
        self, pod: PodInfo, placement: Placement, candidates: Candidates
    ) -> Candidates:
        """The candidates where the pod fits; why not elsewhere is added to the placement. Raises
        PluginError."""
        for plugin in self._filter_plugins:
            if not candidates.size:
                break
            candidates = self._run_filter(plugin, pod, placement, candidates)
        return candidates

    def _run_filter(
        self, plugin: Plugin, pod: PodInfo, placement: Placement, candidates: Candidates
    ) -> Candidates:
        """Raises PluginError."""
        try:
            verdicts = plugin.filter(self._snapshot, pod, candidates.rows)
        except PluginError as error:
            raise _with_plugin_name(plugin, error) from None
        return _apply(plugin, verdicts, placement, candidates)

    def _static_result(self, pod: PodInfo) -> _StaticResult:
        result = self._static_results.get(pod.static_key)
        if result is None or result.generation != self._snapshot.generation:
            result = self._run_static_plugins(pod)
            self._static_results[pod.static_key] = result
            if len(self._static_results) > _REMEMBERED_KEYS:
                self._static_results.popitem(last=False)
        return result

    def _run_static_plugins(self, pod: PodInfo) -> _StaticResult:
        snapshot = self._snapshot
        placement = Placement(node_count=len(snapshot.row_of))
        candidates = Candidates(snapshot.alive.copy(), len(snapshot.row_of))
        candidates = self._run_pre_filter_nodes(pod, placement, candidates)
        for plugin in self._static_plugins:
            candidates = self._run_filter(plugin, pod, placement, candidates)
        scores: list[Floats | None] = [None] * len(self._plugins)
        for index, plugin in enumerate(self._plugins):
            if plugin.static and plugin.weight:
                scores[index] = plugin.score(snapshot, pod, candidates.rows)
        return _StaticResult(snapshot.generation, placement, candidates, scores)

    # --- score ---

    def _run_scores(
        self, pod: PodInfo, feasible: Bools, static_scores: list[Floats | None]
    ) -> Floats:
        total = np.zeros(len(feasible))
        for index, plugin in self._score_plugins:
            if plugin.static:
                raw = static_scores[index]
            else:
                raw = plugin.score(self._snapshot, pod, feasible)
            score = None if raw is None else plugin.normalize(raw, feasible)
            if score is not None:
                total += plugin.weight * score
        return total

    # --- one node, for preemption ---

    def fits(self, pod: PodInfo, row: int) -> bool:
        """Whether the pod passes the filters on one node now. Raises PluginError."""
        if not self._static_result(pod).candidates.rows[row]:
            return False
        return bool(self._feasible_rows(pod, self._only(row))[row])

    def rejection_reasons(self, pod: PodInfo, row: int) -> list[str]:
        """Why the pod does not fit on one node now; empty: it does. Raises PluginError."""
        static = self._static_result(pod)
        if not static.candidates.rows[row]:
            return list(static.placement.reasons)
        placement = Placement()
        self._explained_filters(pod, placement, Candidates(self._only(row), 1))
        return list(placement.reasons)

    def _only(self, row: int) -> Bools:
        rows = self._snapshot.no_rows()
        rows[row] = True
        return rows


def _overriding(method: str, plugins: Sequence[Plugin]) -> list[Plugin]:
    """The plugins that do something at an extension point."""
    default = getattr(Plugin, method)
    return [plugin for plugin in plugins if getattr(type(plugin), method) is not default]


def _apply(
    plugin: Plugin, verdicts: Sequence[Verdict], placement: Placement, candidates: Candidates
) -> Candidates:
    """The candidates that pass all verdicts of a plugin. The others are counted in the placement:
    each by the first verdict that rejects it, or by all of them where the plugin reports all
    reasons."""
    passing = candidates
    for verdict in verdicts:
        rows = passing.rows & verdict.rows
        count = int(np.count_nonzero(rows))
        judged = candidates if plugin.reports_all_reasons else passing
        if count < judged.size:
            rejected = judged.rows & ~verdict.rows
            rejected_count = int(np.count_nonzero(rejected))
            if rejected_count:
                placement.reject(plugin, verdict, rejected, rejected_count)
        passing = Candidates(rows, count)
    return passing


def _with_plugin_name(plugin: Plugin, error: PluginError) -> PluginError:
    return PluginError(f'running "{plugin.name}" filter plugin: {error}')
