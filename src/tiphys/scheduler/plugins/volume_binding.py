"""VolumeBinding: a pod goes where its volumes can be reached, and where claims that wait for it can
get theirs."""

from __future__ import annotations

from typing import NamedTuple

from tiphys.api import core_v1, storage_v1
from tiphys.machinery import volumes
from tiphys.machinery.quantity import nano
from tiphys.machinery.selectors import from_label_selector
from tiphys.scheduler.cluster_events import EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Verdict, Verdicts
from tiphys.scheduler.plugins.volume_base import VolumePlugin
from tiphys.scheduler.plugins.volume_lister import NO_PROVISIONER
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
_BIND_CONFLICT = "node(s) didn't find available persistent volumes to bind"
_NOT_ENOUGH_SPACE = "node(s) did not have enough free storage"
_VOLUME_MISSING = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"


class _ClaimVerdict(NamedTuple):
    rows: Bools
    reason: str


class VolumeBinding(VolumePlugin):
    name = "VolumeBinding"
    reports_all_reasons = True
    events = frozenset((EventKind.NODE_ADDED, EventKind.NODE_LABELS, EventKind.STORAGE))

    def pre_filter(self, snapshot: Snapshot, pod: PodInfo) -> str:
        for name in pod.claims:
            claim = self._lister.claim(f"{pod.namespace}/{name}")
            if claim is None:
                return _missing(pod, name)
            if claim.status.phase == "Lost":
                return (
                    f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume '
                    f'"{claim.spec.volume_name}"'
                )
            if claim.metadata.deletion_timestamp:
                return f'persistentvolumeclaim "{name}" is being deleted'
        if not pod.claims:
            return ""
        for claim in self._lister.unbound_claims_of(pod.pod):
            if not self._lister.waits_for_first_consumer(claim):
                return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not pod.claims:
            return []
        rows: dict[str, Bools] = {}  # by reason: several claims may be rejected for the same
        for claim in self._lister.claims_of(pod.pod):
            if volumes.is_bound(claim):
                verdicts = self._filter_bound(snapshot, claim)
            else:
                verdicts = self._filter_unbound(snapshot, claim)
            for passing, reason in verdicts:
                rows[reason] = rows[reason] & passing if reason in rows else passing
        return [Verdict(passing, reason, unresolvable=True) for reason, passing in rows.items()]

    def _filter_bound(
        self, snapshot: Snapshot, claim: core_v1.PersistentVolumeClaim
    ) -> list[_ClaimVerdict]:
        volume = self._lister.volume_of(claim)
        if volume is None:
            return [_ClaimVerdict(snapshot.no_rows(), _VOLUME_MISSING)]
        if volume.spec.node_affinity is None:
            return []
        rows = snapshot.rows_where(lambda node: volumes.reachable(volume, node))
        return [_ClaimVerdict(rows, _NODE_CONFLICT)]

    def _filter_unbound(
        self, snapshot: Snapshot, claim: core_v1.PersistentVolumeClaim
    ) -> list[_ClaimVerdict]:
        selected_node = claim.metadata.annotations.get(volumes.SELECTED_NODE)
        if selected_node:
            # Its volume is being provisioned for that node.
            return [_ClaimVerdict(snapshot.rows_named([selected_node]), _BIND_CONFLICT)]
        with_volume = self._rows_with_free_volume(snapshot, claim)
        storage_class = self._lister.class_of(claim)
        if storage_class is None or storage_class.provisioner == NO_PROVISIONER:
            return [_ClaimVerdict(with_volume, _BIND_CONFLICT)]
        verdicts = []
        if storage_class.allowed_topologies:
            allowed = snapshot.rows_where(lambda node: volumes.allowed(storage_class, node))
            verdicts.append(_ClaimVerdict(with_volume | allowed, _BIND_CONFLICT))
        driver = self._lister.csi_driver(storage_class.provisioner)
        if driver is not None and driver.spec.storage_capacity:
            with_space = self._rows_with_capacity(snapshot, claim, storage_class)
            verdicts.append(_ClaimVerdict(with_volume | with_space, _NOT_ENOUGH_SPACE))
        return verdicts

    def _rows_with_free_volume(
        self, snapshot: Snapshot, claim: core_v1.PersistentVolumeClaim
    ) -> Bools:
        free = [
            volume
            for volume in self._lister.volumes()
            if volume.spec.claim_ref is None or volumes.reserved_for(volume, claim)
        ]
        return snapshot.rows_where(lambda node: volumes.best(free, claim, node) is not None)

    def _rows_with_capacity(
        self,
        snapshot: Snapshot,
        claim: core_v1.PersistentVolumeClaim,
        storage_class: storage_v1.StorageClass,
    ) -> Bools:
        """The nodes where the driver reports capacity for the claim."""
        size = nano(claim.spec.resources.requests.get("storage", "0"))
        selectors = []
        for capacity in self._lister.capacities():
            if capacity.storage_class_name != storage_class.metadata.name:
                continue
            selector = from_label_selector(capacity.node_topology)
            if selector is not None and _provides(capacity, size):
                selectors.append(selector)
        return snapshot.rows_where(
            lambda node: any(selector.matches(node.metadata.labels) for selector in selectors),
        )


def _provides(capacity: storage_v1.CSIStorageCapacity, size: int) -> bool:
    """Whether a volume of so many nano-bytes can be made. The largest volume counts where the
    driver reports it."""
    available = capacity.maximum_volume_size
    if available is None:
        available = capacity.capacity
    return available is not None and nano(available) >= size


def _missing(pod: PodInfo, claim_name: str) -> str:
    """Why a claim does not exist: those of ephemeral volumes are created after the pod."""
    ephemeral = (volume for volume in pod.spec.volumes if volume.ephemeral is not None)
    if any(claim_name == f"{pod.pod.metadata.name}-{volume.name}" for volume in ephemeral):
        return (
            "waiting for ephemeral volume controller to create the persistentvolumeclaim "
            f'"{claim_name}"'
        )
    return f'persistentvolumeclaim "{claim_name}" not found'
