"""When an autoscaler's changes are said to have happened."""

from __future__ import annotations

from typing import Any

from tests.builders import deployment
from tiphys.api import autoscaling_v2
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.controllers.autoscaler import AutoscalerController
from tiphys.controllers.shell import Context
from tiphys.machinery import timestamps
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
