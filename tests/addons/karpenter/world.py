"""A cluster with the add-on in the test's own process, on a clock that the test turns."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import yaml

from tiphys.addons import karpenter
from tiphys.addons.karpenter.controller import start
from tiphys.addons.karpenter.podstates import needs_node
from tiphys.addons.karpenter.settings import Settings
from tiphys.addons.karpenter.shared import Shared
from tiphys.addons.karpenter.types import NodeClaim, NodePool
from tiphys.addons.optional import Context
from tiphys.api import apps_v1, core_v1
from tiphys.api.base import canonical_quantity
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.client.tasks import TaskGroup
from tiphys.operator.run import install
from tiphys.testing import LocalCluster

QUICK = Settings(
    batch_idle_duration="500ms",
    disruption_interval="500ms",
    validation_delay="200ms",
    min_drain_time="0s",
)

POOL = """
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: default}
spec:
  template:
    spec:
      requirements:
        - {key: kubernetes.io/arch, operator: In, values: [amd64]}
      nodeClassRef: {group: karpenter.tiphys.dev, kind: TiphysNodeClass, name: default}
"""
CLASS = """
apiVersion: karpenter.tiphys.dev/v1alpha1
kind: TiphysNodeClass
metadata: {name: default}
spec: {image: base@2026.46}
"""


class World:
    """`turn` moves the add-on's clock on; everything else goes by the wall."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.offset = 0.0
        self.shared: Shared

    def now(self) -> float:
        return time.time() + self.offset

    def turn(self, seconds: float) -> None:
        self.offset += seconds

    async def apply(self, text: str, **spec: Any) -> None:
        """Applies manifests; `spec` replaces fields of the first one's spec."""
        for document in yaml.safe_load_all(text):
            document["spec"] = {**document.get("spec", {}), **spec}
            spec = {}
            await self.client.apply(document, manager="test", force=True)

    async def pool(self, **spec: Any) -> None:
        await self.apply(CLASS)
        await self.apply(POOL, **spec)

    async def claims(self) -> list[NodeClaim]:
        return (await self.client.list(NodeClaim)).items

    async def ready(self, count: int) -> bool:
        """So many claims are there, and all of them are nodes that may be counted on."""
        claims = await self.claims()
        return len(claims) == count and all(claim.is_("Ready") for claim in claims)

    async def nodes(self) -> list[core_v1.Node]:
        return (await self.client.list(core_v1.Node)).items

    async def get_pool(self, name: str = "default") -> NodePool:
        return await self.client.get(NodePool, name)

    async def events(self, reason: str) -> list[core_v1.Event]:
        found = (await self.client.list(core_v1.Event)).items
        return [event for event in found if event.reason == reason]

    async def running(self, count: int, namespace: str = "default") -> bool:
        pods = [
            pod for pod in await self.cluster.pods(namespace) if not pod.metadata.deletion_timestamp
        ]
        return len(pods) == count and all(pod.status.phase == "Running" for pod in pods)

    async def unschedulable(self, count: int) -> bool:
        """So many pods wait for a node: they are planned together, however long each took."""
        return sum(needs_node(pod) for pod in await self.cluster.pods()) == count


def deployment(name: str, replicas: int, cpu: str = "1", **pod: Any) -> apps_v1.Deployment:
    """`pod` are fields of the pods' spec; `annotations` of the pods themselves."""
    labels = {"app": name}
    made = apps_v1.Deployment(metadata=ObjectMeta(name=name, namespace="default"))
    made.spec.replicas = replicas
    made.spec.selector = LabelSelector(match_labels=labels)
    annotations = pod.pop("annotations", {})
    made.spec.template.metadata = ObjectMeta(labels=labels, annotations=annotations)
    requests = {"cpu": canonical_quantity(cpu)}
    container = core_v1.Container(
        name="c", image="pause", resources=core_v1.ResourceRequirements(requests=requests)
    )
    made.spec.template.spec = core_v1.PodSpec(containers=[container], **pod)
    return made


@contextlib.asynccontextmanager
async def world(settings: Settings = QUICK) -> AsyncIterator[World]:
    async with LocalCluster(nodes=0, controllers=True) as cluster:
        await install(cluster.client, karpenter.definitions(), "test")
        made = World(cluster)
        tasks = TaskGroup("karpenter")
        recorder = EventRecorder(cluster.client, "karpenter")
        tasks.start(recorder.run(), "events")
        folder = cluster.root / "karpenter"
        folder.mkdir()
        informers = Informers(cluster.client, tasks)
        context = Context(
            "karpenter",
            cluster.client,
            informers,
            tasks,
            recorder,
            settings,
            folder,
            made.now,
            lambda message: None,
        )
        made.shared = await start(context)
        try:
            yield made
        finally:
            await made.shared.cloud.close()
            await tasks.stop()
