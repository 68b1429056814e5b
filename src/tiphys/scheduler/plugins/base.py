"""What a scheduler plugin is: its extension points, each of which looks at all nodes at once.

Where upstream's plugins are asked about one node, ours return a column: an array with a value for
each row of the node snapshot. Values of rows that are not nodes (`Snapshot.alive`) do not matter.

The order of the extension points is that of `scheduler/cycle.py`. Upstream's reserve, permit,
pre-bind and bind are not methods here: only VolumeBinding and DynamicResources have something to do
there, and the cycle (`cycle.py`, `binding.py`) does that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

Floats = Any  # npt.NDArray[np.float64]; numpy's own types are too narrow for mixed arithmetic

MAX_NODE_SCORE = 100.0


class Verdict(NamedTuple):
    """One reason for which a filter may reject nodes: the `rows` that pass, and the `reason` for
    the others.

    `unresolvable` says where preemption would not help (upstream's UnschedulableAndUnresolvable):
    on all rejected rows (True), on none, or on the given ones.
    """

    rows: Bools
    reason: str
    unresolvable: bool | Bools = False


Verdicts = list[Verdict]


class PluginError(Exception):
    """A plugin cannot say whether a pod fits (upstream's status Error). The pod is tried again
    after a back-off."""


class Plugin:
    """The base of plugins. A subclass overrides the extension points where it has something to do.

    Plugins must not change the snapshot, the pod, or arrays that they are given. They must answer
    from what they know: nothing here may wait.
    """

    name = ""

    # The plugin looks at nothing but the nodes and at what is in `PodInfo.static_key`. Its filter
    # and score are then run once for pods with equal keys, until something of a node other than its
    # size changes.
    static = False

    # A node that the filter rejects for several reasons is counted under each of them, not under
    # the first one alone.
    reports_all_reasons = False

    # The cluster events that may make a pod schedulable which the plugin rejected (upstream's
    # EventsToRegister).
    events: frozenset[EventKind] = frozenset()

    def __init__(self, weight: int = 0) -> None:
        """`weight` is the factor of the plugin's score; 0: the plugin does not score."""
        self.weight = weight

    def pre_filter(self, snapshot: Snapshot, pod: PodInfo) -> str:
        """Runs first in a scheduling cycle, once for the pod. Returns why the pod fits on no node,
        whatever the nodes are like; empty if it may fit. A rejected pod is not filtered, and
        nothing is preempted for it."""
        return ""

    def pre_filter_nodes(self, pod: PodInfo) -> frozenset[str] | None:
        """Runs before the filters, and may narrow the nodes that they look at (upstream's
        PreFilterResult). Returns the names of the only nodes that the pod may be on, or None if it
        says nothing of that. An empty set rejects the pod.

        It must depend on what is in `PodInfo.static_key` alone.
        """
        return None

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        """Runs after pre-filter, in the order of the plugins. Returns a verdict for each reason
        that the plugin knows; a row passes when all verdicts let it pass, and an empty list lets
        all rows pass.

        Only rows of `among` matter: a plugin that takes long for a row need not look at others.
        Raises PluginError.
        """
        return []

    def feasible_rows(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Bools | None:
        """The rows that `filter` lets pass; None: all. Most pods fit somewhere, and then reasons
        are not needed: a plugin that knows the rows sooner than the reasons overrides this.
        Raises PluginError."""
        verdicts = self.filter(snapshot, pod, among)
        if not verdicts:
            return None
        rows = verdicts[0].rows
        for verdict in verdicts[1:]:
            rows = rows & verdict.rows
        return rows

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        """Runs when an event of one of the `events` comes while the pod, which the plugin's filter
        or pre-filter rejected, is unschedulable. The snapshot has the event already. Returns
        whether the plugin may now let the pod pass on some node that it rejected (upstream's Queue
        or QueueSkip).

        When in doubt it returns True: a pod that is not moved for want of a hint stays
        unschedulable for minutes.
        """
        return True

    def score(self, snapshot: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        """Runs when some row is feasible. Returns a score for each row: 0 to MAX_NODE_SCORE, or
        what `normalize` makes that of; None if all rows are alike. A static plugin must not look at
        `feasible`."""
        return None

    def normalize(self, raw: Floats, feasible: Bools) -> Floats | None:
        """Runs after `score`, for each pod, also of a static plugin. Returns scores of 0 to
        MAX_NODE_SCORE from the raw ones, as they compare with those of feasible rows; None if all
        rows are alike."""
        return raw


class ScoreOnly(Plugin):
    """A plugin whose filter a profile has disabled, but whose score it has not."""

    def __init__(self, inner: Plugin) -> None:
        super().__init__(inner.weight)
        self.name = inner.name
        self.static = inner.static
        self._inner = inner

    def score(self, snapshot: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        return self._inner.score(snapshot, pod, feasible)

    def normalize(self, raw: Floats, feasible: Bools) -> Floats | None:
        return self._inner.normalize(raw, feasible)


def normalized_by_maximum(raw: Floats, feasible: Bools, reverse: bool = False) -> Floats | None:
    """Whole scores, scaled so that the highest feasible one becomes MAX_NODE_SCORE, or 0 in
    `reverse` (upstream's DefaultNormalizeScore)."""
    highest = raw[feasible].max(initial=0.0)
    if highest <= 0:
        return None
    scaled = np.floor(raw * MAX_NODE_SCORE / highest)
    return MAX_NODE_SCORE - scaled if reverse else scaled
