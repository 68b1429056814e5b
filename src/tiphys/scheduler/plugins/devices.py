"""Devices: a pod goes where its claims have them, or can be given them."""

from __future__ import annotations

import numpy as np

from tiphys.api import resource_v1 as v1
from tiphys.scheduler.changes import DEVICES, NODE_ADDED, NODE_LABELS, Change
from tiphys.scheduler.devices.allocator import Unfit
from tiphys.scheduler.devices.stock import Devices, usable_from
from tiphys.scheduler.plugins.base import Plugin, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

ELSEWHERE = "resourceclaim not available on the node"


class DynamicResources(Plugin):
    name = "DynamicResources"
    hints = frozenset((NODE_ADDED, NODE_LABELS, DEVICES))
    preemptible = False  # claims outlive the going of a pod for a while

    def __init__(self, devices: Devices) -> None:
        super().__init__()
        self._devices = devices

    def refuse(self, view: Snapshot, pod: PodInfo) -> str:
        return self._devices.refusal(pod.pod) if pod.pod.spec.resource_claims else ""

    def filter(self, view: Snapshot, pod: PodInfo) -> Verdicts:
        if not pod.pod.spec.resource_claims:
            return []
        try:
            claims = self._devices.claims(pod.pod)
        except Unfit as error:
            return [(np.zeros(len(view.names), np.bool_), str(error))]
        having = [found for claim in claims if (found := self._devices.allocation(claim)) is not None]
        wanting = [claim for claim in claims if self._devices.allocation(claim) is None]
        here = np.array([n is not None and all(usable_from(a, n) for a in having) for n in view.nodes], np.bool_)
        verdicts: Verdicts = [(here, ELSEWHERE)] if having else []
        if not wanting:
            return verdicts
        nodes = ((row, node) for row, node in enumerate(view.nodes) if node is not None and here[row])
        why = self._devices.survey(wanting, nodes)
        for reason, rows in why.items():
            passing = np.ones(len(view.names), np.bool_)
            passing[rows] = False
            verdicts.append((passing, reason))
        return verdicts

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        """A claim of somebody else helps when it gives devices back."""
        claim, before = change.stored, change.before
        if not isinstance(claim, v1.ResourceClaim):
            return True
        if claim.metadata.namespace == pod.namespace and claim.metadata.name in _names(pod):
            return True
        return before is not None and before.status.allocation is not None and claim.status.allocation is None


def _names(pod: PodInfo) -> set[str | None]:
    spec, status = pod.pod.spec, pod.pod.status
    return {e.resource_claim_name for e in spec.resource_claims} | {
        s.resource_claim_name for s in status.resource_claim_statuses
    }
