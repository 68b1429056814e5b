"""A cluster of hollow nodes with queues, and jobs for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import yaml

from tiphys.addons.kueue.types.quotas import ClusterQueue, LocalQueue
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.api import batch_v1, core_v1
from tiphys.machinery import conditions
from tiphys.testing import LocalCluster

_PATIENCE = 120.0  # seconds: only a busy machine needs as many
QUEUE = "kueue.x-k8s.io/queue-name"
VERSION = "kueue.x-k8s.io/v1beta2"
SETUP = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: default-flavor}
spec: {nodeLabels: {kubernetes.io/os: linux}}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: cluster-queue}
spec:
  namespaceSelector: {}
  preemption: {withinClusterQueue: LowerPriority}
  resourceGroups:
  - coveredResources: [cpu, memory]
    flavors:
    - name: default-flavor
      resources:
      - {name: cpu, nominalQuota: 3}
      - {name: memory, nominalQuota: 36Gi}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {namespace: default, name: user-queue}
spec: {clusterQueue: cluster-queue}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: urgent}
value: 1000
"""


class World:
    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.client = cluster.client

    async def apply(self, text: str) -> None:
        for obj in yaml.safe_load_all(text):
            await self.client.create(obj)

    async def job(
        self,
        name: str,
        pods: int = 3,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        seconds: float = 3600,
        of_pods: dict[str, str] | None = None,
        **spec: Any,
    ) -> None:
        """Pods of one CPU each, which end after so many seconds, and are annotated `of_pods`."""
        ends = {"hollow.tiphys.io/exit-after": str(seconds), **(of_pods or {})}
        meta = {
            "name": name,
            "namespace": "default",
            "labels": {QUEUE: "user-queue", **(labels or {})},
            "annotations": annotations or {},
        }
        container = {"name": "work", "image": "work", "resources": {"requests": {"cpu": "1"}}}
        template = {
            "metadata": {"annotations": ends},
            "spec": {"restartPolicy": "Never", "containers": [container]},
        }
        whole = {"parallelism": pods, "completions": pods, "template": template, **spec}
        await self.client.create(
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": whole}
        )

    async def pod(
        self,
        name: str,
        group: str = "",
        of: int = 0,
        cpu: int = 1,
        seconds: float = 3600,
    ) -> None:
        labels = {QUEUE: "user-queue"}
        annotations = {"hollow.tiphys.io/exit-after": str(seconds)}
        if group:
            labels["kueue.x-k8s.io/pod-group-name"] = group
            annotations["kueue.x-k8s.io/pod-group-total-count"] = str(of)
        container = {"name": "work", "image": "w", "resources": {"requests": {"cpu": str(cpu)}}}
        meta = {
            "name": name,
            "namespace": "default",
            "labels": labels,
            "annotations": annotations,
        }
        spec = {"restartPolicy": "Never", "containers": [container]}
        await self.client.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        )

    # --- looking ---

    async def get_job(self, name: str) -> batch_v1.Job:
        return await self.client.get(batch_v1.Job, name, "default")

    async def workloads(self) -> dict[str, Workload]:
        """By the name of what they are for."""
        listed = (await self.client.list(Workload, "default")).items
        return {
            one.metadata.owner_references[0].name
            if one.metadata.owner_references
            else one.metadata.name: one
            for one in listed
        }

    async def listed(self) -> dict[str, Workload]:
        """By their own names."""
        found = (await self.client.list(Workload, "default")).items
        return {one.metadata.name: one for one in found}

    async def pods(self) -> list[core_v1.Pod]:
        return (await self.client.list(core_v1.Pod, "default")).items

    async def has(self, name: str, condition: str, reason: str = "", status: str = "True") -> None:
        """Waits until the workload of a job has a condition."""

        async def there() -> bool:
            workload = (await self.workloads()).get(name)
            found = conditions.find(workload.status.conditions, condition) if workload else None
            return found is not None and found.status == status and reason in ("", found.reason)

        await self.cluster.eventually(there, _PATIENCE)

    async def runs(self, name: str, pods: int) -> None:
        async def there() -> bool:
            job = await self.get_job(name)
            return not job.spec.suspend and job.status.active == pods

        await self.cluster.eventually(there, _PATIENCE)

    async def queue(self, check: Callable[[ClusterQueue], bool]) -> None:
        async def there() -> bool:
            return check(await self.client.get(ClusterQueue, "cluster-queue"))

        await self.cluster.eventually(there, _PATIENCE)

    async def local_queue(self) -> LocalQueue:
        return await self.client.get(LocalQueue, "user-queue", "default")

    async def patch(self, kind: str, name: str, spec: dict[str, Any], namespace: str = "") -> None:
        named = {"apiVersion": VERSION, "kind": kind}
        await self.client.patch(named, name, {"spec": spec}, namespace)

    async def get_pod(self, name: str) -> core_v1.Pod:
        return await self.client.get(core_v1.Pod, name, "default")


@asynccontextmanager
async def world(
    setup: str = SETUP, settings: str = "", nodes: int = 2, beside: Sequence[str] = ()
) -> AsyncIterator[World]:
    """`beside` are other add-ons."""
    async with LocalCluster(nodes=nodes, addons=[f"kueue {settings}", *beside]) as cluster:
        made = World(cluster)
        await made.apply(setup)
        yield made
