"""NodeVolumeLimits: how many volumes of a CSI driver can be attached to a node."""

from __future__ import annotations

from collections.abc import Container, Mapping

from tiphys.scheduler.cluster_events import EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Verdict, Verdicts
from tiphys.scheduler.plugins.volume_base import VolumePlugin
from tiphys.scheduler.plugins.volume_lister import CSIVolume
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_Limits = Mapping[str, int]  # volumes by driver


class NodeVolumeLimits(VolumePlugin):
    name = "NodeVolumeLimits"
    events = frozenset((EventKind.NODE_ADDED, EventKind.POD_DELETED, EventKind.STORAGE))

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not pod.claims:
            return []
        wanted = set(self._lister.csi_volumes_of(pod.pod))
        if not wanted:
            return []
        drivers = {volume.driver for volume in wanted}
        limits = {
            row: limits_of_node
            for row, node in snapshot.live_nodes()
            if (limits_of_node := self._limits_of(node.metadata.name, drivers))
        }
        if not limits:
            return []
        attached = self._attached_volumes(snapshot, limits)
        rows = snapshot.all_rows()
        for row, limits_of_node in limits.items():
            rows[row] = _within(limits_of_node, attached[row] | wanted)
        return [Verdict(rows, "node(s) exceed max volume count")]

    def _frees_volumes(self, deleted: PodInfo, pod: PodInfo) -> bool:
        return bool(deleted.claims)

    def _limits_of(self, node_name: str, drivers: Container[str]) -> _Limits:
        csi_node = self._lister.csi_node(node_name)
        limits: dict[str, int] = {}
        for driver in csi_node.spec.drivers if csi_node is not None else ():
            if driver.name not in drivers or driver.allocatable is None:
                continue
            if driver.allocatable.count is not None:
                limits[driver.name] = driver.allocatable.count
        return limits

    def _attached_volumes(
        self, snapshot: Snapshot, rows: Mapping[int, _Limits]
    ) -> dict[int, set[CSIVolume]]:
        """The volumes that the pods on some rows need."""
        attached: dict[int, set[CSIVolume]] = {row: set() for row in rows}
        for row, pod in snapshot.pods.values():
            if row in attached and pod.claims:
                attached[row].update(self._lister.csi_volumes_of(pod.pod))
        return attached


def _within(limits: _Limits, volumes: set[CSIVolume]) -> bool:
    for driver, limit in limits.items():
        if sum(volume.driver == driver for volume in volumes) > limit:
            return False
    return True
