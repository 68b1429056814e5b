"""How long writes took, by what was done to what, under upstream's names."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from tiphys.store.metrics import StoreMetrics


@pytest.mark.parametrize(
    ("prefix", "group", "resource"),
    [
        ("/core/pods/", "", "pods"),
        ("/apps/deployments/", "apps", "deployments"),
        ("", "", ""),
        ("/nonsense/", "", ""),
        ("/a/b/c/", "", ""),
    ],
)
def test_writes_are_counted_by_resource(prefix: str, group: str, resource: str) -> None:
    registry = CollectorRegistry()
    metrics = StoreMetrics(registry)
    labels = {"operation": "update", "group": group, "resource": resource}
    for seconds in (0.005, 0.006, 61.0):
        metrics.written("update", prefix, seconds)
    metrics.written("create", prefix, 1.0)
    metrics.failed("update", prefix)
    name = "etcd_request_duration_seconds"
    assert registry.get_sample_value(f"{name}_count", labels) == 3
    assert registry.get_sample_value(f"{name}_sum", labels) == pytest.approx(61.011)
    for bound, count in (("0.005", 1), ("0.025", 2), ("60.0", 2), ("+Inf", 3)):
        assert registry.get_sample_value(f"{name}_bucket", {**labels, "le": bound}) == count
    assert registry.get_sample_value("etcd_request_errors_total", labels) == 1


def test_keys_of_no_resource_are_counted_together() -> None:
    registry = CollectorRegistry()
    metrics = StoreMetrics(registry)
    for prefix in ("", "/x/", ""):
        metrics.written("delete", prefix, 1.0)
    labels = {"operation": "delete", "group": "", "resource": ""}
    assert registry.get_sample_value("etcd_request_duration_seconds_count", labels) == 3
