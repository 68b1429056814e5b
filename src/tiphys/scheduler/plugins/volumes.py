"""Volumes: a pod goes where its volumes can be reached, and claims that wait for it get theirs there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tiphys.api import core_v1
from tiphys.machinery import volumes
from tiphys.scheduler.plugins.base import NODE_ADDED, NODE_LABELS, VOLUMES, Plugin, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_CONFLICT = "node(s) had volume node affinity conflict"
_NONE_FITS = "node(s) didn't find available persistent volumes to bind"


class Stock:
    """What the scheduler knows of claims, volumes and classes. `claim`, `volume`, `kind` look up by key, None: missing."""

    def __init__(
        self,
        claim: Callable[[str], Any] = lambda key: None,
        volume: Callable[[str], Any] = lambda name: None,
        kind: Callable[[str], Any] = lambda name: None,
        every_volume: Callable[[], Iterable[Any]] = lambda: (),
    ) -> None:
        self.claim = claim
        self.volume = volume
        self.kind = kind
        self.every_volume = every_volume

    def waits(self, claim: core_v1.PersistentVolumeClaim) -> bool:
        """Whether a claim is bound only when a pod that uses it has a node."""
        kind = self.kind(claim.spec.storage_class_name or "")
        return kind is not None and kind.volume_binding_mode == "WaitForFirstConsumer"

    def waiting_claims(self, pod: core_v1.Pod) -> list[core_v1.PersistentVolumeClaim]:
        """The claims of a pod that must be bound before it is."""
        found = (self.claim(f"{pod.metadata.namespace}/{name}") for name in volumes.claims_of(pod))
        return [claim for claim in found if claim is not None and not volumes.is_bound(claim)]


class VolumeBinding(Plugin):
    name = "VolumeBinding"
    hints = frozenset((NODE_ADDED, NODE_LABELS, VOLUMES))

    def __init__(self, stock: Stock) -> None:
        super().__init__()
        self._stock = stock

    def filter(self, view: Snapshot, pod: PodInfo) -> Verdicts:
        names = volumes.claims_of(pod.pod)
        if not names:
            return []
        verdicts: Verdicts = []
        for name in names:
            verdicts += self._claim(view, pod, name)
        return verdicts

    def _claim(self, view: Snapshot, pod: PodInfo, name: str) -> Verdicts:
        nobody = np.zeros(len(view.names), np.bool_)
        claim = self._stock.claim(f"{pod.namespace}/{name}")
        if claim is None:
            return [(nobody, f'persistentvolumeclaim "{name}" not found')]
        if claim.metadata.deletion_timestamp:
            return [(nobody, f'persistentvolumeclaim "{name}" is being deleted')]
        if "ReadWriteOncePod" in claim.spec.access_modes and self._taken(view, pod, name):
            return [
                (nobody, "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode")
            ]
        if volumes.is_bound(claim):
            volume = self._stock.volume(claim.spec.volume_name)
            if volume is None:
                return [(nobody, f'persistentvolume "{claim.spec.volume_name}" not found')]
            if volume.spec.node_affinity is None:
                return []
            return [(self._rows(view, lambda node: volumes.reachable(volume, node)), _CONFLICT)]
        if not self._stock.waits(claim):
            return [(nobody, "pod has unbound immediate PersistentVolumeClaims")]
        chosen = claim.metadata.annotations.get(volumes.SELECTED_NODE)
        if chosen:
            return [(self._rows(view, lambda node: node.metadata.name == chosen), _CONFLICT)]
        kind = self._stock.kind(claim.spec.storage_class_name or "")
        if kind is not None and kind.provisioner != "kubernetes.io/no-provisioner":
            return []
        free = [v for v in self._stock.every_volume() if v.spec.claim_ref is None or volumes.reserved_for(v, claim)]
        return [(self._rows(view, lambda node: volumes.best(free, claim, node) is not None), _NONE_FITS)]

    @staticmethod
    def _taken(view: Snapshot, pod: PodInfo, name: str) -> bool:
        return any(
            other.namespace == pod.namespace and other.uid != pod.uid and name in volumes.claims_of(other.pod)
            for _, other in view.pods.values() if other.pod.spec.volumes
        )  # fmt: skip

    @staticmethod
    def _rows(view: Snapshot, good: Callable[[core_v1.Node], bool]) -> Any:
        return np.array([node is not None and good(node) for node in view.nodes], np.bool_)
