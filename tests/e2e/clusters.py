"""What tests of whole clusters wait for: controllers, scheduler and hollow nodes together."""

from __future__ import annotations

from typing import Any

from tiphys.api import apps_v1, core_v1
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster


async def available(cluster: LocalCluster, name: str = "web", replicas: int = 3) -> Any:
    """Waits until a deployment has that many replicas, all new and all available."""

    async def check() -> bool:
        found = await cluster.client.get(apps_v1.Deployment, name, "default")
        status = found.status
        settled = status.observed_generation == found.metadata.generation
        return (
            settled
            and status.available_replicas == status.updated_replicas == status.replicas == replicas
        )

    return await cluster.eventually(check)


async def gone(cluster: LocalCluster, kind: Any, name: str, namespace: str = "default") -> None:
    """Waits until an object is gone."""

    async def check() -> bool:
        try:
            await cluster.client.get(kind, name, namespace)
        except StatusError as error:
            return error.code == 404
        return False

    await cluster.eventually(check)


async def ready(cluster: LocalCluster, namespace: str = "default") -> None:
    """Waits until pods may be created in a namespace: its service account is there."""

    async def check() -> bool:
        try:
            await cluster.client.get(core_v1.ServiceAccount, "default", namespace)
        except StatusError:
            return False
        return True

    await cluster.eventually(check)


async def running(cluster: LocalCluster, namespace: str, count: int) -> bool:
    """Whether that many pods of a namespace run."""
    return sum(p.status.phase == "Running" for p in await cluster.pods(namespace)) == count


async def has_phase(cluster: LocalCluster, name: str, wanted: str) -> bool:
    """Whether a pod of the namespace ``default`` has that phase."""
    return (await cluster.client.get(core_v1.Pod, name, "default")).status.phase == wanted


async def has_no_pods(cluster: LocalCluster) -> bool:
    """Whether no pod is left in the namespace ``default``."""
    return not await cluster.pods()
