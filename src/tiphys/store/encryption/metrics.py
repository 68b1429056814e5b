"""Upstream's metrics of encryption: what was sealed and opened with which key, and how KMS plugins
answer. Names, labels and buckets are those of kube-apiserver.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from tiphys.client.exposition import Tally, exponential_buckets
from tiphys.client.reloadmetrics import hashed

FROM_STORAGE, TO_STORAGE = "from_storage", "to_storage"
OK, OTHER = "OK", "unknown-non-grpc"  # statuses: others are names of gRPC's codes
_STORAGE = "apiserver_storage"
_ENVELOPE = "apiserver_envelope_encryption"
_BUCKETS = exponential_buckets(5e-6, 2, 25)
_MOST_KEYS = 100  # ids of keys that are shown: those that were used last, as upstream


class _Operation(NamedTuple):
    resource: str
    direction: str
    prefix: str
    status: str


class Transformations(Collector):
    """Values that were sealed and opened. It is counted with every write: see `Tally`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counts: dict[_Operation, int] = {}
        self._durations: dict[tuple[str, str], Tally] = {}  # by direction and prefix
        registry.register(self)

    def done(self, operation: _Operation, seconds: float) -> None:
        self._counts[operation] = self._counts.get(operation, 0) + 1
        if operation.status != OK:
            return
        labels = (operation.direction, operation.prefix)
        duration = self._durations.get(labels)
        if duration is None:
            duration = self._durations[labels] = Tally(_BUCKETS)
        duration.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        total = CounterMetricFamily(
            f"{_STORAGE}_transformation_operations",
            "Values that were sealed (to_storage) or opened (from_storage), by what came of it.",
            labels=("resource", "transformation_type", "transformer_prefix", "status"),
        )
        for operation, count in list(self._counts.items()):
            total.add_metric(list(operation), count)
        yield total
        durations = HistogramMetricFamily(
            f"{_STORAGE}_transformation_duration_seconds",
            "Seconds that it took to seal or open a value.",
            labels=("transformation_type", "transformer_prefix"),
        )
        for labels, tally in list(self._durations.items()):
            durations.add_metric(list(labels), tally.buckets(), tally.sum)
        yield durations


class EncryptionMetrics:
    """`server` is what the server is known by, as in metrics of other configuration files."""

    def __init__(self, registry: CollectorRegistry, server: str = "") -> None:
        self._server = hashed(server)
        self._transformations = Transformations(registry)
        self._misses = Counter(
            f"{_STORAGE}_envelope_transformation_cache_misses_total",
            "Seeds that a plugin had to open.",
            registry=registry,
        )
        self._generation = Histogram(
            f"{_STORAGE}_data_key_generation_duration_seconds",
            "Seconds that it took to make a seed.",
            buckets=exponential_buckets(5e-6, 2, 14),
            registry=registry,
        )
        self._failures = Counter(
            f"{_STORAGE}_data_key_generation_failures_total",
            "Seeds that could not be made.",
            registry=registry,
        )
        self._latency = Histogram(
            f"{_ENVELOPE}_kms_operations_latency_seconds",
            "Seconds until a plugin answered, by what it was asked and the code of the answer.",
            ("provider_name", "method_name", "grpc_status_code"),
            buckets=exponential_buckets(0.0001, 2, 20),
            registry=registry,
        )
        self._invalid = Counter(
            f"{_ENVELOPE}_invalid_key_id_from_status_total",
            "Answers of plugins whose key id cannot be one.",
            ("provider_name", "error"),
            registry=registry,
        )
        self._seeds = Gauge(
            f"{_ENVELOPE}_dek_source_cache_size",
            "Seeds that are known: about as many questions will a start cost.",
            ("provider_name",),
            registry=registry,
        )
        self._set_up_keys(registry)

    def _set_up_keys(self, registry: CollectorRegistry) -> None:
        used = ("transformation_type", "provider_name", "key_id_hash", "apiserver_id_hash")
        self._used = Counter(
            f"{_ENVELOPE}_key_id_hash_total",
            "How often a key of a plugin was used.",
            used,
            registry=registry,
        )
        self._used_last = Gauge(
            f"{_ENVELOPE}_key_id_hash_last_timestamp_seconds",
            "When a key of a plugin was used last.",
            used,
            registry=registry,
        )
        self._told_last = Gauge(
            f"{_ENVELOPE}_key_id_hash_status_last_timestamp_seconds",
            "When a plugin said last that this is its key.",
            used[1:],
            registry=registry,
        )
        self._keys_used = _Latest((self._used, self._used_last))
        self._keys_told = _Latest((self._told_last,))

    # --- values ---

    def transformed(
        self, key_prefix: str, direction: str, prefix: bytes, status: str, seconds: float
    ) -> None:
        """`key_prefix` is ``/group/plural/`` of the resource, `prefix` what the transformer marks
        values with."""
        operation = _Operation(_resource(key_prefix), direction, prefix.decode(), status)
        self._transformations.done(operation, seconds)

    def key_used(self, direction: str, provider: str, key_hash: str) -> None:
        labels = (direction, provider, key_hash, self._server)
        self._keys_used.touch(labels)
        self._used.labels(*labels).inc()
        self._used_last.labels(*labels).set_to_current_time()

    # --- plugins ---

    def asked(self, provider: str, method: str, status: str, seconds: float) -> None:
        self._latency.labels(provider, method, status).observe(seconds)

    def key_reported(self, provider: str, key_hash: str) -> None:
        labels = (provider, key_hash, self._server)
        self._keys_told.touch(labels)
        self._told_last.labels(*labels).set_to_current_time()

    def key_invalid(self, provider: str, error: str) -> None:
        """error: ``empty`` or ``too_long``"""
        self._invalid.labels(provider, error).inc()

    def seed_missed(self) -> None:
        self._misses.inc()

    def seed_made(self, seconds: float) -> None:
        self._generation.observe(seconds)

    def seeds_known(self, provider: str, count: int) -> None:
        self._seeds.labels(provider).set(count)


class _Latest:
    """Lets metrics have the labels of the keys alone that were used last."""

    def __init__(self, metrics: tuple[Counter | Gauge, ...]) -> None:
        self._metrics = metrics
        self._labels: OrderedDict[tuple[str, ...], None] = OrderedDict()

    def touch(self, labels: tuple[str, ...]) -> None:
        self._labels[labels] = None
        self._labels.move_to_end(labels)
        if len(self._labels) > _MOST_KEYS:
            oldest, _ = self._labels.popitem(last=False)
            for metric in self._metrics:
                metric.remove(*oldest)


def uncounted() -> EncryptionMetrics:
    """For who seals or opens values outside a server."""
    return EncryptionMetrics(CollectorRegistry())


def _resource(key_prefix: str) -> str:
    """``plural.group``, without a group for those of the core group."""
    _, group, plural, _ = key_prefix.split("/")
    return plural if group == "core" else f"{plural}.{group}"
