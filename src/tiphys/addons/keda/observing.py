"""What the add-on counts of its own work: names and labels are KEDA's, on the page of metrics of
the process that runs add-ons."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tiphys.addons.keda.scaler import Measured, Scaler
from tiphys.addons.keda.types import (
    ClusterTriggerAuthentication,
    ScaledJob,
    ScaledObject,
    TriggerAuthentication,
)
from tiphys.addons.optional import Context
from tiphys.api.base import Struct

_SCALER = ("namespace", "metric", "scaledObject", "scaler", "triggerIndex", "type")
_KINDS: tuple[tuple[str, type[Struct]], ...] = (
    ("scaled_object", ScaledObject),
    ("scaled_job", ScaledJob),
    ("trigger_authentication", TriggerAuthentication),
    ("cluster_trigger_authentication", ClusterTriggerAuthentication),
)
Labels = tuple[str, ...]


class Observer:
    """Counts until `close`: a process has one page, and an add-on may start in it again."""

    def __init__(self, context: Context) -> None:
        self._registry: CollectorRegistry = context.client.metrics.registry
        collectors: list[Collector] = []

        def gauge(name: str, text: str, labels: Labels) -> Gauge:
            collectors.append(Gauge(f"keda_{name}", text, labels, registry=self._registry))
            return collectors[-1]  # type: ignore[return-value]

        def counter(name: str, text: str, labels: Labels) -> Counter:
            collectors.append(Counter(f"keda_{name}", text, labels, registry=self._registry))
            return collectors[-1]  # type: ignore[return-value]

        self._value = gauge("scaler_metrics_value", "What a trigger measured last.", _SCALER)
        self._latency = gauge(
            "scaler_metrics_latency_seconds", "How long a trigger took to measure.", _SCALER
        )
        self._active = gauge("scaler_active", "1: there is something to do; 0: not.", _SCALER)
        self._errors = counter("scaler_detail_errors", "Failures of each trigger.", _SCALER)
        self._object_errors = counter(
            "scaled_object_errors", "Failures by ScaledObject.", ("namespace", "scaledObject")
        )
        self._job_errors = counter(
            "scaled_job_errors", "Failures by ScaledJob.", ("namespace", "scaledJob")
        )
        self._paused = gauge(
            "scaled_object_paused", "1: it is paused; 0: not.", ("namespace", "scaledObject")
        )
        self._late = gauge(
            "internal_scale_loop_latency_seconds",
            "How much later than it should be an object was looked at.",
            ("namespace", "type", "resource"),
        )
        totals = _Totals(context)
        self._registry.register(totals)
        self._collectors = [*collectors, totals]
        self._seen: dict[tuple[str, str, str], set[Labels]] = {}

    def close(self) -> None:
        for collector in self._collectors:
            self._registry.unregister(collector)

    def looked(
        self, scaler: Scaler, metric: str, measured: Measured | None, started: float
    ) -> None:
        """One metric was queried; `started` is of `time.monotonic`. None: it failed."""
        config = scaler.config
        kind = config.owner_kind.lower()
        name = config.name or _class_name(config.type)
        labels = (config.namespace, metric, config.owner, name, str(config.index), kind)
        self._seen.setdefault((kind, config.namespace, config.owner), set()).add(labels)
        self._latency.labels(*labels).set(time.monotonic() - started)
        if measured is None:
            self._errors.labels(*labels).inc()
            counter = self._object_errors if kind == "scaledobject" else self._job_errors
            counter.labels(config.namespace, config.owner).inc()
            return
        self._value.labels(*labels).set(measured.value)
        self._active.labels(*labels).set(measured.is_active)

    def paused(self, namespace: str, name: str, is_paused: bool) -> None:
        self._paused.labels(namespace, name).set(is_paused)

    def late(self, kind: str, key: str, seconds: float) -> None:
        """The loop of ``namespace/name`` looked so much later than it should."""
        namespace, _, name = key.partition("/")
        self._late.labels(namespace, kind.lower(), name).set(max(seconds, 0.0))

    def forget(self, kind: str, key: str) -> None:
        """Of an object that is watched no more."""
        namespace, _, name = key.partition("/")
        kind = kind.lower()
        for labels in self._seen.pop((kind, namespace, name), ()):
            for metric_family in (self._value, self._latency, self._active, self._errors):
                metric_family.remove(*labels)
        for gone in (self._object_errors, self._job_errors, self._paused):
            gone.remove(namespace, name)
        self._late.remove(namespace, kind, name)


class _Totals(Collector):
    """Objects and triggers by their kind, counted at a scrape."""

    def __init__(self, context: Context) -> None:
        self._informers = [(name, context.informers.of(kind)) for name, kind in _KINDS]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        resources = GaugeMetricFamily(
            "keda_resource_registered_total",
            "Custom resources by type and namespace.",
            labels=("type", "namespace"),
        )
        triggers = GaugeMetricFamily(
            "keda_trigger_registered_total", "Triggers by type.", labels=("type",)
        )
        types: Tally[str] = Tally()
        for name, informer in self._informers:
            objects = list(informer)
            places = Tally(obj.metadata.namespace for obj in objects)  # type: ignore[attr-defined]
            for namespace, count in sorted(places.items()):
                resources.add_metric((name, namespace), count)
            for obj in objects:
                types.update(t.type for t in getattr(obj.spec, "triggers", ()))  # type: ignore[attr-defined]
        for kind, count in sorted(types.items()):
            triggers.add_metric((kind,), count)
        return [resources, triggers]


def _class_name(kind: str) -> str:
    """As KEDA's classes are called: ``kubernetesWorkloadScaler``."""
    head, *rest = kind.split("-")
    return head + "".join(word.capitalize() for word in rest) + "Scaler"
