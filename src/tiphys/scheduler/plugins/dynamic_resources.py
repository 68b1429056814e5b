"""DynamicResources: a pod goes where the devices of its claims are, or where its claims can be
given devices. So do pods that request extended resources which a node has not itself, if device
classes stand for them: each gets a special claim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.devices.binding_conditions import is_lost
from tiphys.scheduler.devices.requests import AllocationError, Unallocatable
from tiphys.scheduler.devices.results import preference
from tiphys.scheduler.devices.tracker import DeviceTracker, is_usable_from
from tiphys.scheduler.plugins.base import (
    Floats,
    Plugin,
    PluginError,
    Verdict,
    Verdicts,
    normalized_by_maximum,
)
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

# The reason where a claim is allocated and its devices cannot be used from the node.
ALLOCATED_ELSEWHERE = "resourceclaim not available on the node"
# The reason while the special claim of an earlier attempt to bind the pod is still there.
LEFT_OVER = "cannot schedule extended resource claim"

_Nodes = list[tuple[int, core_v1.Node]]  # with their rows


class _Claims(NamedTuple):
    """`any_lost`: a claim has devices that will not do."""

    allocated: list[v1.ResourceClaim]
    allocations: list[v1.AllocationResult]
    unallocated: list[v1.ResourceClaim]
    any_lost: bool


class _Group(NamedTuple):
    """Nodes that have to give devices to the same claims."""

    claims: list[v1.ResourceClaim]
    nodes: _Nodes


class DynamicResources(Plugin):
    name = "DynamicResources"
    events = frozenset(
        (
            EventKind.NODE_ADDED,
            EventKind.NODE_LABELS,
            EventKind.NODE_ALLOCATABLE,
            EventKind.DEVICES,
            EventKind.DEVICE_CLASS,
        )
    )

    def __init__(self, devices: DeviceTracker, weight: int = 0) -> None:
        super().__init__(weight)
        self._devices = devices

    def pre_filter(self, snapshot: Snapshot, pod: PodInfo) -> str:
        return self._devices.pre_filter(pod.pod) if pod.spec.resource_claims else ""

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not self._devices.concerns(pod):
            return []
        try:
            claims = self._claims_of(pod)
        except Unallocatable as error:
            return [Verdict(snapshot.no_rows(), str(error), unresolvable=True)]
        if pod.extended_resources and self._devices.extended.left_over(pod.pod) is not None:
            return [Verdict(snapshot.no_rows(), LEFT_OVER, unresolvable=True)]
        nodes = _nodes_of(snapshot, among)
        verdicts = []
        elsewhere = [
            row
            for row, node in nodes
            if claims.any_lost or not _all_usable_from(claims.allocations, node)
        ]
        if elsewhere:
            verdicts.append(_rejecting(snapshot, elsewhere, ALLOCATED_ELSEWHERE))
        for group in self._groups(snapshot, pod, claims.unallocated, nodes):
            try:
                rejections = self._devices.rejections(group.claims, group.nodes)
            except AllocationError as error:
                raise PluginError(str(error)) from None
            for reason, rows in rejections.items():
                verdicts.append(_rejecting(snapshot, rows, reason))
        return verdicts

    def _claims_of(self, pod: PodInfo) -> _Claims:
        """Raises Unallocatable."""
        claims = _Claims([], [], [], False)
        for claim in self._devices.claims_of(pod.pod):
            allocation = self._devices.allocation_of(claim)
            if allocation is None:
                claims.unallocated.append(claim)
            else:
                claims.allocated.append(claim)
                claims.allocations.append(allocation)
            if is_lost(claim, self._devices.now()):
                claims = claims._replace(any_lost=True)
        return claims

    def _groups(
        self, snapshot: Snapshot, pod: PodInfo, claims: list[v1.ResourceClaim], nodes: _Nodes
    ) -> Iterator[_Group]:
        """The nodes by the extended resources that they have not themselves, with what is to be
        allocated on them: the pod's own claims, and the special one for these resources."""
        extended = self._devices.extended
        names = extended.names(pod.extended_resources)
        nodes_by_missing: dict[tuple[str, ...], _Nodes] = {(): nodes}
        if names:
            nodes_by_missing = _by_missing(snapshot, names, nodes)
        for missing, group in nodes_by_missing.items():
            special = [extended.claim_for(pod.pod, missing).claim] if missing else []
            if claims or special:
                yield _Group([*claims, *special], group)

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        """A claim of another pod helps when it is deallocated, and more of a resource of the node
        itself if the pod requests such."""
        if event.kind == EventKind.NODE_ALLOCATABLE:
            return bool(pod.extended_resources)
        claim = event.obj
        if not isinstance(claim, v1.ResourceClaim):
            return True
        if claim.metadata.namespace == pod.namespace and claim.metadata.name in _claim_names(pod):
            return True
        was_allocated = event.old_obj is not None and event.old_obj.status.allocation is not None
        return was_allocated and claim.status.allocation is None

    # --- score ---

    def score(self, snapshot: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        """How much the claims prefer the alternatives that they would get on a node."""
        if not pod.spec.resource_claims:
            return None
        try:
            claims = self._claims_of(pod)
        except Unallocatable:
            return None
        if not any(map(_has_alternatives, claims.unallocated)):
            return None  # all nodes are alike
        had = sum(
            preference(claim, (result.request for result in allocation.devices.results))
            for claim, allocation in zip(claims.allocated, claims.allocations, strict=True)
        )
        scores = np.zeros(len(snapshot))
        for group in self._groups(snapshot, pod, claims.unallocated, _nodes_of(snapshot, feasible)):
            for row, score in self._devices.scores(group.claims, group.nodes):
                scores[row] = had + score
        return scores

    def normalize(self, raw: Floats, feasible: Bools) -> Floats | None:
        return normalized_by_maximum(raw, feasible)


def _nodes_of(snapshot: Snapshot, rows: Bools) -> _Nodes:
    return [
        (int(row), node)
        for row in np.flatnonzero(rows)
        if (node := snapshot.nodes[row]) is not None
    ]


def _by_missing(
    snapshot: Snapshot, names: Sequence[str], nodes: _Nodes
) -> dict[tuple[str, ...], _Nodes]:
    """Nodes by those of the resources of which they have none."""
    lines = [(name, snapshot.resources.get(name)) for name in names]
    groups: dict[tuple[str, ...], _Nodes] = {}
    for row, node in nodes:
        missing = tuple(
            name for name, line in lines if line is None or not snapshot.allocatable[line][row]
        )
        groups.setdefault(missing, []).append((row, node))
    return groups


def _has_alternatives(claim: v1.ResourceClaim) -> bool:
    return any(request.first_available for request in claim.spec.devices.requests)


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
