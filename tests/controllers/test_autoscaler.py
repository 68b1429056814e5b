"""When an autoscaler's changes are said to have happened."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.builders import deployment, pod
from tests.controllers.bench import Bench
from tiphys.api import autoscaling_v2
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.controllers.autoscaler import AutoscalerController, Stop
from tiphys.controllers.autoscaling import MetricError
from tiphys.controllers.metrics import Proposal
from tiphys.controllers.shell import Context
from tiphys.machinery import timestamps
from tiphys.machinery.errors import forbidden
from tiphys.testing import LocalCluster


async def test_a_scaling_is_dated_when_it_has_been_written(server: LocalCluster) -> None:
    """A policy's period begins there: metrics that took long to fetch must not shorten it."""
    client = server.client
    await client.create(deployment("web", 1))
    hpa = autoscaling_v2.HorizontalPodAutoscaler(
        metadata=ObjectMeta(name="web", namespace="default")
    )
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": ref, "minReplicas": 2, "maxReplicas": 9}
    hpa.spec = from_builtins(spec, autoscaling_v2.HorizontalPodAutoscalerSpec)
    await client.create(hpa)
    moments = [1_700_000_000.0]

    class Slow(AutoscalerController):
        async def _rescale(self, *args: Any) -> None:
            await super()._rescale(*args)
            moments.append(moments[0] + 60)

    recorder = EventRecorder(client, "test")
    informers = Informers(client, server.tasks)
    context = Context(client, informers, recorder, server.tasks, lambda: moments[-1])
    controller = Slow(context)
    controller.watch()
    await informers.synced()
    await controller.reconcile("default/web")
    found = await client.get(autoscaling_v2.HorizontalPodAutoscaler, "web", "default")
    assert found.status.desired_replicas == 2
    assert found.status.last_scale_time == timestamps.rfc3339(1_700_000_060)


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")
HPA = autoscaling_v2.HorizontalPodAutoscaler
CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
}


@pytest_asyncio.fixture(loop_scope="package")
async def scaler(bench: Bench) -> AutoscalerController:
    return bench.start(AutoscalerController)


def wanted(name: str = "web", **spec: Any) -> HPA:
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    given = {"scaleTargetRef": ref, "minReplicas": 2, "maxReplicas": 4, "metrics": [CPU], **spec}
    made = HPA(metadata=ObjectMeta(name=name))
    made.spec = from_builtins(given, autoscaling_v2.HorizontalPodAutoscalerSpec)
    return made


async def target(bench: Bench, replicas: int) -> Any:
    made = await bench.add(deployment("web", replicas))
    return await bench.say(made, replicas=replicas)


async def said(bench: Bench, name: str = "web") -> dict[str, tuple[str, str]]:
    found = await bench.get(HPA, name)
    assert found is not None
    return {each.type: (each.status, each.reason) for each in found.status.conditions}


@pytest.mark.parametrize(
    ("replicas", "size", "why"),
    [(1, 2, "below Spec.MinReplicas"), (5, 4, "above Spec.MaxReplicas")],
)
@together
async def test_the_bounds_come_before_the_metrics(
    bench: Bench, scaler: AutoscalerController, replicas: int, size: int, why: str
) -> None:
    await target(bench, replicas)
    await bench.add(wanted())
    assert await bench.step(scaler, "web") == 15
    web = await bench.client.get(type(deployment()), "web", bench.namespace)
    assert web.spec.replicas == size
    assert bench.events.recorded[0].message.endswith(
        f"New size: {size}; reason: Current number of replicas {why}"
    )
    assert bench.reasons() == ["SuccessfulRescale"]
    assert await said(bench) == {"AbleToScale": ("True", "SucceededRescale")}
    found = await bench.get(HPA, "web")
    assert found is not None and found.status.last_scale_time
    assert (found.status.current_replicas, found.status.desired_replicas) == (replicas, size)


@together
async def test_a_target_of_none_is_not_scaled(bench: Bench, scaler: AutoscalerController) -> None:
    await target(bench, 0)
    await bench.add(wanted())
    await bench.step(scaler, "web")
    assert (await said(bench))["ScalingActive"] == ("False", "ScalingDisabled")
    found = await bench.get(HPA, "web")
    assert found is not None and found.status.desired_replicas == 0 and bench.reasons() == []
    assert found.status.last_scale_time is None


@together
async def test_a_target_that_is_not_there_is_told(
    bench: Bench, scaler: AutoscalerController
) -> None:
    made = await bench.add(wanted())
    for ref in ({}, {"kind": "Unheard"}, {"apiVersion": "none.example.com/v1"}):
        await bench.change(made, spec={"scaleTargetRef": ref})
        await bench.step(scaler, "web")
        assert bench.reasons() == ["FailedGetScale"]
        assert (await said(bench))["AbleToScale"] == ("False", "FailedGetScale")


@together
async def test_metrics_that_cannot_be_had_stop_everything(
    bench: Bench, scaler: AutoscalerController
) -> None:
    await target(bench, 3)
    await bench.add(pod("p", labels={"app": "web"}))
    await bench.add(wanted())
    await bench.step(scaler, "web")
    assert bench.reasons() == ["FailedGetResourceMetric", "FailedComputeMetricsReplicas"]
    assert (await said(bench))["ScalingActive"] == ("False", "FailedGetResourceMetric")
    web = await bench.client.get(type(deployment()), "web", bench.namespace)
    assert web.spec.replicas == 3


@together
async def test_pods_of_several_autoscalers_are_scaled_by_none(
    bench: Bench, scaler: AutoscalerController
) -> None:
    await target(bench, 3)
    await bench.add(pod("p", labels={"app": "web"}))
    await bench.add(wanted())
    await bench.add(wanted("more"))
    await bench.step(scaler, "web")
    bench.reasons()
    await bench.step(scaler, "more")
    assert (await said(bench, "more"))["ScalingActive"] == ("False", "AmbiguousSelector")
    names = f"[{{more {bench.namespace}}} {{web {bench.namespace}}}]"
    assert bench.events.recorded[0].message.endswith(names)
    assert bench.reasons() == ["AmbiguousSelector", "FailedComputeMetricsReplicas"]
    await bench.client.delete(HPA, "web", bench.namespace)
    await bench.step(scaler, "web")
    await bench.step(scaler, "more")
    assert (await said(bench, "more"))["ScalingActive"] == ("False", "FailedGetResourceMetric")


class Answers:
    """Stands for the metrics APIs: each metric proposes what its name says, or fails."""

    async def propose(self, hpa: HPA, spec: Any, target: Any) -> Proposal:
        name = spec.resource.name
        if name == "broken":
            raise MetricError("FailedGetResourceMetric", "no answer")
        status = autoscaling_v2.MetricStatus(type="Resource")
        return Proposal(int(name.removeprefix("n")), name, status)


def named(*names: str) -> list[dict[str, Any]]:
    goal = {"type": "AverageValue", "averageValue": "1"}
    return [{"type": "Resource", "resource": {"name": name, "target": goal}} for name in names]


@pytest.mark.parametrize(
    ("metrics", "size", "active"),
    [
        (("n3",), 3, "ValidMetricFound"),
        (("n4",), 4, "ValidMetricFound"),
        (("n2",), 2, "ValidMetricFound"),
        (("n2", "n4"), 4, "ValidMetricFound"),
        (("n4", "n2"), 4, "ValidMetricFound"),
        (("n9",), 5, "ValidMetricFound"),
        (("broken", "n4"), 4, "ValidMetricFound"),
        (("broken", "n3"), 3, "ValidMetricFound"),
        (("broken", "n2"), 3, "FailedGetResourceMetric"),
        (("broken",), 3, "FailedGetResourceMetric"),
    ],
)
@together
async def test_the_most_that_a_metric_calls_for_counts_and_none_shrinks_on_half_the_facts(
    bench: Bench, scaler: AutoscalerController, metrics: tuple[str, ...], size: int, active: str
) -> None:
    await target(bench, 3)
    at_once = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    await bench.add(wanted(metrics=named(*metrics), maxReplicas=5, behavior=at_once))
    scaler._metrics = Answers()  # type: ignore[assignment]
    await bench.step(scaler, "web")
    web = await bench.client.get(type(deployment()), "web", bench.namespace)
    assert web.spec.replicas == size
    conditions = await said(bench)
    assert conditions["ScalingActive"][1] == active
    if active == "ValidMetricFound":
        found = await bench.get(HPA, "web")
        assert found is not None and len(found.status.current_metrics) == len(metrics)
        limited = metrics == ("n9",)
        assert conditions["ScalingLimited"][0] == str(limited)
        if size != 3:
            direction = "above target" if size > 3 else "All metrics below target"
            assert direction in bench.events.recorded[-1].message


@together
async def test_only_a_changed_spec_leads_to_a_look_before_its_time(
    bench: Bench, scaler: AutoscalerController
) -> None:
    made = await bench.add(wanted())
    assert await bench.queued(scaler) == ["web"]
    await bench.change(made, metadata={"labels": {"a": "b"}})
    assert await bench.queued(scaler) == []
    await bench.change(made, spec={"maxReplicas": 7})
    assert await bench.queued(scaler) == ["web"]
    await bench.remove(made)
    assert await bench.queued(scaler) == ["web"]


@together
async def test_a_target_that_cannot_be_scaled_is_told(
    bench: Bench, scaler: AutoscalerController
) -> None:
    await target(bench, 1)
    await bench.add(wanted())
    limits = scaler.client.request

    async def refuse(method: str, *args: Any, **more: Any) -> Any:
        if method == "PATCH":
            raise forbidden("deployments", "web", "not now")
        return await limits(method, *args, **more)

    scaler.client.request = refuse  # type: ignore[method-assign]
    try:
        await bench.step(scaler, "web")
    finally:
        scaler.client.request = limits  # type: ignore[method-assign]
    assert bench.reasons() == ["FailedRescale"]
    assert await said(bench) == {"AbleToScale": ("False", "FailedUpdateScale")}


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("", ["SelectorRequired", "FailedComputeMetricsReplicas"]),
        ("a in (", ["InvalidSelector", "FailedComputeMetricsReplicas"]),
    ],
)
@together
async def test_a_target_without_a_selector_is_told(
    bench: Bench, scaler: AutoscalerController, text: str, reasons: list[str]
) -> None:
    hpa = wanted()
    hpa.metadata.namespace = bench.namespace
    with pytest.raises(Stop):
        scaler._pods_of(hpa, text)
    assert bench.reasons() == reasons
    [condition] = hpa.status.conditions
    assert (condition.type, condition.status, condition.reason) == (
        "ScalingActive",
        "False",
        "InvalidSelector",
    )


@together
async def test_what_was_remembered_of_an_autoscaler_goes_with_it(
    bench: Bench, scaler: AutoscalerController
) -> None:
    await target(bench, 3)
    await bench.add(pod("p", labels={"app": "web"}))
    made = await bench.add(wanted())
    await bench.step(scaler, "web")
    key = bench.key("web")
    assert key in scaler._records and key in scaler._selectors
    await bench.remove(made)
    assert await bench.step(scaler, "web") is None
    assert key not in scaler._records and key not in scaler._selectors


@together
async def test_a_target_that_can_be_read_is_able_to_scale(
    bench: Bench, scaler: AutoscalerController
) -> None:
    await target(bench, 0)
    await bench.add(wanted())
    await bench.step(scaler, "web")
    assert (await said(bench))["AbleToScale"] == ("True", "SucceededGetScale")
