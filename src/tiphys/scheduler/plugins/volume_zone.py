"""VolumeZone: volumes that carry the labels of a zone are used in that zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.scheduler.cluster_events import EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Verdict, Verdicts
from tiphys.scheduler.plugins.volume_base import VolumePlugin
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_ZONE_LABELS = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)


class _WantedZone(NamedTuple):
    label: str
    values: frozenset[str]


class VolumeZone(VolumePlugin):
    name = "VolumeZone"
    events = frozenset((EventKind.NODE_ADDED, EventKind.NODE_LABELS, EventKind.STORAGE))

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        wanted = self._wanted_zones(pod) if pod.claims else []
        if not wanted:
            return []
        rows = snapshot.rows_where(lambda node: _is_in(node, wanted))
        return [Verdict(rows, "node(s) had no available volume zone", unresolvable=True)]

    def _wanted_zones(self, pod: PodInfo) -> list[_WantedZone]:
        wanted = []
        for claim in self._lister.claims_of(pod.pod):
            volume = self._lister.volume_of(claim)
            if volume is not None:
                wanted += _zones_of(volume.metadata.labels)
        return wanted


def _zones_of(labels: Mapping[str, str]) -> list[_WantedZone]:
    # A volume that several zones reach names them as "a__b" (upstream's LabelZonesToSet).
    return [
        _WantedZone(label, frozenset(labels[label].split("__")))
        for label in _ZONE_LABELS
        if label in labels
    ]


def _is_in(node: core_v1.Node, wanted: Sequence[_WantedZone]) -> bool:
    """Whether a node is in all wanted zones. One without labels of zones is in any: its cluster has
    only one."""
    labels = node.metadata.labels
    if not any(label in labels for label in _ZONE_LABELS):
        return True
    return all(labels.get(zone.label) in zone.values for zone in wanted)
