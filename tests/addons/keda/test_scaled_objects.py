"""ScaledObjects in a cluster: what becomes of them, and what is refused."""

from __future__ import annotations

import pytest

from tests.addons.keda.world import (
    AT_ONCE,
    Scaled,
    deployment,
    scaled_object,
    trigger,
)
from tiphys.addons.keda.types import ScaledObject, TriggerAuthentication
from tiphys.api import apiregistration_v1, apps_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.client.client import MERGE
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

ALL_YEAR = trigger(
    "cron", timezone="UTC", start="0 0 1 1 *", end="0 0 31 12 *", desiredReplicas="4"
)
PODS = {"podSelector": "app=source", "value": "1"}


pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_an_autoscaler_scales_between_one_and_many_by_the_metrics_served(
    keda: LocalCluster,
) -> None:
    behavior = {"horizontalPodAutoscalerConfig": {"behavior": AT_ONCE}}
    scaled = await Scaled.made(
        keda, scaled_object("many", ALL_YEAR, pollingInterval=1, advanced=behavior)
    )
    await scaled.has(4)
    hpa = await scaled.autoscaler()
    assert hpa is not None and hpa.metadata.owner_references[0].name == "many"
    status = (await scaled.object()).status
    assert status.external_metric_names == ["s0-cron-UTC-0011x-003112x"]
    assert (status.original_replica_count, status.hpa_name) == (0, "keda-hpa-many")
    assert await scaled.says("HPAActive", "True", "HPAActive") == "HPA is actively scaling"
    api = await keda.client.get(apiregistration_v1.APIService, "v1beta1.external.metrics.k8s.io")
    assert conditions.is_true(api.status.conditions, "Available")


@pytest.mark.slow
async def test_a_workload_follows_another_ones_pods_down_to_none(keda: LocalCluster) -> None:
    await keda.client.create(deployment("source", 2))
    scaled = await Scaled.made(
        keda,
        scaled_object(
            "follows", trigger("kubernetes-workload", **PODS), pollingInterval=1, cooldownPeriod=0
        ),
    )
    await scaled.has(2)
    patch = {"spec": {"replicas": 0}}
    await keda.client.patch(apps_v1.Deployment, "source", patch, "default")
    await scaled.has(0)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (trigger("tea"), "no scaler found for type: tea"),
        (
            trigger("redis", address="redis:6379"),
            'error parsing redis metadata: missing required parameter "listName" in '
            "[triggerMetadata]",
        ),
        (
            trigger(
                "cron", timezone="UTC", start="61 * * * *", end="1 * * * *", desiredReplicas="1"
            ),
            "error parsing cron metadata: error parsing start schedule: end of range (61) above "
            "maximum (59): 61",
        ),
    ],
)
async def test_what_is_wrong_with_a_trigger_stands_in_ready(
    keda: LocalCluster, one: dict[str, object], reason: str
) -> None:
    scaled = await Scaled.made(keda, scaled_object(f"wrong-{one['type']}", one))
    message = await scaled.says("Ready", "False", "ScaledObjectCheckFailed")
    prefix = "failed to ensure HPA is correctly created for ScaledObject"
    assert message == f"{prefix}: {reason}"
    assert (await scaled.condition("Active")).status == "Unknown"


@pytest.mark.parametrize("name", ["nobody", "secretless"])
async def test_credentials_that_are_not_there_leave_a_parameter_unset(
    keda: LocalCluster, name: str
) -> None:
    """Of a missing TriggerAuthentication, as of a missing Secret, KEDA says nothing else."""
    if name == "secretless":
        ref = {"parameter": "host", "name": name, "key": "host"}
        meta = {"name": name, "namespace": "default"}
        plain = {"metadata": meta, "spec": {"secretTargetRef": [ref]}}
        await keda.client.create(from_builtins(plain, TriggerAuthentication))
    mail = {**trigger("rabbitmq", queueName="mail"), "authenticationRef": {"name": name}}
    scaled = await Scaled.made(keda, scaled_object(name, mail))
    message = await scaled.says("Ready", "False", "ScaledObjectCheckFailed")
    assert message.startswith(
        "failed to ensure HPA is correctly created for ScaledObject: error parsing RabbitMQ "
        'metadata: missing required parameter "host" in [triggerMetadata authParams resolvedEnv]'
    )
    await scaled.tells("KEDAScalerFailed", "ScaledObjectCheckFailed")


@pytest.mark.slow
async def test_a_missing_target_is_found_once_it_is_there(keda: LocalCluster) -> None:
    await keda.client.create(scaled_object("missing", ALL_YEAR, pollingInterval=1))
    scaled = Scaled(keda, "missing")
    message = await scaled.says("Ready", "False", "ScaledObjectCheckFailed")
    assert message.startswith("ScaledObject doesn't have correct scaleTargetRef specification: ")
    await keda.client.create(deployment("missing"))
    await scaled.has(1)


async def refusal(cluster: LocalCluster, obj: ScaledObject) -> str:
    with pytest.raises(StatusError) as refused:
        await cluster.client.create(obj)
    return str(refused.value)


async def test_admission_refuses_what_keda_refuses(keda: LocalCluster) -> None:
    await Scaled.made(keda, scaled_object("twice", ALL_YEAR))
    second = scaled_object("other", ALL_YEAR)
    second.spec.scale_target_ref.name = "twice"
    assert "already managed by the ScaledObject 'twice'" in await refusal(keda, second)
    for spec, words in (
        ({"minReplicaCount": 9, "maxReplicaCount": 3}, "must be less than or equal to maxReplica"),
        ({"idleReplicaCount": 3, "minReplicaCount": 2}, "IdleReplicaCount=3 must be less than"),
        ({"advanced": {"scalingModifiers": {"formula": "a + 1"}}}, "target is empty"),
        (
            {"advanced": {"scalingModifiers": {"formula": "a + 1", "target": "1"}}},
            "unknown name a (1:1)",
        ),
    ):
        assert words in await refusal(keda, scaled_object("x", ALL_YEAR, **spec))
    await keda.client.create(deployment("x"))
    cpu = {**trigger("cpu", value="50"), "metricType": "Utilization"}
    words = "the scaledobject has a cpu trigger but the container main doesn't have the cpu request"
    assert words in await refusal(keda, scaled_object("x", cpu, minReplicaCount=1))


async def test_who_lets_go_changes_nothing_else(keda: LocalCluster) -> None:
    """A finalizer is taken off whatever admission thinks of the object by then."""
    held = scaled_object("finalized", ALL_YEAR)
    held.metadata.finalizers = ["example.com/kept"]
    await keda.client.create(held)
    patch = {"metadata": {"finalizers": []}, "spec": {"idleReplicaCount": 9, "minReplicaCount": 2}}
    with pytest.raises(StatusError, match="IdleReplicaCount=9 must be less than"):
        await keda.client.patch(ScaledObject, "finalized", patch, "default", media=MERGE)


@pytest.mark.slow
async def test_a_pause_freezes_a_count_and_its_end_brings_the_loop_back(
    keda: LocalCluster,
) -> None:
    scaled = await Scaled.made(keda, scaled_object("pause", ALL_YEAR, pollingInterval=1))
    await scaled.has(1)
    await scaled.annotate(paused_replicas="3")
    await scaled.has(3)
    assert await scaled.says("Paused", "True") == "ScaledObject is paused"

    async def is_gone() -> bool:
        return await scaled.autoscaler() is None

    await keda.eventually(is_gone)
    assert (await scaled.object()).status.paused_replica_count == 3
    await scaled.annotate(paused_replicas=None)
    await scaled.says("Paused", "False", "ScaledObjectUnpaused")
    await scaled.has(4)


@pytest.mark.slow
async def test_deleting_gives_the_target_back_what_it_had(keda: LocalCluster) -> None:
    restore = {"restoreToOriginalReplicaCount": True}
    scaled = await Scaled.made(
        keda, scaled_object("restored", ALL_YEAR, pollingInterval=1, advanced=restore), replicas=2
    )
    await scaled.has(4)
    await keda.client.delete(ScaledObject, "restored", "default")
    await scaled.has(2)

    async def is_gone() -> bool:
        return await scaled.autoscaler() is None

    await keda.eventually(is_gone)


async def test_metrics_are_for_the_api_server_alone(keda: LocalCluster) -> None:
    somebody = keda.client_as("somebody")
    path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/m"
    with pytest.raises(StatusError) as refused:
        await somebody.request("GET", path)
    assert refused.value.code == 403
    with pytest.raises(StatusError, match="scaledObject name is not specified"):
        await keda.client.request("GET", path)
    with pytest.raises(StatusError) as unknown:
        await keda.client.request(
            "GET", path, query={"labelSelector": "scaledobject.keda.sh/name=x"}
        )
    assert "not found" in str(unknown.value)
    assert (await keda.client.get(core_v1.Service, "keda", "tiphys-addons")).spec.ports
