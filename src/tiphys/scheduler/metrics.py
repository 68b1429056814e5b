"""The metrics of a scheduler, by the names, labels and buckets of upstream's
`pkg/scheduler/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tiphys.client.exposition import exponential_buckets

_ATTEMPT_BUCKETS = exponential_buckets(0.001, 2, 15)
_MOST_ATTEMPTS = 15  # distinct values of the label `attempts`, as upstream's


class Result(StrEnum):
    """How an attempt to schedule a pod ended."""

    SCHEDULED = "scheduled"
    UNSCHEDULABLE = "unschedulable"
    ERROR = "error"


class SchedulerMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "scheduler_schedule_attempts_total",
            "Attempts to schedule a pod, by result and profile.",
            ("result", "profile"),
            registry=registry,
        )
        self._durations = Histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "Seconds that an attempt took, binding included.",
            ("result", "profile"),
            buckets=_ATTEMPT_BUCKETS,
            registry=registry,
        )
        self.algorithm = Histogram(
            "scheduler_scheduling_algorithm_duration_seconds",
            "Seconds until it was known on which node a pod goes.",
            buckets=_ATTEMPT_BUCKETS,
            registry=registry,
        )
        self._pod_attempts = Histogram(
            "scheduler_pod_scheduling_attempts",
            "Attempts that scheduled pods took.",
            buckets=exponential_buckets(1, 2, 5),
            registry=registry,
        )
        self._pod_durations = Histogram(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "Seconds from a pod's arrival in the queue until it was bound, by its attempts.",
            ("attempts",),
            buckets=exponential_buckets(0.01, 2, 20),
            registry=registry,
        )
        self._victims = Histogram(
            "scheduler_preemption_victims",
            "Pods that have to go for one that preempts them.",
            buckets=exponential_buckets(1, 2, 7),
            registry=registry,
        )
        self._preemptions = Counter(
            "scheduler_preemption_attempts_total",
            "Attempts to make room for a pod by preemption.",
            registry=registry,
        )
        self._incoming = Counter(
            "scheduler_queue_incoming_pods_total",
            "Pods that came into a part of the scheduling queue, by what brought them there.",
            ("queue", "event"),
            registry=registry,
        )
        self._pending = Gauge(
            "scheduler_pending_pods",
            "Pods that wait in a part of the scheduling queue.",
            ("queue",),
            registry=registry,
        )

    def attempted(self, result: Result, profile: str, seconds: float) -> None:
        """seconds: since the pod was popped from the queue"""
        self._attempts.labels(result.value, profile).inc()
        self._durations.labels(result.value, profile).observe(seconds)

    def scheduled(self, attempts: int, seconds: float) -> None:
        """A pod is bound. seconds: since it came into the queue"""
        self._pod_attempts.observe(attempts)
        label = str(attempts) if attempts <= _MOST_ATTEMPTS else f"{_MOST_ATTEMPTS}+"
        self._pod_durations.labels(label).observe(seconds)

    def preempts(self, victims: int) -> None:
        self._preemptions.inc()
        if victims:
            self._victims.observe(victims)

    def incoming(self, queue: str, event: str) -> None:
        """queue: active, backoff or unschedulable"""
        self._incoming.labels(queue, event).inc()

    def show_pending(self, counts: Mapping[str, Callable[[], int]]) -> None:
        """`counts` count the pods of each part of the queue; they are called on a thread."""
        for queue, count in counts.items():
            self._pending.labels(queue).set_function(count)
