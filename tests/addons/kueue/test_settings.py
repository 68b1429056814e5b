"""What the add-on's settings do, on a cluster."""

from __future__ import annotations

import pytest

from tests.addons.kueue.world import world
from tiphys.api import core_v1


@pytest.mark.slow
async def test_a_job_whose_pods_are_not_ready_in_time_gives_way_and_comes_again() -> None:
    async with world(settings="podsReadyTimeout=1 backoffBase=1") as made:
        nodes = (await made.client.list(core_v1.Node)).items
        for node in nodes:
            cordon = {"spec": {"unschedulable": True}}
            await made.client.patch(core_v1.Node, node.metadata.name, cordon)
        await made.job("stuck")
        await made.has("stuck", "Evicted", "PodsReadyTimeout")
        for node in nodes:
            uncordon = {"spec": {"unschedulable": False}}
            await made.client.patch(core_v1.Node, node.metadata.name, uncordon)
        await made.runs("stuck", 3)
        requeued = (await made.workloads())["stuck"].status.requeue_state
        assert requeued is not None and (requeued.count or 0) >= 1


@pytest.mark.slow
async def test_a_core_counts_as_memory_where_the_settings_say_so() -> None:
    async with world(settings="transformations=cpu=memory:10Gi") as made:
        await made.job("three")
        await made.runs("three", 3)
        admission = (await made.workloads())["three"].status.admission
        assert admission is not None
        assert admission.pod_set_assignments[0].resource_usage == {"memory": "30Gi"}
        await made.job("fourth", pods=1)
        await made.queue(lambda queue: queue.status.pending_workloads == 1)
