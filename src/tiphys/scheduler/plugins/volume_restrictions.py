"""VolumeRestrictions: volumes that only one pod, or pods of one node, may use at a time."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.scheduler.cluster_events import EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Verdict, Verdicts
from tiphys.scheduler.plugins.volume_base import VolumePlugin
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_CLAIM_IN_USE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
    "already in-use by another pod"
)
_DISK_IN_USE = "node(s) had no available disk"


class VolumeRestrictions(VolumePlugin):
    name = "VolumeRestrictions"
    events = frozenset((EventKind.NODE_ADDED, EventKind.POD_DELETED, EventKind.STORAGE))

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not pod.spec.volumes:
            return []
        verdicts = []
        claims = self._lister.claims_of(pod.pod) if pod.claims else []
        if any(_is_in_use(snapshot, pod, claim) for claim in claims):
            verdicts.append(Verdict(snapshot.no_rows(), _CLAIM_IN_USE))
        if pod.disks:
            verdicts.append(Verdict(_rows_without_conflict(snapshot, pod), _DISK_IN_USE))
        return verdicts

    def _frees_volumes(self, deleted: PodInfo, pod: PodInfo) -> bool:
        if deleted.namespace == pod.namespace and set(deleted.claims) & set(pod.claims):
            return True
        return bool({disk.id for disk in deleted.disks} & {disk.id for disk in pod.disks})


def _is_in_use(snapshot: Snapshot, pod: PodInfo, claim: core_v1.PersistentVolumeClaim) -> bool:
    """Whether a claim that one pod alone may use is used by another one."""
    if "ReadWriteOncePod" not in claim.spec.access_modes:
        return False
    return any(
        other.namespace == pod.namespace
        and other.uid != pod.uid
        and claim.metadata.name in other.claims
        for _, other in snapshot.pods.values()
        if other.claims
    )


def _rows_without_conflict(snapshot: Snapshot, pod: PodInfo) -> Bools:
    """The nodes where no pod uses the same disk, unless both only read it."""
    read_only = {disk.id: disk.read_only for disk in pod.disks}
    rows = snapshot.all_rows()
    for row, other in snapshot.pods.values():
        for disk in other.disks:
            if disk.id in read_only and not (disk.read_only and read_only[disk.id]):
                rows[row] = False
    return rows
