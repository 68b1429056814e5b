"""What a node counts: how long pods take to start, what runs, and calls to the runtime."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.machinery import timestamps
from tiphys.node.cri.client import CRIClient
from tiphys.node.cri.messages import VersionRequest, VersionResponse
from tiphys.node.metrics import KubeletMetrics, operation_type
from tiphys.node.pod.startup import PodStartup
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import PodIdentity, VolumeUsage

CREATED = 1_000_000.0


def shown(*, started: bool) -> core_v1.Pod:
    """A pod as the API server shows it."""
    one = pod("p")
    one.metadata.creation_timestamp = timestamps.rfc3339(CREATED)
    status = core_v1.ContainerStatus(name="c")
    if started:
        status.state.running = core_v1.ContainerStateRunning()
    one.status.container_statuses = [status]
    return one


def test_cores_are_counted_and_how_pods_get_them() -> None:
    registry = CollectorRegistry()
    metrics = KubeletMetrics(registry)
    metrics.show_cores(lambda: 6, lambda: 2)
    metrics.placed(0.0002, failed=False)
    metrics.placed(0.4, failed=True)
    values = {
        "topology_manager_admission_requests_total": 2,
        "topology_manager_admission_errors_total": 1,
        "topology_manager_admission_duration_ms_sum": 400.2,
        "cpu_manager_shared_pool_size_millicores": 6000,
        "cpu_manager_exclusive_cpu_allocation_count": 2,
    }
    for name, value in values.items():
        assert registry.get_sample_value(f"kubelet_{name}") == pytest.approx(value)


class Started:
    """A pod that was seen 1 s after its creation, and what was observed of it."""

    def __init__(self, first: core_v1.Pod) -> None:
        self.registry = CollectorRegistry()
        self.metrics = KubeletMetrics(self.registry)
        self.startup = PodStartup(first, CREATED + 1)

    def observe(self, one: core_v1.Pod, seconds: float) -> None:
        self.startup.observe(one, CREATED + seconds, self.metrics)

    def value(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"kubelet_pod_start_{name}")


def test_a_start_is_observed_once_all_containers_are_seen_to_run() -> None:
    started = Started(shown(started=False))
    started.observe(shown(started=False), 2)
    assert started.value("total_duration_seconds_count") == 0
    started.observe(shown(started=True), 4)
    started.observe(shown(started=True), 9)
    assert started.value("total_duration_seconds_count") == 1
    assert started.value("total_duration_seconds_sum") == 4
    assert started.value("duration_seconds_sum") == 3


def test_pulls_do_not_count_to_the_objective() -> None:
    started = Started(shown(started=False))
    started.startup.pulled(CREATED + 1, CREATED + 2)
    started.startup.pulled(CREATED + 2.5, CREATED + 4)
    started.observe(shown(started=True), 5)
    assert started.value("sli_duration_seconds_sum") == 2


def test_init_containers_do_not_count_to_the_objective() -> None:
    started = Started(shown(started=False))
    one = shown(started=True)
    ended = core_v1.ContainerStatus(name="init")
    ended.state.terminated = core_v1.ContainerStateTerminated(
        started_at=timestamps.rfc3339(CREATED + 1), finished_at=timestamps.rfc3339(CREATED + 3)
    )
    one.status.init_container_statuses = [ended]
    started.observe(one, 6)
    assert started.value("sli_duration_seconds_sum") == 4


def test_a_pod_that_an_agent_before_this_one_started_is_not_observed() -> None:
    started = Started(shown(started=True))
    started.observe(shown(started=True), 100)
    assert started.value("total_duration_seconds_count") == 0


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("RuntimeService/Version", "version"),
        ("RuntimeService/RunPodSandbox", "run_podsandbox"),
        ("RuntimeService/ListContainers", "list_containers"),
        ("RuntimeService/UpdateContainerResources", "update_container"),
        ("RuntimeService/PodSandboxStatus", "podsandbox_status"),
        ("ImageService/PullImage", "pull_image"),
    ],
)
def test_operations_are_called_as_upstream_calls_them(method: str, operation: str) -> None:
    assert operation_type(method) == operation


async def test_calls_that_fail_are_counted_as_calls_and_as_errors() -> None:
    registry = CollectorRegistry()
    client = CRIClient("/nonexistent", KubeletMetrics(registry))
    with pytest.raises((RuntimeFault, TimeoutError)):
        request = VersionRequest(version="v1")
        await client.call("RuntimeService/Version", request, VersionResponse, timeout=1)
    await client.close()
    labels = {"operation_type": "version"}
    for name in ("total", "errors_total", "duration_seconds_count"):
        assert registry.get_sample_value(f"kubelet_runtime_operations_{name}", labels) == 1


def test_volumes_of_claims_are_shown_once() -> None:
    metrics = KubeletMetrics(CollectorRegistry())
    volume = VolumeUsage("data", ("ns", "c"), 0.0, (10, 4, 6))
    inline = VolumeUsage("own", None, 0.0, (10, 4, 6))
    metrics.show_volumes(lambda: {"a": [volume, inline], "b": [volume]})
    [family] = [
        one for one in metrics.registry.collect() if one.name == "kubelet_volume_stats_used_bytes"
    ]
    labels = {"namespace": "ns", "persistentvolumeclaim": "c"}
    assert [(sample.labels, sample.value) for sample in family.samples] == [(labels, 4.0)]


def test_probes_are_counted_until_their_pod_is_gone() -> None:
    metrics = KubeletMetrics(CollectorRegistry())
    identity = PodIdentity("ns", "p", "u")
    for success, seconds in ((True, 0.1), (True, 0.2), (False, 1.0)):
        metrics.probes.observe(identity, "c", "liveness", success, seconds)

    def count(result: str) -> float | None:
        labels = {"probe_type": "Liveness", "result": result, "container": "c", "pod": "p"}
        labels |= {"namespace": "ns", "pod_uid": "u"}
        return metrics.probes.registry.get_sample_value("prober_probe_total", labels)

    def took() -> float | None:
        labels = {"probe_type": "Liveness", "container": "c", "pod": "p", "namespace": "ns"}
        return metrics.probes.registry.get_sample_value("prober_probe_duration_seconds_sum", labels)

    assert (count("successful"), count("failed"), took()) == (2, 1, pytest.approx(1.3))
    metrics.probes.observe(identity._replace(uid="its successor"), "c", "liveness", True, 0.1)
    metrics.probes.forget("u")
    metrics.probes.forget("its successor")
    assert (count("successful"), took()) == (None, None)


def test_evictions_have_upstreams_names() -> None:
    registry = CollectorRegistry()
    KubeletMetrics(registry).evictions.labels("memory.available").inc()
    labels = {"eviction_signal": "memory.available"}
    assert registry.get_sample_value("kubelet_evictions", labels) == 1
