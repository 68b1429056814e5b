"""A cluster with the add-on, and the objects that tests begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tiphys.addons import inference, installing, types
from tiphys.addons.host import Host
from tiphys.addons.inference.types import v1
from tiphys.addons.optional import OptionalAddon
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery import conditions
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

VERSION = "inference.sagemaker.aws.amazon.com/v1"
TYPE = "node.kubernetes.io/instance-type"


def endpoint(name: str = "model", **spec: Any) -> dict[str, Any]:
    """An InferenceEndpointConfig that mounts an empty volume and asks for a GPU's worth of CPU."""
    worker = {
        "image": "model-server",
        "modelInvocationPort": {"containerPort": 8080},
        "modelVolumeMount": {"name": "model-weights"},
        "resources": {},
        **spec.pop("worker", {}),
    }
    return {
        "apiVersion": VERSION,
        "kind": "InferenceEndpointConfig",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "modelName": name,
            "modelSourceConfig": {"modelSourceType": "kubernetesVolume"},
            "worker": worker,
            **spec,
        },
    }


def s3_source(**more: Any) -> dict[str, Any]:
    storage = {"bucketName": "models", "region": "us-west-2"}
    return {"modelSourceType": "s3", "s3Storage": storage, "modelLocation": "deepseek", **more}


def read(obj: dict[str, Any]) -> v1.InferenceEndpointConfig:
    return from_builtins(obj, v1.InferenceEndpointConfig)


class World:
    def __init__(self, cluster: LocalCluster, settings: inference.Settings) -> None:
        self.cluster, self.client = cluster, cluster.client
        self.settings = settings

    async def get(self, name: str = "model") -> v1.InferenceEndpointConfig:
        return await self.client.get(v1.InferenceEndpointConfig, name, "default")

    async def condition(self, type_: str, name: str = "model", kind: Any = None) -> Any:
        found = await self.client.get(kind or v1.InferenceEndpointConfig, name, "default")
        return conditions.find(found.status.conditions, type_)

    async def until(self, type_: str, status: str = "True", name: str = "model") -> Any:
        async def there() -> Any:
            found = await self.condition(type_, name)
            return found if found is not None and found.status == status else None

        return await self.cluster.eventually(there, 40)

    async def types_of_pods(self) -> list[str]:
        """The instance types that pods run on, the pod that is nowhere as an empty one."""
        nodes = (await self.client.list(core_v1.Node)).items
        by_name = {one.metadata.name: one.metadata.labels.get(TYPE, "") for one in nodes}
        pods = await self.cluster.pods()
        return sorted(by_name.get(one.spec.node_name, "") for one in pods)

    async def label_nodes(self, *instance_types: str) -> None:
        nodes = (await self.client.list(core_v1.Node)).items
        for node, instance_type in zip(nodes, instance_types, strict=True):
            patch = {"metadata": {"labels": {TYPE: instance_type}}}
            await self.client.patch(core_v1.Node, node.metadata.name, patch)


@asynccontextmanager
async def world(nodes: int = 0, *beside: OptionalAddon, **settings: Any) -> AsyncIterator[World]:
    """`nodes` are hollow; the endpoints listen on the loopback. `beside` are further add-ons."""
    chosen = inference.Settings(
        **{"addresses": "127.0.85.0/28", "port": free_port(), "webhook_port": 0, **settings}
    )
    async with LocalCluster(nodes=nodes) as cluster:
        await installing.enable(cluster.client, inference.ADDON, chosen)
        for addon in beside:
            await installing.enable(cluster.client, addon, addon.settings())
        offered = {addon.name: addon for addon in (inference.ADDON, *beside)}
        host = cluster.client_as(installing.HOST)
        Host(host, offered, cluster.root / "addons", cluster.tasks).start()

        async def ready() -> bool:
            listed = (await cluster.client.list(types.Addon)).items
            return all(conditions.is_true(one.status.conditions, "Ready") for one in listed)

        await cluster.eventually(ready, 60)
        yield World(cluster, chosen)
