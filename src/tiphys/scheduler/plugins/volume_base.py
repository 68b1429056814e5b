"""What the plugins that look at volumes have in common."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.plugins.base import Plugin
from tiphys.scheduler.plugins.volume_lister import VolumeLister
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


class VolumePlugin(Plugin):
    """A plugin that filters by what the volume lister knows."""

    def __init__(self, lister: VolumeLister) -> None:
        super().__init__()
        self._lister = lister

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        """Claims of other pods do not help."""
        if event.kind == EventKind.POD_DELETED:
            return event.pod is None or self._frees_volumes(event.pod, pod)
        if not isinstance(event.obj, core_v1.PersistentVolumeClaim):
            return True
        claim = event.obj.metadata
        return claim.namespace == pod.namespace and claim.name in pod.claims

    def _frees_volumes(self, deleted: PodInfo, pod: PodInfo) -> bool:
        """Whether a deleted pod used what the pod needs."""
        return True
