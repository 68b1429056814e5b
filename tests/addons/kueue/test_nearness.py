"""Jobs whose pods have to be near each other, on a cluster of racks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.addons.kueue.world import SETUP, World, world
from tiphys.addons import kueue
from tiphys.addons.kueue.assignments import unpacked
from tiphys.api import core_v1
from tiphys.machinery import conditions

RACK, BLOCK = "cloud.com/rack", "cloud.com/block"
NEEDED = "kueue.x-k8s.io/podset-required-topology"
INDEX = "batch.kubernetes.io/job-completion-index"
NEAR = f"""
apiVersion: kueue.x-k8s.io/v1beta2
kind: Topology
metadata: {{name: racks}}
spec: {{levels: [{{nodeLabel: {BLOCK}}}, {{nodeLabel: {RACK}}}, {{nodeLabel: kubernetes.io/hostname}}]}}
---
{SETUP.replace("{kubernetes.io/os: linux}", "{kubernetes.io/os: linux}, topologyName: racks")}
""".replace("nominalQuota: 3}", "nominalQuota: 64}").replace("36Gi", "1000Gi")


async def racks(made: World) -> None:
    """Two racks of two nodes; each node has room for four pods of a CPU."""
    for index, node in enumerate((await made.client.list(core_v1.Node)).items):
        labels = {BLOCK: "b1", RACK: f"r{index // 2}"}
        meta = node.metadata
        await made.client.patch(core_v1.Node, meta.name, {"metadata": {"labels": labels}})
        others = {"apiVersion": "v1", "kind": "Pod"}
        cpus = int(node.status.allocatable["cpu"]) - 4
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": str(cpus)}}}
        await made.client.create(
            {
                **others,
                "metadata": {"name": f"other-{index}", "namespace": "default"},
                "spec": {"nodeName": meta.name, "containers": [container]},
            }
        )


@pytest.fixture
async def made() -> AsyncIterator[World]:
    async with world(NEAR, nodes=4) as running:
        await racks(running)
        yield running


async def rack_of(made: World, job: str, label: str = RACK) -> list[str]:
    """The racks of a job's pods, in the order of their indexes."""
    pods: list[core_v1.Pod] = []

    async def all_placed() -> bool:
        pods[:] = await made.cluster.pods(labels=f"job-name={job}")
        return all(pod.spec.node_name for pod in pods)

    await made.cluster.eventually(all_placed)
    nodes = {one.metadata.name: one for one in (await made.client.list(core_v1.Node)).items}
    pods.sort(key=lambda pod: int(pod.metadata.labels.get(INDEX, "0")))
    return [nodes[pod.spec.node_name].metadata.labels[label] for pod in pods]


@pytest.mark.slow
async def test_eight_pods_are_in_one_rack_or_wait(made: World) -> None:
    await made.job("small", pods=1, of_pods={NEEDED: RACK})
    await made.runs("small", 1)
    await made.job("first", pods=8, of_pods={NEEDED: RACK}, completionMode="Indexed")
    await made.runs("first", 8)
    await made.job("second", pods=8, of_pods={NEEDED: RACK})
    await made.has("second", "QuotaReserved", "WaitingForQuota", "False")
    workloads = await made.workloads()
    condition = conditions.find(workloads["second"].status.conditions, "QuotaReserved")
    assert condition is not None
    assert 'topology "racks" allows to fit only 7 out of 8 pod(s)' in condition.message
    assert len(set(await rack_of(made, "first"))) == 1
    admission = workloads["first"].status.admission
    assert admission is not None
    found = unpacked(admission.pod_set_assignments[0].topology_assignment)
    assert found is not None and [one.pods for one in found.places] == [4, 4]
    name = workloads["first"].metadata.name
    await made.patch("Workload", name, {"active": False}, "default")
    await made.runs("second", 8)
    assert len(set(await rack_of(made, "second"))) == 1


CLIQUE = "nvidia.com/gpu.clique"


@pytest.mark.slow
async def test_the_example_has_eight_pods_that_share_an_nvlink_domain() -> None:
    example = (Path(kueue.__file__).parent / "example/near.yaml").read_text()
    async with world(nodes=10, beside=["accelerators"]) as made:

        async def has_domains() -> bool:
            listed = await made.client.list(core_v1.Node, labels=CLIQUE)
            return bool(listed.items)

        await made.cluster.eventually(has_domains)
        await made.apply(example)
        await made.runs("eight", 8)
        assert len(set(await rack_of(made, "eight", CLIQUE))) == 1
