"""DynamicResources: a pod goes where the devices of its claims are, or where its claims can be
given devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.devices.binding_conditions import is_lost
from tiphys.scheduler.devices.requests import AllocationError, Unallocatable
from tiphys.scheduler.devices.tracker import DeviceTracker, is_usable_from
from tiphys.scheduler.plugins.base import Plugin, PluginError, Verdict, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

# The reason where a claim is allocated and its devices cannot be used from the node.
ALLOCATED_ELSEWHERE = "resourceclaim not available on the node"


class _Claims(NamedTuple):
    """`any_lost`: a claim has devices that will not do."""

    allocations: list[v1.AllocationResult]
    unallocated: list[v1.ResourceClaim]
    any_lost: bool


class DynamicResources(Plugin):
    name = "DynamicResources"
    events = frozenset((EventKind.NODE_ADDED, EventKind.NODE_LABELS, EventKind.DEVICES))

    def __init__(self, devices: DeviceTracker) -> None:
        super().__init__()
        self._devices = devices

    def pre_filter(self, snapshot: Snapshot, pod: PodInfo) -> str:
        return self._devices.pre_filter(pod.pod) if pod.spec.resource_claims else ""

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not pod.spec.resource_claims:
            return []
        try:
            claims = self._claims_of(pod)
        except Unallocatable as error:
            return [Verdict(snapshot.no_rows(), str(error), unresolvable=True)]
        nodes = [
            (int(row), node)
            for row in np.flatnonzero(among)
            if (node := snapshot.nodes[row]) is not None
        ]
        verdicts = []
        elsewhere = [
            row
            for row, node in nodes
            if claims.any_lost or not _all_usable_from(claims.allocations, node)
        ]
        if elsewhere:
            verdicts.append(_rejecting(snapshot, elsewhere, ALLOCATED_ELSEWHERE))
        if not claims.unallocated:
            return verdicts
        try:
            rejections = self._devices.rejections(claims.unallocated, nodes)
        except AllocationError as error:
            raise PluginError(str(error)) from None
        for reason, rows in rejections.items():
            verdicts.append(_rejecting(snapshot, rows, reason))
        return verdicts

    def _claims_of(self, pod: PodInfo) -> _Claims:
        """Raises Unallocatable."""
        allocations = []
        unallocated = []
        any_lost = False
        for claim in self._devices.claims_of(pod.pod):
            any_lost = any_lost or is_lost(claim, self._devices.now())
            allocation = self._devices.allocation_of(claim)
            if allocation is None:
                unallocated.append(claim)
            else:
                allocations.append(allocation)
        return _Claims(allocations, unallocated, any_lost)

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        """A claim of another pod helps when it is deallocated."""
        claim = event.obj
        if not isinstance(claim, v1.ResourceClaim):
            return True
        if claim.metadata.namespace == pod.namespace and claim.metadata.name in _claim_names(pod):
            return True
        was_allocated = event.old_obj is not None and event.old_obj.status.allocation is not None
        return was_allocated and claim.status.allocation is None


def _all_usable_from(allocations: Sequence[v1.AllocationResult], node: core_v1.Node) -> bool:
    return all(is_usable_from(allocation, node) for allocation in allocations)


def _rejecting(snapshot: Snapshot, rows: list[int], reason: str) -> Verdict:
    passing = snapshot.all_rows()
    passing[rows] = False
    # Preemption does not help: claims keep their devices for a while when their pods are gone.
    return Verdict(passing, reason, unresolvable=True)


def _claim_names(pod: PodInfo) -> set[str | None]:
    named = {claim.resource_claim_name for claim in pod.spec.resource_claims}
    generated = {status.resource_claim_name for status in pod.pod.status.resource_claim_statuses}
    return named | generated
