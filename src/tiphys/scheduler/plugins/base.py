"""What a plugin is: columns in, a column out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tiphys.scheduler.changes import Change
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

Floats = Any  # npt.NDArray[np.float64]; numpy's own types are too narrow for mixed arithmetic


class Verdict(NamedTuple):
    """The `rows` that pass, and the `reason` why the others do not. `unresolvable`: those that fail would still fail if
    all pods there went (upstream's UnschedulableAndUnresolvable); True for all of them, or the rows where it is so."""

    rows: Bools
    reason: str
    unresolvable: bool | Bools = False


Verdicts = list[Verdict]


class PluginError(Exception):
    """A plugin cannot tell; the pod is tried again after a back-off. Upstream's status Error."""


class Plugin:
    """`weight` 0: the plugin does not score. `static`: its filter looks at nodes alone, so pods that are alike share it.
    `hints`: the kinds of changes that can make a pod fit that the plugin's filter kept from some node. `cumulative`: all
    reasons of a node are told, not the first one alone."""

    name = ""
    static = False
    hints: frozenset[str] = frozenset()
    cumulative = False

    def __init__(self, weight: int = 0) -> None:
        self.weight = weight

    def refuse(self, view: Snapshot, pod: PodInfo) -> str:
        """Why the pod can be nowhere, whatever the nodes are like; empty: it may."""
        return ""

    def narrow(self, pod: PodInfo) -> frozenset[str] | None:
        """The names of the only nodes that a pod may be on (upstream's PreFilterResult); None: nothing is said. Pods of
        one static key are alike in it."""
        return None

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        """A verdict for each reason there may be; empty: everything passes. Only what is said of the rows `among` counts:
        a plugin that takes long for a row need not look at others. Raises PluginError."""
        return []

    def passing(self, view: Snapshot, pod: PodInfo, among: Bools) -> Bools | None:
        """The rows that `filter` lets pass, None: all do. For plugins that know these sooner than the reasons, which are
        asked for when a pod fits nowhere."""
        verdicts = self.filter(view, pod, among)
        if not verdicts:
            return None
        rows = verdicts[0].rows
        for verdict in verdicts[1:]:
            rows = rows & verdict.rows
        return rows

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        """Whether a change, of a kind among the hints, may let the plugin's filter pass a pod somewhere that it kept from
        there. When in doubt, yes: a pod that is not tried again waits for minutes."""
        return True

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        """0 to 100 for each row, or what `normalize` makes that of; None: all alike. Of a static plugin, pods that are
        alike share it."""
        return None

    def normalize(self, raw: Floats, feasible: Bools) -> Floats | None:
        """0 to 100 for each row, from what `score` gave, as it compares with the rows that fit; None: all alike."""
        return raw


class ScoreOnly(Plugin):
    """A plugin whose filter a profile has disabled."""

    def __init__(self, inner: Plugin) -> None:
        super().__init__(inner.weight)
        self.name, self.static = inner.name, inner.static
        self.score, self.normalize = inner.score, inner.normalize  # type: ignore[method-assign]


def stretched(raw: Floats, feasible: Bools, reverse: bool = False) -> Floats | None:
    """Whole scores, scaled so that the best feasible row has 100."""
    highest = raw[feasible].max(initial=0.0)
    if highest <= 0:
        return None
    scaled = np.floor(raw * 100.0 / highest)
    return 100.0 - scaled if reverse else scaled
