"""A queue in Redis with the counts and periods of a real one, on the real clock."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.addons.keda.world import (
    AT_ONCE,
    RedisServer,
    Scaled,
    needs_redis,
    redis_server,
    scaled_object,
    trigger,
)
from tiphys.addons.keda.types import ScaledObject
from tiphys.api import core_v1
from tiphys.machinery import timestamps
from tiphys.testing import LocalCluster

pytestmark = [needs_redis, pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

_HPA = {"advanced": {"horizontalPodAutoscalerConfig": {"behavior": AT_ONCE}}}
_FALLBACK = {"failureThreshold": 3, "replicas": 6}


def jobs(name: str, redis: RedisServer, **more: Any) -> ScaledObject:
    """Five jobs for each replica, ten replicas at the most."""
    queue = trigger("redis", address=redis.address, listName=name, listLength="5")
    times = {"pollingInterval": 1, "cooldownPeriod": 5, "maxReplicaCount": 10}
    return scaled_object(name, queue, **{**times, **_HPA, **more})


async def push(redis: RedisServer, name: str, count: int) -> None:
    await redis.command("LPUSH", name, *map(str, range(count)))


async def sizes(cluster: LocalCluster, name: str) -> list[str]:
    """What autoscalers say that they have done."""
    events = (await cluster.client.list(core_v1.Event, "default")).items
    return [
        event.message.split(";")[0]
        for event in events
        if event.involved_object.name == name and event.reason == "SuccessfulRescale"
    ]


async def test_from_none_to_ten_and_back_within_seconds(keda: LocalCluster, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as redis:
        scaled = await Scaled.made(keda, jobs("clocked", redis, fallback=_FALLBACK))
        await scaled.says("Active", "False", "ScalerNotActive")
        assert await scaled.replicas() == 0
        before = await scaled.moment()
        await push(redis, "clocked", 100)
        pushed = time.time()
        first, *_, last = await scaled.counts(before, until=10)
        assert first.replicas == 1 and first.at - pushed <= 2.0
        assert last.replicas == 10
        await scaled.tells("KEDAScaleTargetActivated")
        await keda.eventually(lambda: sizes(keda, "keda-hpa-clocked"))
        assert "New size: 10" in await sizes(keda, "keda-hpa-clocked")

        before = await scaled.moment()
        await redis.command("DEL", "clocked")
        drained = time.time()
        *between, last = await scaled.counts(before, until=0)
        active_at = timestamps.parse((await scaled.object()).status.last_active_time)
        assert last.at - active_at > 5.0 and last.at - drained <= 7.0
        assert all(count.replicas >= 1 for count in between)


async def test_six_replicas_while_redis_is_dead(keda: LocalCluster, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as redis:
        await push(redis, "orphaned", 15)
        scaled = await Scaled.made(keda, jobs("orphaned", redis, fallback=_FALLBACK))
        await scaled.has(3)
        before = await scaled.moment()
        await redis.stop()
        await scaled.says("Fallback", "True", "FallbackExists")
        counts = await scaled.counts(before, until=6)
        assert [count.replicas for count in counts] == [6]
        await redis.start()
        await push(redis, "orphaned", 15)
        await scaled.says("Fallback", "False", "NoFallbackFound")
        await scaled.has(3)


async def test_an_idle_count_is_kept_while_nothing_is_to_be_done(
    keda: LocalCluster, tmp_path: Path
) -> None:
    async with redis_server(tmp_path) as redis:
        idle = {"idleReplicaCount": 0, "minReplicaCount": 2, "cooldownPeriod": 1}
        scaled = await Scaled.made(keda, jobs("idle", redis, **idle), replicas=2)
        await scaled.has(0)
        before = await scaled.moment()
        await push(redis, "idle", 1)
        (count,) = await scaled.counts(before, until=2)
        assert count.replicas == 2
        await redis.command("DEL", "idle")
        await scaled.has(0)


async def test_the_first_cooldown_has_a_length_of_its_own(
    keda: LocalCluster, tmp_path: Path
) -> None:
    async with redis_server(tmp_path) as redis:
        obj = jobs("settling", redis, initialCooldownPeriod=4, cooldownPeriod=0)
        scaled = await Scaled.made(keda, obj, replicas=3)
        await scaled.says("Active", "False", "ScalerCooldown")
        before = await scaled.moment()
        assert before.replicas >= 1
        *_, last = await scaled.counts(before, until=0)
        created = timestamps.parse((await scaled.object()).metadata.creation_timestamp)
        assert last.at - created > 4.0


async def test_a_replica_can_be_forced_without_a_job(keda: LocalCluster, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as redis:
        scaled = await Scaled.made(keda, jobs("forced", redis, cooldownPeriod=1))
        await scaled.says("Active", "False", "ScalerNotActive")
        await scaled.annotate(force_activation="true")
        await scaled.has(1)
        message = await scaled.says("Active", "True", "ScalerActive")
        assert message == "Scaling is performed because activation is being forced by annotation"
        await scaled.annotate(force_activation=None)
        await scaled.has(0)


async def test_a_pause_may_hold_one_direction_alone(keda: LocalCluster, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as redis:
        await push(redis, "held", 25)
        scaled = await Scaled.made(keda, jobs("held", redis, cooldownPeriod=1))
        await scaled.has(5)
        await scaled.annotate(paused_scale_in="true")
        await scaled.says("Paused", "True", "ScaledObjectPaused")
        before = await scaled.moment()
        await redis.command("DEL", "held")
        await scaled.says("Active", "False", "ScalerNotActive")
        await push(redis, "held", 30)
        assert [count.replicas for count in await scaled.counts(before, until=6)] == [6]
        await scaled.annotate(paused_scale_in=None, paused_scale_out="true")
        await push(redis, "held", 20)
        await scaled.says("Active", "True")
        await redis.command("DEL", "held")
        counts = await scaled.counts(before, until=0)
        assert max(count.replicas for count in counts) == 6
