"""A queue in a real Redis scales a workload from nothing to many and back: what is above one is the
autoscaler's work."""

from __future__ import annotations

from pathlib import Path

from tests.addons.keda.world import (
    AT_ONCE,
    Scaled,
    keda_cluster,
    needs_redis,
    redis_server,
    scaled_object,
    trigger,
)

pytestmark = needs_redis
HPA = {"advanced": {"horizontalPodAutoscalerConfig": {"behavior": AT_ONCE}}}


async def test_a_queue_brings_ten_replicas_and_takes_them_away(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as redis, keda_cluster() as cluster:
        queue = trigger("redis", address=redis.address, listName="jobs", listLength="5")
        scaled = await Scaled.made(
            cluster,
            scaled_object(
                "w", queue, pollingInterval=1, cooldownPeriod=2, maxReplicaCount=10, **HPA
            ),
        )
        await scaled.says("Active", "False", "ScalerNotActive")
        assert await scaled.replicas() == 0
        await redis.command("LPUSH", "jobs", *map(str, range(100)))
        await scaled.has(10)
        hpa = await scaled.autoscaler()
        assert hpa is not None and hpa.status.desired_replicas == 10
        await redis.command("DEL", "jobs")
        await scaled.has(0)
        assert {"KEDAScaleTargetActivated", "KEDAScaleTargetDeactivated"} <= set(
            await scaled.reasons()
        )
