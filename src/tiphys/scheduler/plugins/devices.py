"""Devices: a pod goes where its claims have them, or can be given them."""

from __future__ import annotations

import numpy as np

from tiphys.api import resource_v1 as v1
from tiphys.scheduler.changes import DEVICES, NODE_ADDED, NODE_LABELS, Change
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.devices.allocator import AllocationError, Unfit
from tiphys.scheduler.devices.stock import Devices, usable_from
from tiphys.scheduler.plugins.base import Plugin, PluginError, Verdict, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

ELSEWHERE = "resourceclaim not available on the node"


class DynamicResources(Plugin):
    name = "DynamicResources"
    hints = frozenset((NODE_ADDED, NODE_LABELS, DEVICES))

    def __init__(self, devices: Devices) -> None:
        super().__init__()
        self._devices = devices

    def refuse(self, view: Snapshot, pod: PodInfo) -> str:
        return self._devices.refusal(pod.pod) if pod.pod.spec.resource_claims else ""

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not pod.pod.spec.resource_claims:
            return []
        try:
            claims = self._devices.claims(pod.pod)
        except Unfit as error:
            return [Verdict(np.zeros(len(view.names), np.bool_), str(error), True)]
        having = [
            found for claim in claims if (found := self._devices.allocation(claim)) is not None
        ]
        wanting = [claim for claim in claims if self._devices.allocation(claim) is None]
        nodes = [(int(row), view.nodes[row]) for row in np.flatnonzero(among)]
        elsewhere = [
            row
            for row, node in nodes
            if node is not None and not all(usable_from(allocation, node) for allocation in having)
        ]
        verdicts: Verdicts = [_without(view, elsewhere, ELSEWHERE)] if elsewhere else []
        if not wanting:
            return verdicts
        try:
            lacking = self._devices.survey(
                wanting, ((row, node) for row, node in nodes if node is not None)
            )
        except AllocationError as error:
            raise PluginError(str(error)) from None
        return verdicts + [_without(view, rows, reason) for reason, rows in lacking.items()]

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        """A claim of somebody else helps when it gives devices back."""
        claim, before = change.stored, change.before
        if not isinstance(claim, v1.ResourceClaim):
            return True
        if claim.metadata.namespace == pod.namespace and claim.metadata.name in _names(pod):
            return True
        return (
            before is not None
            and before.status.allocation is not None
            and claim.status.allocation is None
        )


def _without(view: Snapshot, rows: list[int], reason: str) -> Verdict:
    passing = np.ones(len(view.names), np.bool_)
    passing[rows] = False
    return Verdict(passing, reason, True)  # claims outlive the going of a pod for a while


def _names(pod: PodInfo) -> set[str | None]:
    spec, status = pod.pod.spec, pod.pod.status
    return {e.resource_claim_name for e in spec.resource_claims} | {
        s.resource_claim_name for s in status.resource_claim_statuses
    }
