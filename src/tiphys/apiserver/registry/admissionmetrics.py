"""What admission takes, by upstream's names (`apiserver/pkg/admission/metrics`).

Every write passes some twenty plugins: what they take is added up in tallies, which cost a fifth
of what a histogram costs, and become histograms at the scrape.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from tiphys.client.exposition import Tally

_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
_PREFIX = "apiserver_admission"
_MOST_CODE = 600  # greater codes are counted as this


class AdmissionMetrics(Collector):
    """Labels are those of upstream: `kind` is admit or validate."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._plugins: dict[tuple[str, str, str, str], Tally] = {}
        self._steps: dict[tuple[str, str, str], Tally] = {}
        self._webhooks = Histogram(
            f"{_PREFIX}_webhook_admission_duration_seconds",
            "Seconds that a webhook took.",
            ("name", "type", "operation", "rejected"),
            buckets=(*_BUCKETS, 10.0, 25.0),
            registry=registry,
        )
        self._requests = Counter(
            f"{_PREFIX}_webhook_request_total",
            "Requests to webhooks, by the status of the answer.",
            ("name", "type", "operation", "code", "rejected"),
            registry=registry,
        )
        # Upstream's name does not end with _total, which a Counter's always does.
        self._rejections: dict[tuple[str, str, str, str, str], int] = {}
        self._fail_open: dict[tuple[str, str], int] = {}
        registry.register(self)

    def plugin(self, name: str, kind: str, operation: str, rejected: bool = False) -> Tally:
        key = (name, kind, operation, "true" if rejected else "false")
        tally = self._plugins.get(key)
        if tally is None:
            tally = self._plugins[key] = Tally(_BUCKETS)
        return tally

    def step(self, kind: str, operation: str, rejected: bool = False) -> Tally:
        key = (kind, operation, "true" if rejected else "false")
        tally = self._steps.get(key)
        if tally is None:
            tally = self._steps[key] = Tally(_BUCKETS)
        return tally

    def webhook(
        self, name: str, kind: str, operation: str, seconds: float, code: int, rejected: bool
    ) -> None:
        """An answer of a webhook. `code` is its status, or that of the failure."""
        rejected_label = "true" if rejected else "false"
        code = min(code, _MOST_CODE)
        self._webhooks.labels(name, kind, operation, rejected_label).observe(seconds)
        self._requests.labels(name, kind, operation, str(code), rejected_label).inc()

    def rejection(self, name: str, kind: str, operation: str, error: str, code: int) -> None:
        """`error`: no_error, or who failed (calling_webhook_error, apiserver_internal_error)."""
        key = (name, kind, operation, error, str(min(code, _MOST_CODE)))
        self._rejections[key] = self._rejections.get(key, 0) + 1

    def failed_open(self, name: str, kind: str) -> None:
        key = (name, kind)
        self._fail_open[key] = self._fail_open.get(key, 0) + 1

    def collect(self) -> Iterator[Metric]:
        yield _histogram(
            f"{_PREFIX}_controller_admission_duration_seconds",
            "Seconds that a plugin took.",
            ("name", "type", "operation", "rejected"),
            list(self._plugins.items()),
        )
        yield _histogram(
            f"{_PREFIX}_step_admission_duration_seconds",
            "Seconds that all plugins took.",
            ("type", "operation", "rejected"),
            list(self._steps.items()),
        )
        rejections = Metric(
            f"{_PREFIX}_webhook_rejection_count", "Requests that webhooks refused.", "gauge"
        )
        names = ("name", "type", "operation", "error_type", "rejection_code")
        for key, count in list(self._rejections.items()):
            labels = dict(zip(names, key, strict=True))
            rejections.add_sample(rejections.name, labels, count)
        yield rejections
        opened = Metric(
            f"{_PREFIX}_webhook_fail_open_count", "Webhooks that failed and were ignored.", "gauge"
        )
        for (name, kind), count in list(self._fail_open.items()):
            opened.add_sample(opened.name, {"name": name, "type": kind}, count)
        yield opened


def _histogram(
    name: str, text: str, labels: tuple[str, ...], rows: list[tuple[tuple[str, ...], Tally]]
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, tally in rows:
        family.add_metric(list(values), tally.buckets(), tally.sum)
    return family
