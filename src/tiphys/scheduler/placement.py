"""What came of looking for a node for a pod. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tiphys.scheduler.cluster_events import ClusterEvent
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Plugin, Verdict
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.queue import QueueingHint
from tiphys.scheduler.snapshot import Snapshot


@dataclass
class Placement:
    """The node of a pod, or the diagnosis of why it has none (upstream's `ScheduleResult` and
    `Diagnosis`).

    `node` is empty when the pod fits nowhere. Then `reasons` counts nodes by why they were
    rejected, of `node_count`; `unschedulable_plugins` are the plugins that rejected some node,
    whose queueing hints say what may help the pod. `unresolvable_rows` are the nodes where the pod
    would not fit if pods there were preempted (None: no such node).
    """

    node: str = ""
    node_count: int = 0
    unschedulable_plugins: list[Plugin] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    unresolvable_rows: Bools | None = None
    pre_filter_message: str = ""  # why the pod fits on no node, whatever the nodes are like
    post_filter_message: str = ""  # what came of preemption
    error: str = ""  # why it is not known where the pod fits: it is tried again after a back-off

    @property
    def message(self) -> str:
        """In the words of upstream's `FitError`, or the error."""
        if self.error:
            return self.error
        if not self.node_count:
            return "no nodes available to schedule pods"
        summary = fit_error(self.node_count, self.reasons, self.pre_filter_message)
        return f"{summary} {self.post_filter_message}".rstrip()

    def reject(self, plugin: Plugin, verdict: Verdict, rejected: Bools, count: int) -> None:
        """Adds the `count` nodes that a verdict of the plugin rejects."""
        self.reasons[verdict.reason] = self.reasons.get(verdict.reason, 0) + count
        if plugin not in self.unschedulable_plugins:
            self.unschedulable_plugins.append(plugin)
        if verdict.unresolvable is True:
            self.add_unresolvable(rejected)
        elif verdict.unresolvable is not False:
            self.add_unresolvable(rejected & verdict.unresolvable)

    def add_unresolvable(self, rows: Bools) -> None:
        known = self.unresolvable_rows
        # Rows that were added meanwhile make the known ones obsolete.
        if known is None or len(known) != len(rows):
            self.unresolvable_rows = rows
        else:
            self.unresolvable_rows = known | rows

    def resolvable_rows(self, snapshot: Snapshot) -> Bools:
        """The nodes where preemption may help."""
        if self.pre_filter_message:
            return snapshot.no_rows()
        if self.unresolvable_rows is None:
            return snapshot.alive
        return snapshot.alive & ~self.unresolvable_rows

    def queueing_hint(self, snapshot: Snapshot, pod: PodInfo) -> QueueingHint | None:
        """Which events may help the pod: those that a rejecting plugin's hint accepts.
        None when that is not known, so that any event may help."""
        plugins = tuple(self.unschedulable_plugins)
        if not plugins:
            return None

        def may_help(event: ClusterEvent) -> bool:
            return any(
                event.kind in plugin.events and plugin.queueing_hint(event, snapshot, pod)
                for plugin in plugins
            )

        return may_help

    def copy(self) -> Placement:
        return replace(
            self,
            unschedulable_plugins=list(self.unschedulable_plugins),
            reasons=dict(self.reasons),
        )


def fit_error(node_count: int, reasons: Mapping[str, int], pre_filter_message: str = "") -> str:
    """That of all nodes none is available, and why: upstream's sentence."""
    if pre_filter_message:
        details = pre_filter_message
    else:
        details = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    available = f"0/{node_count} nodes are available:"
    return f"{available} {details}." if details else available
