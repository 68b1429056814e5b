"""What a component counts of its own work: requests to the API server, work queues, the lead.

Names, labels and buckets are client-go's (`component-base/metrics/prometheus`). A component's
client carries its metrics, so whatever works with the client finds them there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tiphys.client.exposition import exponential_buckets

_QUEUE_BUCKETS = exponential_buckets(10e-9, 10, 10)
_REQUEST_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
_NO_ANSWER = "<error>"  # client-go's code of a request that was not answered


class QueueMetrics:
    """What is counted of one work queue; it calls the methods, see `queue.WorkQueue`."""

    def __init__(
        self, adds: Counter, retries: Counter, waiting: Histogram, working: Histogram
    ) -> None:
        self._adds = adds
        self._retries = retries
        self._waiting = waiting
        self._working = working
        self._added: dict[Hashable, float] = {}  # key -> since when it waits
        self._taken: dict[Hashable, float] = {}  # key -> since when it is worked on

    def added(self, key: Hashable) -> None:
        self._adds.inc()
        self._added.setdefault(key, time.monotonic())

    def taken(self, key: Hashable) -> None:
        now = time.monotonic()
        self._waiting.observe(now - self._added.pop(key, now))
        self._taken[key] = now

    def done(self, key: Hashable) -> None:
        now = time.monotonic()
        self._working.observe(now - self._taken.pop(key, now))

    def retried(self) -> None:
        """The key is to be worked on again later."""
        self._retries.inc()

    def unfinished_seconds(self) -> float:
        """The sum of what all workers have spent so far on what they work on."""
        now = time.monotonic()
        return sum(now - since for since in list(self._taken.values()))

    def longest_seconds(self) -> float:
        """What the worker has spent that has worked on one key the longest."""
        now = time.monotonic()
        return now - min(list(self._taken.values()), default=now)


class ComponentMetrics:
    """The metrics of one component, in its `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "rest_client_requests_total",
            "Requests to the API server, by status, method and host.",
            ("code", "method", "host"),
            registry=registry,
        )
        self._request_durations = Histogram(
            "rest_client_request_duration_seconds",
            "Seconds until the API server began to answer, by method and host.",
            ("verb", "host"),
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self._bound_counts: dict[tuple[int, str, str], Counter] = {}
        self._bound_durations: dict[tuple[str, str], Histogram] = {}
        self._leads = Gauge(
            "leader_election_master_status",
            "1: this copy of the component has the lead; 0: it waits for it. By name of the lease.",
            ("name",),
            registry=registry,
        )
        self._adds = _queue_counter(registry, "adds_total", "Keys that were added.")
        self._retries = _queue_counter(registry, "retries_total", "Keys to be worked on later.")
        self._waiting = _queue_histogram(
            registry, "queue_duration_seconds", "Seconds that keys wait to be worked on."
        )
        self._working = _queue_histogram(
            registry, "work_duration_seconds", "Seconds that keys are worked on."
        )
        self._depth = _queue_gauge(registry, "depth", "Keys that wait to be worked on.")
        self._unfinished = _queue_gauge(
            registry,
            "unfinished_work_seconds",
            "Seconds spent so far on keys that are being worked on, in sum.",
        )
        self._longest = _queue_gauge(
            registry,
            "longest_running_processor_seconds",
            "Seconds for which the key that takes longest has been worked on.",
        )

    # --- requests ---

    def answered(self, method: str, host: str, status: int, seconds: float) -> None:
        """host: with its port; seconds: until the answer began"""
        key = (status, method, host)
        count = self._bound_counts.get(key)
        if count is None:
            count = self._bound_counts[key] = self._requests.labels(str(status), method, host)
        count.inc()
        duration = self._bound_durations.get((method, host))
        if duration is None:
            duration = self._request_durations.labels(method, host)
            self._bound_durations[method, host] = duration
        duration.observe(seconds)

    def not_answered(self, method: str, host: str) -> None:
        self._requests.labels(_NO_ANSWER, method, host).inc()

    # --- the lead ---

    def set_leading(self, lease: str, leads: bool) -> None:
        self._leads.labels(lease).set(leads)

    # --- work queues ---

    def queue(self, name: str, depth: Callable[[], float]) -> QueueMetrics:
        """Of the work queue of that name. `depth` is called on a thread, at each scrape."""
        metrics = QueueMetrics(
            self._adds.labels(name),
            self._retries.labels(name),
            self._waiting.labels(name),
            self._working.labels(name),
        )
        self._depth.labels(name).set_function(depth)
        self._unfinished.labels(name).set_function(metrics.unfinished_seconds)
        self._longest.labels(name).set_function(metrics.longest_seconds)
        return metrics


def _queue_counter(registry: CollectorRegistry, name: str, text: str) -> Counter:
    return Counter(f"workqueue_{name}", text, ("name",), registry=registry)


def _queue_gauge(registry: CollectorRegistry, name: str, text: str) -> Gauge:
    return Gauge(f"workqueue_{name}", text, ("name",), registry=registry)


def _queue_histogram(registry: CollectorRegistry, name: str, text: str) -> Histogram:
    return Histogram(
        f"workqueue_{name}", text, ("name",), buckets=_QUEUE_BUCKETS, registry=registry
    )
