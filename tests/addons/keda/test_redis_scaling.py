"""A queue in a real Redis scales a workload from nothing to many and back: what is above one is the
autoscaler's work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.addons.keda.world import (
    AT_ONCE,
    Scaled,
    needs_redis,
    page,
    redis_server,
    scaled_object,
    trigger,
)
from tests.builders import machine_address
from tiphys.addons.keda.types import ScaledObject
from tiphys.addons.keda.types import TriggerAuthentication as Authentication
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

pytestmark = [needs_redis, pytest.mark.asyncio(loop_scope="package")]

HPA = {"advanced": {"horizontalPodAutoscalerConfig": {"behavior": AT_ONCE}}}


async def test_a_queue_brings_ten_replicas_and_takes_them_away(
    keda: LocalCluster, tmp_path: Path
) -> None:
    async with redis_server(tmp_path) as redis:
        queue = trigger("redis", address=redis.address, listName="jobs", listLength="5")
        scaled = await Scaled.made(
            keda,
            scaled_object(
                "queue", queue, pollingInterval=1, cooldownPeriod=2, maxReplicaCount=10, **HPA
            ),
        )
        await scaled.says("Active", "False", "ScalerNotActive")
        assert await scaled.replicas() == 0
        await redis.command("LPUSH", "jobs", *map(str, range(100)))
        await scaled.has(10)

        async def is_its_work() -> bool:
            hpa = await scaled.autoscaler()
            return hpa is not None and hpa.status.desired_replicas == 10

        await keda.eventually(is_its_work)
        await redis.command("DEL", "jobs")
        await scaled.has(0)
        await scaled.tells("KEDAScaleTargetActivated", "KEDAScaleTargetDeactivated")


@pytest.mark.slow
async def test_replicas_fall_back_while_the_server_is_away(
    keda: LocalCluster, tmp_path: Path
) -> None:
    async with redis_server(tmp_path) as redis:
        await redis.command("LPUSH", "jobs", "one")
        queue = trigger("redis", address=redis.address, listName="jobs", listLength="5")
        falls = {"fallback": {"failureThreshold": 3, "replicas": 6}}
        scaled = await Scaled.made(
            keda, scaled_object("falls", queue, pollingInterval=1, **falls, **HPA)
        )
        await scaled.has(1)
        await redis.stop()
        await scaled.says("Fallback", "True", "FallbackExists")
        await scaled.has(6)
        health = (await scaled.object()).status.health["s0-redis-jobs"]
        assert health.status == "Failing" and (health.number_of_failures or 0) > 3
        await redis.start()
        await redis.command("LPUSH", "jobs", "one")
        await scaled.says("Fallback", "False", "NoFallbackFound")
        await scaled.has(1)
        await scaled.tells("ScaledObjectFallbackActivated", "ScaledObjectFallbackDeactivated")


@pytest.mark.slow
async def test_an_unreachable_server_is_named_and_nothing_is_scaled(keda: LocalCluster) -> None:
    queue = trigger("redis", address="192.0.2.1:1", listName="jobs")
    scaled = await Scaled.made(keda, scaled_object("away", queue, pollingInterval=1), replicas=2)
    message = await scaled.says("Ready", "False", "TriggerError")
    assert message == "Triggers defined in ScaledObject are not working correctly"
    assert await scaled.replicas() == 2
    await scaled.tells("KEDAScalerFailed")


@pytest.mark.slow
async def test_a_formula_is_one_metric_of_two_queues(keda: LocalCluster, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as redis:
        queues = [
            trigger("redis", name, address=redis.address, listName=name) for name in ("one", "two")
        ]
        modifiers = {"formula": "one > 2 ? one + two : 0", "target": "2", "activationTarget": "4"}
        advanced = {**HPA["advanced"], "scalingModifiers": modifiers}
        scaled = await Scaled.made(
            keda, scaled_object("sum", *queues, pollingInterval=1, advanced=advanced)
        )
        await redis.command("RPUSH", "two", *"abcdef")
        await scaled.says("Active", "False")
        await redis.command("RPUSH", "one", *"abcd")
        await scaled.has(5)
        status = (await scaled.object()).status
        assert status.composite_scaler_name == "composite-metric"
        assert set(status.external_metric_names) == {"s0-redis-one", "s1-redis-two"}


@pytest.mark.slow
async def test_an_autoscaler_that_stands_is_taken_over_by_name(keda: LocalCluster) -> None:
    standing = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "mine", "namespace": "default"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "taken"},
        },
    }
    await keda.client.create(standing)
    obj = scaled_object(
        "taken",
        trigger("kubernetes-workload", podSelector="app=taken", value="1"),
        maxReplicaCount=7,
        advanced={"horizontalPodAutoscalerConfig": {"name": "mine"}},
    )
    obj.metadata.annotations = {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}
    scaled = await Scaled.made(keda, obj, replicas=1)

    async def is_ours() -> bool:
        hpa = await scaled.autoscaler("mine")
        assert hpa is not None
        owners = [owner.kind for owner in hpa.metadata.owner_references]
        return hpa.spec.max_replicas == 7 and owners == [ScaledObject.__name__]

    await keda.eventually(is_ours)


async def test_credentials_come_from_a_secret_over_tls(keda: LocalCluster, tmp_path: Path) -> None:
    certificate, key = keda.authority.ensure(
        "redis", "redis", (), (machine_address(),), server=True
    )
    tls = ("--port", "0", "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
           "--tls-ca-cert-file", str(keda.authority.path), "--tls-auth-clients", "no",
           "--requirepass", "secret")  # fmt: skip
    port = free_port()
    async with redis_server(tmp_path, *tls, "--tls-port", str(port), port=port):
        secret = core_v1.Secret(metadata=ObjectMeta(name="redis", namespace="default"))
        secret.data = {"password": b"secret", "ca": keda.authority.path.read_bytes()}
        await keda.client.create(secret)
        refs = [{"parameter": name, "name": "redis", "key": name} for name in ("password", "ca")]
        spec = {"secretTargetRef": refs}
        meta = {"name": "redis", "namespace": "default"}
        await keda.client.create(from_builtins({"metadata": meta, "spec": spec}, Authentication))
        address = f"{machine_address()}:{port}"
        queue = trigger("redis", address=address, listName="q", enableTLS="true")
        queue["authenticationRef"] = {"name": "redis"}
        scaled = await Scaled.made(keda, scaled_object("secret", queue, pollingInterval=1))
        await scaled.says("Active", "False", "ScalerNotActive")
        await scaled.says("Ready", "True")
        used = await keda.client.get(Authentication, "redis", "default")
        assert used.status.scaledobjects == "secret"


@pytest.mark.slow
async def test_what_the_add_on_does_is_counted_under_kedas_names(keda: LocalCluster) -> None:
    pods = trigger("kubernetes-workload", podSelector="app=counted", value="1")
    scaled = await Scaled.made(keda, scaled_object("counted", pods, pollingInterval=1), replicas=1)
    await scaled.says("Active", "True")
    labels = 'scaledObject="counted",scaler="kubernetesWorkloadScaler",triggerIndex="0"'
    assert any(
        row.startswith("keda_scaler_active{") and labels in row and row.endswith(" 1.0")
        for row in page(keda).splitlines()
    )
    assert 'keda_trigger_registered_total{type="kubernetes-workload"}' in page(keda)
