"""What is counted, under Kueue's names and labels (`replica_role` is always standalone)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from tiphys.addons.kueue.core.shares import Shares
from tiphys.client.exposition import exponential_buckets

_ROLE = "standalone"
_BUCKETS = (1.0, *exponential_buckets(2.5, 2, 14))
_QUEUE = ("cluster_queue", "priority_class", "replica_role")
_SLOT = ("cohort", "cluster_queue", "flavor", "resource", "replica_role")


class SlotRow(NamedTuple):
    """A resource in a flavor of a queue. Amounts as the API counts them; a limit of None is
    none."""

    cohort: str
    queue: str
    flavor: str
    resource: str
    nominal: float
    borrowing: float | None
    lending: float | None
    reserved: float
    used: float


class QueueRow(NamedTuple):
    """How many workloads of a queue are how. `status` is active, pending or terminating."""

    queue: str
    pending: int
    inadmissible: int
    reserving: int
    admitted: int
    status: str


class QueueMetrics:
    """Registers with `registry` until `close`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._collectors: list[Collector] = []
        self._pending = self._gauge("pending_workloads", ("cluster_queue", "status"))
        self._reserving = self._gauge("reserving_active_workloads", ("cluster_queue",))
        self._admitted = self._gauge("admitted_active_workloads", ("cluster_queue",))
        self._status = self._gauge("cluster_queue_status", ("cluster_queue", "status"))
        slot = _SLOT[:-1]
        self._nominal = self._gauge("cluster_queue_nominal_quota", slot)
        self._borrowing = self._gauge("cluster_queue_borrowing_limit", slot)
        self._lending = self._gauge("cluster_queue_lending_limit", slot)
        self._reservation = self._gauge("cluster_queue_resource_reservation", slot)
        self._usage = self._gauge("cluster_queue_resource_usage", slot)
        self._queue_share = self._gauge("cluster_queue_weighted_share", ("cluster_queue",))
        self._cohort_share = self._gauge("cohort_weighted_share", ("cohort",))
        self.attempts = self._counter("admission_attempts", ("result", "replica_role"))
        self.attempt_seconds = self._histogram(
            "admission_attempt_duration_seconds", ("result", "replica_role")
        )
        self._reserved_total = self._counter("quota_reserved_workloads", _QUEUE)
        self._admitted_total = self._counter("admitted_workloads", _QUEUE)
        self._finished_total = self._counter("finished_workloads", _QUEUE)
        self._reserve_wait = self._histogram("quota_reserved_wait_time_seconds", _QUEUE)
        self._admit_wait = self._histogram("admission_wait_time_seconds", _QUEUE)
        self._evicted = self._counter(
            "evicted_workloads",
            ("cluster_queue", "reason", "underlying_cause", "priority_class", "replica_role"),
        )
        self._preempted = self._counter(
            "preempted_workloads", ("preempting_cluster_queue", "reason", "replica_role")
        )

    def close(self) -> None:
        for collector in self._collectors:
            self._registry.unregister(collector)

    # --- what happens ---

    def cycle(self, seconds: float, has_admitted: bool) -> None:
        result = "success" if has_admitted else "inadmissible"
        self.attempts.labels(result, _ROLE).inc()
        self.attempt_seconds.labels(result, _ROLE).observe(seconds)

    def reserved(self, queue: str, priority_class: str, waited: float) -> None:
        self._reserved_total.labels(queue, priority_class, _ROLE).inc()
        self._reserve_wait.labels(queue, priority_class, _ROLE).observe(max(0.0, waited))

    def admitted(self, queue: str, priority_class: str, waited: float) -> None:
        self._admitted_total.labels(queue, priority_class, _ROLE).inc()
        self._admit_wait.labels(queue, priority_class, _ROLE).observe(max(0.0, waited))

    def finished(self, queue: str, priority_class: str) -> None:
        self._finished_total.labels(queue, priority_class, _ROLE).inc()

    def evicted(self, queue: str, reason: str, cause: str, priority_class: str) -> None:
        self._evicted.labels(queue, reason, cause, priority_class, _ROLE).inc()

    def preempted(self, preempting: str, reason: str) -> None:
        self._preempted.labels(preempting, reason, _ROLE).inc()

    # --- how it is ---

    def show(self, queues: Iterable[QueueRow], slots: Iterable[SlotRow]) -> None:
        for gauge in self._gauges():
            gauge.clear()
        for row in queues:
            self._pending.labels(row.queue, "active", _ROLE).set(row.pending)
            self._pending.labels(row.queue, "inadmissible", _ROLE).set(row.inadmissible)
            self._reserving.labels(row.queue, _ROLE).set(row.reserving)
            self._admitted.labels(row.queue, _ROLE).set(row.admitted)
            for status in ("pending", "active", "terminating"):
                self._status.labels(row.queue, status, _ROLE).set(int(status == row.status))
        for slot in slots:
            labels = (slot.cohort, slot.queue, slot.flavor, slot.resource, _ROLE)
            self._nominal.labels(*labels).set(slot.nominal)
            self._borrowing.labels(*labels).set(_limit(slot.borrowing))
            self._lending.labels(*labels).set(_limit(slot.lending))
            self._reservation.labels(*labels).set(slot.reserved)
            self._usage.labels(*labels).set(slot.used)

    def show_shares(self, shares: Shares | None) -> None:
        """After `show`. A share that has no end is +Inf."""
        for name, share in shares.queues.items() if shares is not None else ():
            self._queue_share.labels(name, _ROLE).set(share.weighted)
        for name, share in shares.cohorts.items() if shares is not None else ():
            self._cohort_share.labels(name, _ROLE).set(share.weighted)

    def _gauges(self) -> list[Gauge]:
        return [one for one in self._collectors if isinstance(one, Gauge)]

    def _gauge(self, name: str, labels: Sequence[str]) -> Gauge:
        gauge = Gauge(
            f"kueue_{name}", _HELP[name], (*labels, "replica_role"), registry=self._registry
        )
        self._collectors.append(gauge)
        return gauge

    def _counter(self, name: str, labels: Sequence[str]) -> Counter:
        counter = Counter(f"kueue_{name}_total", _HELP[name], labels, registry=self._registry)
        self._collectors.append(counter)
        return counter

    def _histogram(self, name: str, labels: Sequence[str]) -> Histogram:
        histogram = Histogram(
            f"kueue_{name}", _HELP[name], labels, buckets=_BUCKETS, registry=self._registry
        )
        self._collectors.append(histogram)
        return histogram


def _limit(value: float | None) -> float:
    return math.inf if value is None else value


_HELP: Mapping[str, str] = {
    "pending_workloads": "Workloads that wait, by queue and whether they may come next.",
    "reserving_active_workloads": "Workloads that hold quota.",
    "admitted_active_workloads": "Workloads that are admitted and have not finished.",
    "cluster_queue_status": "1 for the status that a queue has.",
    "cluster_queue_nominal_quota": "The nominal quota.",
    "cluster_queue_borrowing_limit": "The limit of what is borrowed, +Inf without one.",
    "cluster_queue_lending_limit": "The limit of what is lent, +Inf without one.",
    "cluster_queue_resource_reservation": "What workloads hold.",
    "cluster_queue_resource_usage": "What admitted workloads hold.",
    "cluster_queue_weighted_share": "What a queue borrows of what is lent to it, weighted.",
    "cohort_weighted_share": "What a cohort borrows of what is lent to it, weighted.",
    "admission_attempts": "Cycles of admission, by whether anything was admitted.",
    "admission_attempt_duration_seconds": "How long a cycle of admission takes.",
    "quota_reserved_workloads": "Workloads that were given quota.",
    "admitted_workloads": "Workloads that were admitted.",
    "finished_workloads": "Workloads that have finished.",
    "quota_reserved_wait_time_seconds": "Seconds from waiting to quota.",
    "admission_wait_time_seconds": "Seconds from waiting to admission.",
    "evicted_workloads": "Workloads that were evicted, and why.",
    "preempted_workloads": "Workloads that were preempted, by whose queue and why.",
}
