"""NodePorts: host ports of pods on one node must not clash."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.machinery.footprint import Port, clash
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Plugin, Verdict, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


class NodePorts(Plugin):
    name = "NodePorts"
    events = frozenset((EventKind.NODE_ADDED, EventKind.POD_DELETED))

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not pod.ports:
            return []
        rows = snapshot.all_rows()
        for row, ports_by_pod in snapshot.ports.items():
            rows[row] = not any(_clash(pod.ports, ports) for ports in ports_by_pod.values())
        return [Verdict(rows, "node(s) didn't have free ports for the requested pod ports")]

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        if event.kind == EventKind.NODE_ADDED:
            return True
        return event.pod is not None and _clash(pod.ports, event.pod.ports)


def _clash(wanted: Iterable[Port], used: Iterable[Port]) -> bool:
    return any(clash(port, used_port) for used_port in used for port in wanted)
