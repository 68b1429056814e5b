"""What the add-on's settings do, on a cluster."""

from __future__ import annotations

import pytest

from tests.addons.kueue.world import QUEUE, world
from tiphys.addons.kueue.types.quotas import ClusterQueue, Cohort
from tiphys.api import core_v1


@pytest.mark.slow
async def test_a_job_whose_pods_are_not_ready_in_time_gives_way_and_comes_again() -> None:
    # Long enough for pods that can run to do so where many others work.
    async with world(settings="podsReadyTimeout=15 backoffBase=1") as made:
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


FAIR = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: any}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: Cohort
metadata: {name: lab}
spec:
  resourceGroups:
  - coveredResources: [cpu]
    flavors: [{name: any, resources: [{name: cpu, nominalQuota: 4}]}]
"""
TEAM = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: TEAM}
spec:
  cohortName: lab
  namespaceSelector: {}
  fairSharing: {weight: WEIGHT}
  preemption: {reclaimWithinCohort: Any}
  resourceGroups:
  - coveredResources: [cpu]
    flavors: [{name: any, resources: [{name: cpu, nominalQuota: 0}]}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {namespace: default, name: TEAM}
spec: {clusterQueue: TEAM}
"""


@pytest.mark.slow
async def test_teams_get_what_their_weights_say() -> None:
    teams = "---".join(
        TEAM.replace("TEAM", team).replace("WEIGHT", weight)
        for team, weight in (("large", "3"), ("small", "1"))
    )
    async with world(f"{FAIR}---{teams}", "fairSharing=true") as made:
        for index in range(4):
            await made.job(f"s{index}", pods=1, labels={QUEUE: "small"})
            await made.runs(f"s{index}", 1)
        for index in range(4):
            await made.job(f"l{index}", pods=1, labels={QUEUE: "large"})

        async def is_shared() -> bool:
            shares = {}
            for team in ("large", "small"):
                queue = await made.client.get(ClusterQueue, team)
                sharing = queue.status.fair_sharing
                shares[team] = (queue.status.admitted_workloads, sharing and sharing.weighted_share)
            return shares == {"large": (3, 250), "small": (1, 250)}

        await made.cluster.eventually(is_shared)
        lab = await made.client.get(Cohort, "lab")
        assert lab.status.fair_sharing is not None and lab.status.fair_sharing.weighted_share == 0
        evicted = [one for one in (await made.workloads()).values() if one.status.scheduling_stats]
        assert {one.spec.queue_name for one in evicted} == {"small"}
