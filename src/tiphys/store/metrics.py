"""The metrics of a store. They have upstream's names whatever the engine is: dashboards and alerts
look for `etcd_request_duration_seconds`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from tiphys.client.exposition import LATENCY_BUCKETS

_LABELS = ("operation", "group", "resource")


class StoreMetrics:
    """How long an engine takes for writes, and which fail. Reads do not go to the engine."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._bound: dict[tuple[str, str], Histogram] = {}
        self._durations = Histogram(
            "etcd_request_duration_seconds",
            "Seconds until the store has made a write durable, by operation and resource.",
            _LABELS,
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            "etcd_request_errors_total",
            "Writes that the store could not make, by operation and resource.",
            _LABELS,
            registry=registry,
        )

    def written(self, operation: str, prefix: str, seconds: float) -> None:
        """operation: create, update or delete; prefix: ``/group/plural/`` of the resource"""
        key = (operation, prefix)
        duration = self._bound.get(key)
        if duration is None:
            duration = self._bound[key] = self._durations.labels(operation, *_place(prefix))
        duration.observe(seconds)

    def failed(self, operation: str, prefix: str) -> None:
        self._errors.labels(operation, *_place(prefix)).inc()


def _place(prefix: str) -> tuple[str, str]:
    """(group, resource) of a prefix; empty for a key that is of no resource."""
    parts = prefix.split("/")
    if len(parts) != 4:
        return "", ""
    group, resource = parts[1:3]
    return "" if group == "core" else group, resource
