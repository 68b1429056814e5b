"""What the add-on counts of its own work, under KEDA's names."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.addons.keda.tables import made
from tests.addons.pretended import Pretended
from tiphys.addons.keda.observing import Observer
from tiphys.addons.keda.scaler import Measured
from tiphys.addons.keda.types import ScaledJob, ScaledObject, TriggerAuthentication
from tiphys.api.base import from_builtins

CRON = {"start": "0 1 * * *", "end": "0 2 * * *", "timezone": "UTC", "desiredReplicas": "1"}


class Bench:
    def __init__(self) -> None:
        self.server = Pretended()
        context: Any = SimpleNamespace(client=self.server, informers=self.server)
        self.observer = Observer(context)

    def counted(self, name: str, **labels: str) -> float | None:
        return self.server.metrics.registry.get_sample_value(f"keda_{name}", labels)

    def of_scaler(self, name: str, **more: str) -> float | None:
        labels = {
            "namespace": "ns",
            "metric": "m",
            "scaledObject": "w",
            "scaler": "cronScaler",
            "triggerIndex": "0",
            "type": "scaledobject",
        }
        return self.counted(name, **{**labels, **more})


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_what_a_trigger_measured_is_shown(bench: Bench) -> None:
    cron = made("cron", CRON)
    bench.observer.looked(cron, "m", Measured(7, True), time.monotonic() - 5)
    assert bench.of_scaler("scaler_metrics_value") == 7
    assert bench.of_scaler("scaler_active") == 1
    latency = bench.of_scaler("scaler_metrics_latency_seconds")
    assert latency is not None and 5 <= latency < 60
    bench.observer.looked(cron, "m", Measured(0, False), time.monotonic())
    assert bench.of_scaler("scaler_active") == 0
    assert bench.of_scaler("scaler_detail_errors_total") is None


async def test_failures_are_counted_by_trigger_and_object(bench: Bench) -> None:
    cron = made("cron", CRON)
    for _ in range(2):
        bench.observer.looked(cron, "m", None, time.monotonic())
    assert bench.of_scaler("scaler_detail_errors_total") == 2
    owner = {"namespace": "ns", "scaledObject": "w"}
    assert bench.counted("scaled_object_errors_total", **owner) == 2
    assert bench.of_scaler("scaler_metrics_value") is None
    job = made("cron", CRON, owner_kind="ScaledJob")
    bench.observer.looked(job, "m", None, time.monotonic())
    assert bench.counted("scaled_job_errors_total", namespace="ns", scaledJob="w") == 1
    assert bench.counted("scaled_object_errors_total", **owner) == 2


@pytest.mark.parametrize(
    ("kind", "metadata", "name", "shown"),
    [
        ("cron", CRON, "", "cronScaler"),
        ("cron", CRON, "mine", "mine"),
        (
            "kubernetes-workload",
            {"podSelector": "a=b", "value": "1"},
            "",
            "kubernetesWorkloadScaler",
        ),
    ],
)
async def test_a_trigger_is_called_by_its_name_or_its_class(
    bench: Bench, kind: str, metadata: Any, name: str, shown: str
) -> None:
    bench.observer.looked(made(kind, metadata, name=name), "m", Measured(1, True), 0)
    assert bench.of_scaler("scaler_metrics_value", scaler=shown) == 1


async def test_pauses_and_late_loops_are_shown(bench: Bench) -> None:
    owner = {"namespace": "ns", "scaledObject": "w"}
    for is_paused in (True, False):
        bench.observer.paused("ns", "w", is_paused)
        assert bench.counted("scaled_object_paused", **owner) == is_paused
    labels = {"namespace": "ns", "type": "scaledobject", "resource": "w"}
    for late, shown in ((2.5, 2.5), (-1.0, 0.0)):
        bench.observer.late("ScaledObject", "ns/w", late)
        assert bench.counted("internal_scale_loop_latency_seconds", **labels) == shown


async def test_an_object_that_is_gone_is_shown_no_more(bench: Bench) -> None:
    cron = made("cron", CRON)
    bench.observer.looked(cron, "m", Measured(7, True), 0)
    bench.observer.looked(cron, "m", None, 0)
    bench.observer.paused("ns", "w", True)
    bench.observer.late("ScaledObject", "ns/w", 1)
    bench.observer.forget("ScaledObject", "ns/other")
    assert bench.of_scaler("scaler_metrics_value") == 7
    bench.observer.forget("ScaledObject", "ns/w")
    for name in ("metrics_value", "metrics_latency_seconds", "active", "detail_errors_total"):
        assert bench.of_scaler(f"scaler_{name}") is None, name
    owner = {"namespace": "ns", "scaledObject": "w"}
    assert bench.counted("scaled_object_errors_total", **owner) is None
    assert bench.counted("scaled_object_paused", **owner) is None


async def test_objects_and_triggers_are_counted_when_somebody_looks(bench: Bench) -> None:
    triggers = [{"type": kind, "metadata": {}} for kind in ("cron", "cron", "redis")]
    for number, (kind, namespace) in enumerate(
        ((ScaledObject, "a"), (ScaledObject, "a"), (ScaledObject, "b"), (ScaledJob, "a"))
    ):
        meta = {"name": str(number), "namespace": namespace}
        spec = {"triggers": triggers if number < 2 else []}
        bench.server.put(from_builtins({"metadata": meta, "spec": spec}, kind))
    meta = {"name": "t", "namespace": "a"}
    bench.server.put(from_builtins({"metadata": meta, "spec": {}}, TriggerAuthentication))
    found = {
        (kind, namespace): bench.counted(
            "resource_registered_total", type=kind, namespace=namespace
        )
        for kind in ("scaled_object", "scaled_job", "trigger_authentication")
        for namespace in "ab"
    }
    assert found == {
        ("scaled_object", "a"): 2,
        ("scaled_object", "b"): 1,
        ("scaled_job", "a"): 1,
        ("scaled_job", "b"): None,
        ("trigger_authentication", "a"): 1,
        ("trigger_authentication", "b"): None,
    }
    assert bench.counted("trigger_registered_total", type="cron") == 4
    assert bench.counted("trigger_registered_total", type="redis") == 2


async def test_an_add_on_may_start_again_in_its_process(bench: Bench) -> None:
    bench.observer.close()
    context: Any = SimpleNamespace(client=bench.server, informers=bench.server)
    again = Observer(context)
    again.paused("ns", "w", True)
    assert bench.counted("scaled_object_paused", namespace="ns", scaledObject="w") == 1
