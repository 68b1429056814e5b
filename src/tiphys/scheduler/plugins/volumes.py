"""Volumes: a pod goes where its volumes can be reached and attached, and claims that wait for it get theirs there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiphys.api import core_v1, storage_v1
from tiphys.machinery import volumes
from tiphys.machinery.quantity import nano
from tiphys.machinery.selectors import from_label_selector
from tiphys.scheduler.changes import NODE_ADDED, NODE_LABELS, POD_GONE, VOLUMES, Change
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Plugin, Verdict, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
_NONE_FITS = "node(s) didn't find available persistent volumes to bind"
_NO_ROOM = "node(s) did not have enough free storage"
_ALONE = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
_ZONES = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)


def _nothing(key: str) -> Any:
    return None


def _none() -> Iterable[Any]:
    return ()


@dataclass
class Stock:
    """What the scheduler knows of storage. Those that take a key look one object up, None: missing; the others give all."""

    claim: Callable[[str], core_v1.PersistentVolumeClaim | None] = _nothing
    volume: Callable[[str], core_v1.PersistentVolume | None] = _nothing
    kind: Callable[[str], storage_v1.StorageClass | None] = _nothing
    node: Callable[[str], storage_v1.CSINode | None] = _nothing
    driver: Callable[[str], storage_v1.CSIDriver | None] = _nothing
    volumes: Callable[[], Iterable[core_v1.PersistentVolume]] = _none
    capacities: Callable[[], Iterable[storage_v1.CSIStorageCapacity]] = _none

    def waits(self, claim: core_v1.PersistentVolumeClaim) -> bool:
        """Whether a claim is bound only when a pod that uses it has a node."""
        kind = self.kind(claim.spec.storage_class_name or "")
        return kind is not None and kind.volume_binding_mode == "WaitForFirstConsumer"

    def claims(self, pod: core_v1.Pod) -> list[core_v1.PersistentVolumeClaim]:
        """The claims of a pod that exist."""
        found = (self.claim(f"{pod.metadata.namespace}/{name}") for name in volumes.claims_of(pod))
        return [claim for claim in found if claim is not None]

    def waiting_claims(self, pod: core_v1.Pod) -> list[core_v1.PersistentVolumeClaim]:
        """The claims of a pod that must be bound before it is."""
        return [claim for claim in self.claims(pod) if not volumes.is_bound(claim)]

    def attached(self, pod: core_v1.Pod) -> Iterator[tuple[str, str]]:
        """(driver, what tells the volume from others) of each volume of a CSI driver that a pod needs on its node."""
        for claim in self.claims(pod):
            volume = self.volume(claim.spec.volume_name) if claim.spec.volume_name else None
            if volume is not None:
                if volume.spec.csi is not None:
                    yield volume.spec.csi.driver, volume.spec.csi.volume_handle
            elif (kind := self.kind(claim.spec.storage_class_name or "")) is not None:
                yield kind.provisioner, f"{claim.metadata.namespace}/{claim.metadata.name}"


def _rows(view: Snapshot, good: Callable[[core_v1.Node], bool]) -> Bools:
    return np.array([node is not None and good(node) for node in view.nodes], np.bool_)


class Stored(Plugin):
    """A plugin that looks at what is known of storage."""

    def __init__(self, stock: Stock) -> None:
        super().__init__()
        self._stock = stock

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        """Claims of other pods are of no use to it."""
        if change.kind == POD_GONE:
            return self._gives_back(change.pod, pod)
        claim = change.stored
        if not isinstance(claim, core_v1.PersistentVolumeClaim):
            return True
        return claim.metadata.namespace == pod.namespace and claim.metadata.name in pod.claims

    def _gives_back(self, gone: PodInfo | None, pod: PodInfo) -> bool:
        """Whether a pod that is gone used what the pod needs."""
        return True


def _missing(pod: PodInfo, name: str) -> str:
    """Why there is no such claim: those of ephemeral volumes are made after the pod."""
    if name in {
        f"{pod.pod.metadata.name}-{v.name}" for v in pod.pod.spec.volumes if v.ephemeral is not None
    }:
        return (
            f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        )
    return f'persistentvolumeclaim "{name}" not found'


class VolumeRestrictions(Stored):
    """What may be used by one pod, or written from one node, at a time."""

    name = "VolumeRestrictions"
    hints = frozenset((NODE_ADDED, POD_GONE, VOLUMES))

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not pod.pod.spec.volumes:
            return []
        verdicts: Verdicts = []
        claims = self._stock.claims(pod.pod) if pod.claims else []
        if any("ReadWriteOncePod" in c.spec.access_modes and _taken(view, pod, c) for c in claims):
            verdicts.append(Verdict(np.zeros(len(view.names), np.bool_), _ALONE))
        disks = dict(pod.disks)
        if disks:
            rows = np.ones(len(view.names), np.bool_)
            for at, other in view.pods.values():
                if any(k in disks and not (disks[k] and read_only) for k, read_only in other.disks):
                    rows[at] = False
            verdicts.append(Verdict(rows, "node(s) had no available disk"))
        return verdicts

    def _gives_back(self, gone: PodInfo | None, pod: PodInfo) -> bool:
        if gone is None:
            return True
        if gone.namespace == pod.namespace and set(gone.claims) & set(pod.claims):
            return True
        return bool({disk for disk, _ in gone.disks} & {disk for disk, _ in pod.disks})


def _taken(view: Snapshot, pod: PodInfo, claim: core_v1.PersistentVolumeClaim) -> bool:
    return any(
        other.namespace == pod.namespace
        and other.uid != pod.uid
        and claim.metadata.name in other.claims
        for _, other in view.pods.values()
        if other.claims
    )


class NodeVolumeLimits(Stored):
    """How many volumes of a CSI driver a node can have attached."""

    name = "NodeVolumeLimits"
    hints = frozenset((NODE_ADDED, POD_GONE, VOLUMES))

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not pod.claims:
            return []
        wanted: dict[str, set[str]] = {}
        for driver, handle in self._stock.attached(pod.pod):
            wanted.setdefault(driver, set()).add(handle)
        if not wanted:
            return []
        limits = {
            at: found for at, name in enumerate(view.names) if (found := self._limits(name, wanted))
        }
        if not limits:
            return []
        there: dict[tuple[int, str], set[str]] = {}
        for at, other in view.pods.values():
            if at in limits and other.claims:
                for driver, handle in self._stock.attached(other.pod):
                    there.setdefault((at, driver), set()).add(handle)
        rows = np.ones(len(view.names), np.bool_)
        for at, found in limits.items():
            rows[at] = all(
                len(there.get((at, d), set()) | wanted[d]) <= most for d, most in found.items()
            )
        return [Verdict(rows, "node(s) exceed max volume count")]

    def _gives_back(self, gone: PodInfo | None, pod: PodInfo) -> bool:
        return gone is None or bool(gone.claims)

    def _limits(self, name: str, drivers: Iterable[str]) -> dict[str, int]:
        node = self._stock.node(name)
        return {
            driver.name: driver.allocatable.count
            for driver in (node.spec.drivers if node is not None else ())
            if driver.name in drivers
            and driver.allocatable is not None
            and driver.allocatable.count is not None
        }


class VolumeZone(Stored):
    """Volumes that carry the labels of a zone are used in that zone."""

    name = "VolumeZone"
    hints = frozenset((NODE_ADDED, NODE_LABELS, VOLUMES))

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        wanted = [
            (key, frozenset(volume.metadata.labels[key].split("__")))
            for claim in (self._stock.claims(pod.pod) if pod.claims else ())
            if (volume := self._stock.volume(claim.spec.volume_name or "")) is not None
            for key in _ZONES
            if key in volume.metadata.labels
        ]
        if not wanted:
            return []

        def good(node: core_v1.Node) -> bool:
            labels = node.metadata.labels
            return not any(key in labels for key in _ZONES) or all(
                labels.get(key) in zones for key, zones in wanted
            )

        return [Verdict(_rows(view, good), "node(s) had no available volume zone", True)]


class VolumeBinding(Stored):
    name = "VolumeBinding"
    cumulative = True
    hints = frozenset((NODE_ADDED, NODE_LABELS, VOLUMES))

    def refuse(self, view: Snapshot, pod: PodInfo) -> str:
        for name in pod.claims:
            claim = self._stock.claim(f"{pod.namespace}/{name}")
            if claim is None:
                return _missing(pod, name)
            if claim.status.phase == "Lost":
                return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volume_name}"'
            if claim.metadata.deletion_timestamp:
                return f'persistentvolumeclaim "{name}" is being deleted'
        if not pod.claims:
            return ""
        unbound = (c for c in self._stock.waiting_claims(pod.pod) if not self._stock.waits(c))
        return "pod has unbound immediate PersistentVolumeClaims" if any(unbound) else ""

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not pod.claims:
            return []
        rows: dict[str, Bools] = {}  # several claims may lack the same
        for claim in self._stock.claims(pod.pod):
            for passing, reason in self._claim(view, claim):
                rows[reason] = rows[reason] & passing if reason in rows else passing
        return [Verdict(passing, reason, True) for reason, passing in rows.items()]

    def _claim(
        self, view: Snapshot, claim: core_v1.PersistentVolumeClaim
    ) -> list[tuple[Bools, str]]:
        if volumes.is_bound(claim):
            volume = self._stock.volume(claim.spec.volume_name)
            if volume is None:
                why = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
                return [(np.zeros(len(view.names), np.bool_), why)]
            if volume.spec.node_affinity is None:
                return []
            return [(_rows(view, lambda node: volumes.reachable(volume, node)), _CONFLICT)]
        chosen = claim.metadata.annotations.get(volumes.SELECTED_NODE)
        if chosen:
            return [(_rows(view, lambda node: node.metadata.name == chosen), _NONE_FITS)]
        free = [
            v
            for v in self._stock.volumes()
            if v.spec.claim_ref is None or volumes.reserved_for(v, claim)
        ]
        found = _rows(view, lambda node: volumes.best(free, claim, node) is not None)
        kind = self._stock.kind(claim.spec.storage_class_name or "")
        if kind is None or kind.provisioner == "kubernetes.io/no-provisioner":
            return [(found, _NONE_FITS)]
        verdicts: list[tuple[Bools, str]] = []
        if kind.allowed_topologies:
            verdicts.append(
                (found | _rows(view, lambda node: volumes.allowed(kind, node)), _NONE_FITS)
            )
        driver = self._stock.driver(kind.provisioner)
        if driver is not None and driver.spec.storage_capacity:
            verdicts.append((found | self._roomy(view, claim, kind), _NO_ROOM))
        return verdicts

    def _roomy(
        self, view: Snapshot, claim: core_v1.PersistentVolumeClaim, kind: storage_v1.StorageClass
    ) -> Bools:
        """The nodes where the driver says that it has room for the claim."""
        size = nano(claim.spec.resources.requests.get("storage", "0"))
        chosen = []
        for capacity in self._stock.capacities():
            most = (
                capacity.maximum_volume_size
                if capacity.maximum_volume_size is not None
                else capacity.capacity
            )
            if (
                capacity.storage_class_name == kind.metadata.name
                and most is not None
                and nano(most) >= size
            ):
                if (selector := from_label_selector(capacity.node_topology)) is not None:
                    chosen.append(selector)
        return _rows(view, lambda node: any(s.matches(node.metadata.labels) for s in chosen))
