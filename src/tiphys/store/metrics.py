"""The metrics of a store. They have upstream's names whatever the engine is: dashboards and alerts
look for `etcd_request_duration_seconds`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from tiphys.client.exposition import LATENCY_BUCKETS, Tally

_LABELS = ("operation", "group", "resource")


class StoreMetrics(Collector):
    """How long an engine takes for writes, and which fail. Reads do not go to the engine."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations: dict[tuple[str, ...], Tally] = {}  # by labels
        self._by_prefix: dict[tuple[str, str], Tally] = {}  # by operation and prefix
        self._errors = Counter(
            "etcd_request_errors_total",
            "Writes that the store could not make, by operation and resource.",
            _LABELS,
            registry=registry,
        )
        registry.register(self)

    def written(self, operation: str, prefix: str, seconds: float) -> None:
        """operation: create, update or delete; prefix: ``/group/plural/`` of the resource"""
        key = (operation, prefix)
        duration = self._by_prefix.get(key)
        if duration is None:
            labels = (operation, *_place(prefix))
            duration = self._durations.setdefault(labels, Tally(LATENCY_BUCKETS))
            self._by_prefix[key] = duration
        duration.observe(seconds)

    def failed(self, operation: str, prefix: str) -> None:
        self._errors.labels(operation, *_place(prefix)).inc()

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "etcd_request_duration_seconds",
            "Seconds until the store has made a write durable, by operation and resource.",
            labels=_LABELS,
        )
        for labels, tally in list(self._durations.items()):
            family.add_metric(list(labels), tally.buckets(), tally.sum)
        yield family


def _place(prefix: str) -> tuple[str, str]:
    """(group, resource) of a prefix; empty for a key that is of no resource."""
    parts = prefix.split("/")
    if len(parts) != 4:
        return "", ""
    group, resource = parts[1:3]
    return "" if group == "core" else group, resource
