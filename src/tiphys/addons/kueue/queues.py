"""What queues say of themselves: who waits, who runs, how much is used."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.core.building import usage_of
from tiphys.addons.kueue.core.flavors import shown
from tiphys.addons.kueue.core.quota import Slot
from tiphys.addons.kueue.core.shares import Share, Shares
from tiphys.addons.kueue.metrics import QueueMetrics, QueueRow, SlotRow
from tiphys.addons.kueue.types.quotas import (
    ClusterQueue,
    ClusterQueueStatus,
    Cohort,
    CohortStatus,
    FairSharingStatus,
    FlavorUsage,
    LocalQueue,
    LocalQueueFlavorUsage,
    LocalQueueResourceUsage,
    LocalQueueStatus,
    ResourceUsage,
)
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.api.meta_v1 import Condition
from tiphys.client.client import Client
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.footprint import units

Usage = dict[Slot, int]


@dataclass
class Tally:
    """The workloads of one queue."""

    pending: int = 0
    inadmissible: int = 0
    reserving: int = 0
    admitted: int = 0
    reserved: Usage = field(default_factory=dict)
    used: Usage = field(default_factory=dict)

    def count(self, workload: Workload) -> None:
        if workload.status.admission is None:
            self.pending += statuses.is_active(workload)
            return
        usage = usage_of(workload)
        self.reserving += 1
        _add(self.reserved, usage)
        if statuses.has(workload, statuses.ADMITTED):
            self.admitted += 1
            _add(self.used, usage)


def _add(total: Usage, part: Usage) -> None:
    for slot, amount in part.items():
        total[slot] = total.get(slot, 0) + amount


class QueueStatuses:
    def __init__(self, client: Client, now: Callable[[], float], metrics: QueueMetrics) -> None:
        self._client = client
        self._now = now
        self._metrics = metrics

    async def write(
        self,
        cluster_queues: list[ClusterQueue],
        local_queues: list[LocalQueue],
        workloads: list[Workload],
        inactivity: Callable[[ClusterQueue], tuple[str, str]],
        shares: Shares | None = None,
    ) -> None:
        """Writes those statuses that say something new, and shows the metrics. `shares` are there
        where queues share fairly."""
        by_cluster, by_local = _tallies(local_queues, workloads)
        active: set[str] = set()
        rows: list[QueueRow] = []
        slots: list[SlotRow] = []
        for queue in cluster_queues:
            name = queue.metadata.name
            tally = by_cluster.get(name, Tally())
            reason, message = inactivity(queue)
            if not reason:
                active.add(name)
            status = self._cluster_status(queue, tally, reason, message)
            status.fair_sharing = _shown_share(shares.queues.get(name) if shares else None)
            await self._put(queue, status)
            rows.append(_row(name, tally, reason))
            slots += _slot_rows(queue, tally)
        for local in local_queues:
            tally = by_local.get(_key(local), Tally())
            await self._put(local, self._local_status(local, tally, cluster_queues, active))
        self._metrics.show(rows, slots)

    async def write_cohorts(self, cohorts: Iterable[Cohort], shares: Shares | None) -> None:
        for cohort in cohorts:
            share = shares.cohorts.get(cohort.metadata.name) if shares else None
            await self._put(cohort, CohortStatus(fair_sharing=_shown_share(share)))
        self._metrics.show_shares(shares)

    async def _put(
        self,
        queue: ClusterQueue | LocalQueue | Cohort,
        status: ClusterQueueStatus | LocalQueueStatus | CohortStatus,
    ) -> None:
        if status == queue.status:
            return
        changed = copy.copy(queue)
        changed.status = status
        try:
            await self._client.update_status(changed)
        except StatusError as error:
            if not is_not_found(error):
                raise

    def _cluster_status(
        self, queue: ClusterQueue, tally: Tally, reason: str, message: str
    ) -> ClusterQueueStatus:
        nominal = _nominal(queue)
        return ClusterQueueStatus(
            conditions=self._conditions(
                queue, not reason, reason or "Ready", message or "Can admit new workloads"
            ),
            flavors_reservation=_cluster_usage(queue, tally.reserved, nominal),
            flavors_usage=_cluster_usage(queue, tally.used, nominal),
            pending_workloads=tally.pending,
            reserving_workloads=tally.reserving,
            admitted_workloads=tally.admitted,
        )

    def _local_status(
        self,
        local: LocalQueue,
        tally: Tally,
        cluster_queues: Iterable[ClusterQueue],
        active: set[str],
    ) -> LocalQueueStatus:
        name = local.spec.cluster_queue or ""
        queue = next((one for one in cluster_queues if one.metadata.name == name), None)
        if local.spec.stop_policy != "None":
            condition = (False, "Stopped", "LocalQueue is stopped")
        elif queue is None:
            message = "Can't submit new workloads to clusterQueue"
            condition = (False, "ClusterQueueDoesNotExist", message)
        elif name not in active:
            message = "Can't submit new workloads to clusterQueue"
            condition = (False, "ClusterQueueIsInactive", message)
        else:
            condition = (True, "Ready", "Can submit new workloads to localQueue")
        return LocalQueueStatus(
            conditions=self._conditions(local, *condition),
            pending_workloads=tally.pending,
            reserving_workloads=tally.reserving,
            admitted_workloads=tally.admitted,
            flavors_reservation=_local_usage(queue, tally.reserved),
            flavors_usage=_local_usage(queue, tally.used),
            fair_sharing=local.status.fair_sharing,
        )

    def _conditions(
        self, queue: ClusterQueue | LocalQueue, is_active: bool, reason: str, message: str
    ) -> list[Condition]:
        wanted = Condition(
            type="Active",
            status=conditions.status_of(is_active),
            reason=reason,
            message=message,
            observed_generation=queue.metadata.generation,
        )
        return conditions.updated(queue.status.conditions, wanted, self._now())


def _shown_share(share: Share | None) -> FairSharingStatus | None:
    return FairSharingStatus(weighted_share=share.shown) if share is not None else None


def _key(local: LocalQueue) -> str:
    return f"{local.metadata.namespace}/{local.metadata.name}"


def _tallies(
    local_queues: Iterable[LocalQueue], workloads: Iterable[Workload]
) -> tuple[dict[str, Tally], dict[str, Tally]]:
    """By cluster queue, and by ``namespace/name`` of local queues."""
    backing = {_key(local): local.spec.cluster_queue or "" for local in local_queues}
    by_cluster: dict[str, Tally] = {}
    by_local: dict[str, Tally] = {}
    for workload in workloads:
        if statuses.has(workload, statuses.FINISHED):
            continue
        local = f"{workload.metadata.namespace}/{workload.spec.queue_name}"
        admission = workload.status.admission
        cluster = admission.cluster_queue if admission is not None else backing.get(local, "")
        by_cluster.setdefault(cluster, Tally()).count(workload)
        by_local.setdefault(local, Tally()).count(workload)
    return by_cluster, by_local


def _nominal(queue: ClusterQueue) -> Usage:
    return {
        Slot(flavor.name, quota.name): units(quota.name, quota.nominal_quota)
        for group in queue.spec.resource_groups
        for flavor in group.flavors
        for quota in flavor.resources
    }


def _cluster_usage(queue: ClusterQueue, usage: Usage, nominal: Usage) -> list[FlavorUsage]:
    """Every flavor and resource that the queue has, also where nothing of it is used."""
    flavor_usages = []
    for group in queue.spec.resource_groups:
        for flavor in group.flavors:
            resources = []
            for quota in flavor.resources:
                slot = Slot(flavor.name, quota.name)
                total = usage.get(slot, 0)
                borrowed = max(0, total - nominal[slot]) if queue.spec.cohort_name else 0
                resources.append(
                    ResourceUsage(
                        name=quota.name,
                        total=shown(quota.name, total),
                        borrowed=shown(quota.name, borrowed),
                    )
                )
            flavor_usages.append(FlavorUsage(name=flavor.name, resources=resources))
    return flavor_usages


def _local_usage(queue: ClusterQueue | None, usage: Usage) -> list[LocalQueueFlavorUsage]:
    return [
        LocalQueueFlavorUsage(
            name=flavor.name,
            resources=[
                LocalQueueResourceUsage(
                    name=quota.name,
                    total=shown(quota.name, usage.get(Slot(flavor.name, quota.name), 0)),
                )
                for quota in flavor.resources
            ],
        )
        for group in (queue.spec.resource_groups if queue is not None else ())
        for flavor in group.flavors
    ]


# --- for metrics ---


def _row(name: str, tally: Tally, reason: str) -> QueueRow:
    status = {"": "active", "Terminating": "terminating"}.get(reason, "pending")
    waiting = 0 if reason else tally.pending
    return QueueRow(name, waiting, tally.pending - waiting, tally.reserving, tally.admitted, status)


def _slot_rows(queue: ClusterQueue, tally: Tally) -> list[SlotRow]:
    rows = []
    for group in queue.spec.resource_groups:
        for flavor in group.flavors:
            for quota in flavor.resources:
                slot = Slot(flavor.name, quota.name)
                rows.append(
                    SlotRow(
                        queue.spec.cohort_name or "",
                        queue.metadata.name,
                        flavor.name,
                        quota.name,
                        _number(quota.name, units(quota.name, quota.nominal_quota)),
                        _limit(quota.name, quota.borrowing_limit),
                        _limit(quota.name, quota.lending_limit),
                        _number(quota.name, tally.reserved.get(slot, 0)),
                        _number(quota.name, tally.used.get(slot, 0)),
                    )
                )
    return rows


def _number(resource: str, amount: int) -> float:
    return amount / 1000 if resource == "cpu" else float(amount)


def _limit(resource: str, quantity: str | None) -> float | None:
    return None if quantity is None else _number(resource, units(resource, quantity))
