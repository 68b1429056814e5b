"""What a node counts of its pods, as Prometheus reads it."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.podmetrics import PodMetrics, image_size_label, kind_of

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> PodMetrics:
    return PodMetrics(registry)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"kubelet_{name}", labels)


@pytest.mark.parametrize(
    ("size", "label"),
    [
        (0, "N/A"),
        (1, "0-10MB"),
        (10 * MIB, "0-10MB"),
        (10 * MIB + 1, "10MB-100MB"),
        (2 * GIB, "1GB-5GB"),
        (101 * GIB, "GT100GB"),
    ],
)
def test_images_are_counted_by_their_size(
    registry: CollectorRegistry, metrics: PodMetrics, size: int, label: str
) -> None:
    assert image_size_label(size) == label
    metrics.pulled(7.0, size)
    name = "image_pull_duration_seconds_bucket"
    assert value(registry, name, image_size_in_bytes=label, le="10.0") == 1
    assert value(registry, name, image_size_in_bytes=label, le="5.0") == 0


@pytest.mark.parametrize(
    ("reason", "label"),
    [
        ("OutOfcpu", "OutOfcpu"),
        ("OutOfexample.com/gpu", "OutOfExtendedResources"),
        ("SysctlForbidden", "SysctlForbidden"),
        ("NodeAffinity", "Other"),
    ],
)
def test_rejections_have_few_reasons(
    registry: CollectorRegistry, metrics: PodMetrics, reason: str, label: str
) -> None:
    metrics.rejected(reason)
    assert value(registry, "admission_rejections_total", reason=label) == 1


def test_sandboxes_are_counted_and_those_that_failed(
    registry: CollectorRegistry, metrics: PodMetrics
) -> None:
    with metrics.sandbox(""):
        pass
    with pytest.raises(OSError, match="no"), metrics.sandbox("kata"):
        raise OSError("no")
    assert value(registry, "started_pods_total") == 2
    assert value(registry, "started_pods_errors_total") == 1
    assert value(registry, "run_podsandbox_errors_total", runtime_handler="kata") == 1
    for handler in ("", "kata"):
        name = "run_podsandbox_duration_seconds_count"
        assert value(registry, name, runtime_handler=handler) == 1


def test_starts_are_counted_by_the_kind_of_container(
    registry: CollectorRegistry, metrics: PodMetrics
) -> None:
    one = pod(initContainers=[{"name": "i", "image": "i"}], ephemeralContainers=[{"name": "e"}])
    kinds = [kind_of(one, name) for name in ("c", "i", "e")]
    assert kinds == ["container", "init_container", "ephemeral_container"]
    for kind in kinds:
        metrics.start_begun(kind)
        assert value(registry, "started_containers_total", container_type=kind) == 1
    metrics.start_failed("container", "ErrImagePull")
    labels = {"container_type": "container", "code": "ErrImagePull"}
    assert value(registry, "started_containers_errors_total", **labels) == 1


def ended(name: str, code: int = 0, reason: str = "Completed") -> core_v1.ContainerStatus:
    terminated = core_v1.ContainerStateTerminated(exit_code=code, reason=reason)
    return core_v1.ContainerStatus(name=name, state=core_v1.ContainerState(terminated=terminated))


def test_an_end_is_counted_once(registry: CollectorRegistry, metrics: PodMetrics) -> None:
    nothing, runs = core_v1.PodStatus(), core_v1.ContainerStatus(name="c")
    running = core_v1.PodStatus(container_statuses=[runs], init_container_statuses=[ended("i")])
    over = core_v1.PodStatus(
        container_statuses=[ended("c", 139, "Error")], init_container_statuses=[ended("i")]
    )
    for before, after in ((nothing, running), (running, over), (over, over)):
        metrics.reported(before, after)
    name = "terminated_containers_total"
    labels = {"container_type": "container", "exit_code": "139", "reason": "Error"}
    assert value(registry, name, **labels) == 1
    labels = {"container_type": "init_container", "exit_code": "0", "reason": "Completed"}
    assert value(registry, name, **labels) == 1


def test_lists_and_looks_at_pods_are_timed(
    registry: CollectorRegistry, metrics: PodMetrics
) -> None:
    metrics.relisted(10.0, 10.2)
    assert value(registry, "pleg_relist_interval_seconds_count") == 0
    metrics.relisted(13.0, 13.5)
    assert value(registry, "pleg_relist_interval_seconds_sum") == 3.0
    assert value(registry, "pleg_relist_duration_seconds_sum") == pytest.approx(0.7)
    assert value(registry, "pleg_last_seen_seconds") == 13.5
    metrics.worked("sync", 0.5)
    labels = {"operation_type": "sync", "le": "0.5"}
    assert value(registry, "pod_worker_duration_seconds_bucket", **labels) == 1


def test_the_nodes_pods_are_counted_when_they_are_asked_for(
    registry: CollectorRegistry, metrics: PodMetrics
) -> None:
    metrics.show_pods(lambda static: 1 if static else 5, lambda: 1, lambda: 2)
    assert value(registry, "desired_pods", static="") == 5
    assert value(registry, "desired_pods", static="true") == 1
    assert value(registry, "mirror_pods") == 1
    assert value(registry, "managed_ephemeral_containers") == 2
