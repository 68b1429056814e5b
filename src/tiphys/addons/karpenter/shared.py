"""What the add-on's parts share while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tiphys.addons._cloud.machines import Cloud
from tiphys.addons.karpenter.cluster import Cluster
from tiphys.addons.karpenter.metrics import KarpenterMetrics
from tiphys.addons.karpenter.registration import Registrations
from tiphys.addons.karpenter.reporting import Reports
from tiphys.addons.karpenter.settings import Settings, Times
from tiphys.addons.karpenter.types import NodeClaim
from tiphys.addons.optional import Context
from tiphys.api.meta_v1 import Condition
from tiphys.client.client import Client
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_not_found, is_write_overtaken

_NOMINATION = 10.0  # seconds for which pods are expected on a node, at least: upstream's


@dataclass
class Shared:
    """`due` is when a claim is to be reconciled again, `pod_events` when a pod came to a node or
    left it last, `ends` when the grace of a pod that is ending is over, `unready` since when a node
    has not been ready: all by `now`."""

    context: Context
    settings: Settings
    times: Times
    cloud: Cloud
    cluster: Cluster
    metrics: KarpenterMetrics
    reports: Reports
    registrations: Registrations = field(default_factory=Registrations)
    due: dict[str, float] = field(default_factory=dict)
    pod_events: dict[str, float] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    unready: dict[str, float] = field(default_factory=dict)
    wake_disruption: Callable[[], None] = lambda: None
    quiet_until: dict[tuple[str, str, str], float] = field(default_factory=dict)

    @property
    def client(self) -> Client:
        return self.context.client

    @property
    def now(self) -> float:
        return self.context.now()

    def event(self, obj: Any, reason: str, message: str, warning: bool = False) -> None:
        kind = "Warning" if warning else "Normal"
        self.context.recorder.record(obj, kind, reason, message, component="karpenter")

    def event_once(self, obj: Any, reason: str, message: str, seconds: float = 900.0) -> None:
        """The same is quiet_until again only after a while: looks repeat every few seconds."""
        key = (obj.metadata.uid, reason, message)
        if self.quiet_until.get(key, 0.0) > self.now:
            return
        if len(self.quiet_until) > 10_000:
            self.quiet_until.clear()
        self.quiet_until[key] = self.now + seconds
        self.event(obj, reason, message)

    def nominate(self, claim: NodeClaim) -> None:
        """Pods are expected on the claim's node: for a while nothing disrupts it."""
        window = max(2 * self.times.batch_max, _NOMINATION)
        self.cluster.nominated[claim.name] = self.now + window

    async def delete_claim(self, claim: NodeClaim, reason: str) -> None:
        """Deletes a claim, and counts it under the reason."""
        if claim.metadata.deletion_timestamp:
            return
        try:
            await self.client.delete(NodeClaim, claim.name, uid=claim.metadata.uid)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise
            return
        self.metrics.claim_disrupted(claim, reason)

    async def set_condition(self, name: str, wanted: Condition | None, type_: str) -> None:
        """Sets a condition of a claim, or takes it away, as the claim is on the server now."""
        for _ in range(5):
            try:
                claim = await self.client.get(NodeClaim, name)
                standing = claim.status.conditions
                if wanted is None:
                    claim.status.conditions = conditions.without(standing, type_)
                    if len(standing) == len(claim.status.conditions):
                        return
                else:
                    claim.status.conditions = conditions.updated(standing, wanted, self.now)
                await self.client.update_status(claim)
                return
            except StatusError as error:
                if is_not_found(error):
                    return
                if not is_write_overtaken(error):
                    raise
