"""How pods and containers of a node start and end, by the names, labels and buckets of upstream's
`pkg/kubelet/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tiphys.api import core_v1

CONTAINER, INIT, EPHEMERAL = "container", "init_container", "ephemeral_container"
_MIB, _GIB = 1 << 20, 1 << 30
_IMAGE_SIZES = (
    (10 * _MIB, "0-10MB"),
    (100 * _MIB, "10MB-100MB"),
    (500 * _MIB, "100MB-500MB"),
    (_GIB, "500MB-1GB"),
    (5 * _GIB, "1GB-5GB"),
    (10 * _GIB, "5GB-10GB"),
    (20 * _GIB, "10GB-20GB"),
    (30 * _GIB, "20GB-30GB"),
    (40 * _GIB, "30GB-40GB"),
    (60 * _GIB, "40GB-60GB"),
    (100 * _GIB, "60GB-100GB"),
)
_PULL_BUCKETS = (
    *(1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0),
    *(1200.0, 1800.0, 2700.0, 3600.0),
)
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # Go's defaults
# The reasons that have a label of their own (upstream's `admissionRejectionReasons`).
_REJECTIONS = frozenset(
    [
        "AppArmor",
        "PodOSSelectorNodeLabelDoesNotMatch",
        "PodOSNotSupported",
        "InvalidNodeInfo",
        "InitContainerRestartPolicyForbidden",
        "SupplementalGroupsPolicyNotSupported",
        "UnexpectedAdmissionError",
        "UnknownReason",
        "UnexpectedPredicateFailureType",
        "OutOfcpu",
        "OutOfmemory",
        "OutOfephemeral-storage",
        "OutOfpods",
        "PodLevelResourcesNotSupported",
        "PodFeatureUnsupported",
        "TaintToleration",
        "Evicted",
        "SysctlForbidden",
        "TopologyAffinityError",
        "NodeShutdown",
        "VolumeAttachmentLimitExceeded",
    ]
)


def image_size_label(size: int) -> str:
    """Of an image of `size` bytes; 0 where it is not known."""
    if not size:
        return "N/A"
    return next((label for most, label in _IMAGE_SIZES if size <= most), "GT100GB")


def kind_of(pod: core_v1.Pod, name: str) -> str:
    """Which kind of container of the pod has a name."""
    if any(container.name == name for container in pod.spec.containers):
        return CONTAINER
    is_init = any(container.name == name for container in pod.spec.init_containers)
    return INIT if is_init else EPHEMERAL


class PodMetrics:
    """Of one node, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter(
            "kubelet_started_pods_total", "Sandboxes that were begun.", registry=registry
        )
        self._start_errors = Counter(
            "kubelet_started_pods_errors_total",
            "Sandboxes that could not be made.",
            registry=registry,
        )
        self._sandbox_durations = Histogram(
            "kubelet_run_podsandbox_duration_seconds",
            "Seconds that making sandboxes took, by the runtime's handler.",
            ("runtime_handler",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._sandbox_errors = Counter(
            "kubelet_run_podsandbox_errors_total",
            "Sandboxes that the runtime did not make, by its handler.",
            ("runtime_handler",),
            registry=registry,
        )
        self._containers = Counter(
            "kubelet_started_containers_total",
            "Containers whose start was begun, by kind.",
            ("container_type",),
            registry=registry,
        )
        self._container_errors = Counter(
            "kubelet_started_containers_errors_total",
            "Containers that could not be started, by kind and reason.",
            ("container_type", "code"),
            registry=registry,
        )
        self._terminated = Counter(
            "kubelet_terminated_containers_total",
            "Containers that pods' statuses have shown as terminated.",
            ("container_type", "exit_code", "reason"),
            registry=registry,
        )
        self._pulls = Histogram(
            "kubelet_image_pull_duration_seconds",
            "Seconds that pulls of images took, by their size.",
            ("image_size_in_bytes",),
            buckets=_PULL_BUCKETS,
            registry=registry,
        )
        self._rejections = Counter(
            "kubelet_admission_rejections_total",
            "Pods that the node did not take, by reason.",
            ("reason",),
            registry=registry,
        )
        self._steps = Histogram(
            "kubelet_pod_worker_duration_seconds",
            "Seconds that one look at a pod took, with what followed from it.",
            ("operation_type",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._relists = Histogram(
            "kubelet_pleg_relist_duration_seconds",
            "Seconds that listing all containers took.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._relist_intervals = Histogram(
            "kubelet_pleg_relist_interval_seconds",
            "Seconds between lists of all containers.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._last_relist = Gauge(
            "kubelet_pleg_last_seen_seconds",
            "When all containers were last listed, in seconds since the epoch.",
            registry=registry,
        )
        self._relisted_at = 0.0
        self._desired = Gauge(
            "kubelet_desired_pods",
            'Pods that are to run on the node; static ones have static="true".',
            ("static",),
            registry=registry,
        )
        self._mirrors = Gauge(
            "kubelet_mirror_pods", "Static pods that the API server shows.", registry=registry
        )
        self._ephemeral = Gauge(
            "kubelet_managed_ephemeral_containers",
            "Ephemeral containers in the specs of the node's pods.",
            registry=registry,
        )

    def show_pods(
        self,
        desired: Callable[[bool], int],
        mirrors: Callable[[], int],
        ephemeral: Callable[[], int],
    ) -> None:
        """desired: how many pods there are, of those that are static or of the others. They are
        called on a thread."""
        self._desired.labels("").set_function(lambda: desired(False))
        self._desired.labels("true").set_function(lambda: desired(True))
        self._mirrors.set_function(mirrors)
        self._ephemeral.set_function(ephemeral)

    @contextmanager
    def sandbox(self, handler: str) -> Iterator[None]:
        """A sandbox is made within it."""
        began = monotonic()
        self._started.inc()
        try:
            yield
        except Exception:
            self._start_errors.inc()
            self._sandbox_errors.labels(handler).inc()
            raise
        finally:
            self._sandbox_durations.labels(handler).observe(monotonic() - began)

    def start_begun(self, kind: str) -> None:
        self._containers.labels(kind).inc()

    def start_failed(self, kind: str, reason: str) -> None:
        self._container_errors.labels(kind, reason).inc()

    def pulled(self, seconds: float, size: int) -> None:
        """An image of `size` bytes."""
        self._pulls.labels(image_size_label(size)).observe(seconds)

    def rejected(self, reason: str) -> None:
        if reason in _REJECTIONS:
            label = reason
        else:
            label = "OutOfExtendedResources" if reason.startswith("OutOf") else "Other"
        self._rejections.labels(label).inc()

    def worked(self, operation: str, seconds: float) -> None:
        """operation: create, sync or terminated"""
        self._steps.labels(operation).observe(seconds)

    def relisted(self, began: float, ended: float) -> None:
        """All containers were listed. Times are in seconds since the epoch."""
        self._relists.observe(max(0.0, ended - began))
        if self._relisted_at:
            self._relist_intervals.observe(max(0.0, began - self._relisted_at))
        self._relisted_at = began
        self._last_relist.set(ended)

    def reported(self, before: core_v1.PodStatus, after: core_v1.PodStatus) -> None:
        """The status of a pod was written: what has terminated since the one before is counted."""
        self._count_ends(CONTAINER, before.container_statuses, after.container_statuses)
        self._count_ends(INIT, before.init_container_statuses, after.init_container_statuses)
        self._count_ends(
            EPHEMERAL, before.ephemeral_container_statuses, after.ephemeral_container_statuses
        )

    def _count_ends(
        self, kind: str, before: list[core_v1.ContainerStatus], after: list[core_v1.ContainerStatus]
    ) -> None:
        for status in after:
            ended = status.state.terminated
            if ended is None:
                continue
            if not any(old.name == status.name and old.state.terminated for old in before):
                self._terminated.labels(kind, str(ended.exit_code), ended.reason or "").inc()
