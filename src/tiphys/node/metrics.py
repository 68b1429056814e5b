"""The metrics of a node, by the names, labels and buckets of upstream's `pkg/kubelet/metrics`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tiphys.client.exposition import exponential_buckets
from tiphys.node.podmetrics import PodMetrics
from tiphys.node.states import PodIdentity, VolumeUsage

_START_BUCKETS = (
    *(0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0),
    *(300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0),
)
# Upstream's metrics of volumes: (total, used, available) of a unit.
_VOLUME_STATS = {
    "bytes": (
        ("kubelet_volume_stats_capacity_bytes", "Bytes that a volume has."),
        ("kubelet_volume_stats_used_bytes", "Bytes of a volume that are used."),
        ("kubelet_volume_stats_available_bytes", "Bytes of a volume that are not used."),
    ),
    "inodes": (
        ("kubelet_volume_stats_inodes", "Inodes that a volume has."),
        ("kubelet_volume_stats_inodes_used", "Inodes of a volume that are used."),
        ("kubelet_volume_stats_inodes_free", "Inodes of a volume that are not used."),
    ),
}
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def operation_type(method: str) -> str:
    """Upstream's label of a method of CRI: ``run_podsandbox`` for
    ``RuntimeService/RunPodSandbox``."""
    words = _CAPITAL.sub("_", method.rpartition("/")[2]).lower()
    return words.replace("pod_sandbox", "podsandbox").replace("_container_resources", "_container")


class _VolumeStats(Collector):
    """How full the volumes of claims are."""

    def __init__(self, usage: Callable[[], Mapping[str, list[VolumeUsage]]]) -> None:
        self._usage = usage

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        by_claim = {
            usage.claim: usage
            for rows in list(self._usage().values())
            for usage in rows
            if usage.claim
        }
        for unit, metrics in _VOLUME_STATS.items():
            for index, (name, help_text) in enumerate(metrics):
                gauge = GaugeMetricFamily(
                    name, help_text, labels=("namespace", "persistentvolumeclaim")
                )
                for claim, usage in by_claim.items():
                    counts = usage.bytes if unit == "bytes" else usage.inodes
                    if claim is not None and counts is not None:
                        gauge.add_metric(claim, counts[index])
                if gauge.samples:
                    yield gauge


class ProbeMetrics:
    """How often probes have come out how, and what they took: a page of its own, as upstream."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("probe_type", "result", "container", "pod", "namespace", "pod_uid")
        self._results = Counter(
            "prober_probe_total",
            "Probes of containers, by result.",
            labels,
            registry=self.registry,
        )
        self._durations = Histogram(
            "prober_probe_duration_seconds",
            "Seconds that probes of containers took.",
            ("probe_type", "container", "pod", "namespace"),
            registry=self.registry,
        )
        self._seen: dict[str, set[tuple[str, ...]]] = {}  # labels of results, by pod uid

    def observe(
        self, pod: PodIdentity, container: str, kind: str, success: bool, seconds: float
    ) -> None:
        """`kind`: startup, readiness or liveness"""
        result = "successful" if success else "failed"
        labels = (kind.title(), result, container, pod.name, pod.namespace, pod.uid)
        self._seen.setdefault(pod.uid, set()).add(labels)
        self._results.labels(*labels).inc()
        self._durations.labels(*_of_duration(labels)).observe(seconds)

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        seen = self._seen.pop(uid, set())
        for labels in seen:
            self._results.remove(*labels)
        for of_both in {_of_duration(labels) for labels in seen}:
            self._durations.remove(*of_both)


def _of_duration(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels of a probe's durations, from those of one of its results."""
    kind, _, container, pod, namespace, _ = labels
    return kind, container, pod, namespace


class KubeletMetrics:
    """Of one node, in its `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.probes = ProbeMetrics()
        self.pods = PodMetrics(registry)
        self._node_name = Gauge(
            "kubelet_node_name", "The node's name; always 1.", ("node",), registry=registry
        )
        self._running_pods = Gauge(
            "kubelet_running_pods", "Pods that have a sandbox that runs.", registry=registry
        )
        self._running_containers = Gauge(
            "kubelet_running_containers",
            "Containers by their state.",
            ("container_state",),
            registry=registry,
        )
        self.start = Histogram(
            "kubelet_pod_start_duration_seconds",
            "Seconds from when the node saw a pod first until its containers had started.",
            buckets=_START_BUCKETS,
            registry=registry,
        )
        self.start_total = Histogram(
            "kubelet_pod_start_total_duration_seconds",
            "Seconds from a pod's creation until its containers had started.",
            buckets=_START_BUCKETS,
            registry=registry,
        )
        self.start_sli = Histogram(
            "kubelet_pod_start_sli_duration_seconds",
            "Seconds from a pod's creation until its containers had started, without those in which"
            " images were pulled and init containers ran.",
            buckets=_START_BUCKETS,
            registry=registry,
        )
        self._operations = Counter(
            "kubelet_runtime_operations_total",
            "Calls to the container runtime, by operation.",
            ("operation_type",),
            registry=registry,
        )
        self._operation_durations = Histogram(
            "kubelet_runtime_operations_duration_seconds",
            "Seconds that calls to the container runtime took, by operation.",
            ("operation_type",),
            buckets=exponential_buckets(0.005, 2.5, 14),
            registry=registry,
        )
        self._operation_errors = Counter(
            "kubelet_runtime_operations_errors_total",
            "Calls that the container runtime refused or did not answer, by operation.",
            ("operation_type",),
            registry=registry,
        )

        # Gauges: the library gives the name of every Counter upstream's newer ending `_total`.
        self.evictions = Gauge(
            "kubelet_evictions",
            "Pods that the node has evicted, by the signal of the threshold.",
            ("eviction_signal",),
            registry=registry,
        )
        self.preemptions = Gauge(
            "kubelet_preemptions",
            "Pods that have made room for a critical one, by the resource that was short first.",
            ("preemption_signal",),
            registry=registry,
        )
        self.shutdown_start = Gauge(
            "kubelet_graceful_shutdown_start_time_seconds",
            "When the node last began to shut down gracefully, in seconds since the epoch.",
            registry=registry,
        )
        self.shutdown_end = Gauge(
            "kubelet_graceful_shutdown_end_time_seconds",
            "When the pods had ended in the last graceful shutdown, in seconds since the epoch.",
            registry=registry,
        )

        self._placements = Counter(
            "kubelet_topology_manager_admission_requests_total",
            "Pods whose cores, memory and devices were aligned.",
            registry=registry,
        )
        self._placement_errors = Counter(
            "kubelet_topology_manager_admission_errors_total",
            "Pods whose cores, memory and devices could not be had or aligned.",
            registry=registry,
        )
        self._placement_durations = Histogram(
            "kubelet_topology_manager_admission_duration_ms",
            "Milliseconds that aligning a pod took.",
            buckets=exponential_buckets(0.05, 2, 15),
            registry=registry,
        )
        self._shared_cpus = Gauge(
            "kubelet_cpu_manager_shared_pool_size_millicores",
            "Thousandths of CPUs that no container has for itself, under the static policy.",
            registry=registry,
        )
        self._exclusive_cpus = Gauge(
            "kubelet_cpu_manager_exclusive_cpu_allocation_count",
            "CPUs that containers have for themselves, under the static policy.",
            registry=registry,
        )

    def show_node(
        self, name: str, pods: Callable[[], int], containers: Mapping[str, Callable[[], int]]
    ) -> None:
        """pods: how many run; containers: how many are in each state. They are called on a
        thread."""
        self._node_name.labels(name).set(1)
        self._running_pods.set_function(pods)
        for state, count in containers.items():
            self._running_containers.labels(state).set_function(count)

    def show_cores(self, shared: Callable[[], int], exclusive: Callable[[], int]) -> None:
        """How many CPUs all containers share, and how many are single ones' own. They are called on
        a thread."""
        self._shared_cpus.set_function(lambda: 1000 * shared())
        self._exclusive_cpus.set_function(exclusive)

    def placed(self, seconds: float, failed: bool) -> None:
        """A pod was given its cores and memory, or was refused for want of them."""
        self._placements.inc()
        self._placement_durations.observe(1000 * seconds)
        if failed:
            self._placement_errors.inc()

    def show_volumes(self, usage: Callable[[], Mapping[str, list[VolumeUsage]]]) -> None:
        """usage: how full volumes are, by pod uid. It is called on a thread."""
        self.registry.register(_VolumeStats(usage))

    def called(self, method: str, seconds: float) -> None:
        """method: of CRI, such as ``RuntimeService/Version``"""
        operation = operation_type(method)
        self._operations.labels(operation).inc()
        self._operation_durations.labels(operation).observe(seconds)

    def failed(self, method: str) -> None:
        self._operation_errors.labels(operation_type(method)).inc()
