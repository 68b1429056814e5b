"""ScaledJobs in a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.keda.world import deployment, trigger
from tiphys.addons.keda.types import ScaledJob
from tiphys.api.base import from_builtins
from tiphys.api.batch_v1 import Job
from tiphys.client.client import MERGE
from tiphys.testing import LocalCluster

pytestmark = pytest.mark.asyncio(loop_scope="package")


def scaled_job(name: str, of: str, image: str = "none", **spec: Any) -> ScaledJob:
    counts = trigger("kubernetes-workload", podSelector=f"app={of}", value="1")
    template = {"spec": {"containers": [{"name": "main", "image": image}]}}
    plain = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "jobTargetRef": {"template": template},
            "triggers": [counts],
            "pollingInterval": 1,
            **spec,
        },
    }
    return from_builtins(plain, ScaledJob)


async def jobs_of(cluster: LocalCluster, name: str) -> list[Job]:
    listed = await cluster.client.list(Job, "default", labels=f"scaledjob.keda.sh/name={name}")
    return [job for job in listed.items if not job.metadata.deletion_timestamp]


async def test_jobs_are_created_up_to_the_limit_and_go_with_their_template(
    keda: LocalCluster,
) -> None:
    await keda.client.create(deployment("work", 5))
    await keda.client.create(scaled_job("batch", "work", maxReplicaCount=3))

    async def three() -> list[Job] | None:
        found = await jobs_of(keda, "batch")
        return found if len(found) == 3 else None

    first = await keda.eventually(three)
    owner = first[0].metadata.owner_references[0]
    assert (owner.kind, owner.name) == ("ScaledJob", "batch")
    assert first[0].spec.template.spec.restart_policy == "OnFailure"
    containers = [{"name": "main", "image": "newer"}]
    template = {"spec": {"containers": containers}}
    patch = {"spec": {"jobTargetRef": {"template": template}}}
    await keda.client.patch(ScaledJob, "batch", patch, "default", media=MERGE)

    async def replaced() -> bool:
        found = await jobs_of(keda, "batch")
        images = {job.spec.template.spec.containers[0].image for job in found}
        return len(found) == 3 and images == {"newer"}

    await keda.eventually(replaced)
    status = (await keda.client.get(ScaledJob, "batch", "default")).status
    assert status.external_metric_names == ["s0-workload-default"]
    assert status.triggers_types == "kubernetes-workload" and status.last_active_time


async def test_each_trigger_shows_whether_it_is_active(keda: LocalCluster) -> None:
    await keda.client.create(deployment("busy", 1))
    selectors = ("app=busy", "app=nobody")
    both = [trigger("kubernetes-workload", podSelector=one, value="1") for one in selectors]
    await keda.client.create(scaled_job("either", "busy", triggers=both, maxReplicaCount=1))

    async def shown() -> bool:
        activity = (await keda.client.get(ScaledJob, "either", "default")).status.triggers_activity
        active = {name: one.is_active for name, one in activity.items()}
        return active == {"s0-workload-default": True, "s1-workload-default": False}

    await keda.eventually(shown)


@pytest.mark.slow
async def test_a_paused_one_creates_none(keda: LocalCluster) -> None:
    await keda.client.create(deployment("paused-load", 1))
    paused = scaled_job("paused", "paused-load")
    paused.metadata.annotations = {"autoscaling.keda.sh/paused": "true"}
    await keda.client.create(paused)

    async def is_paused() -> bool:
        found = await keda.client.get(ScaledJob, "paused", "default")
        return any(c.type == "Paused" and c.status == "True" for c in found.status.conditions)

    await keda.eventually(is_paused)
    assert await jobs_of(keda, "paused") == []
