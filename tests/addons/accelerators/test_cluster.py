"""Pods on accelerators that are not there."""

from __future__ import annotations

from pathlib import Path

import yaml

from tiphys.addons.accelerators.types import Fleet
from tiphys.api import core_v1
from tiphys.testing import LocalCluster

EXAMPLE = Path(__file__).parents[3] / "src/tiphys/addons/accelerators/example"


async def test_gpus_are_allocated_fail_and_go_away() -> None:
    async with LocalCluster(nodes=10, addons=["accelerators"]) as cluster:

        async def gpus() -> int:
            nodes = (await cluster.client.list(core_v1.Node)).items
            return sum(int(one.status.allocatable.get("nvidia.com/gpu", "0")) for one in nodes)

        async def has(count: int) -> bool:
            return await gpus() == count

        await cluster.eventually(lambda: has(64))
        for obj in yaml.safe_load_all((EXAMPLE / "claim.yaml").read_text()):
            await cluster.client.create(obj, "default")

        async def placed() -> bool:
            pods = await cluster.pods()
            return len(pods) == 2 and all(pod.spec.node_name for pod in pods)

        await cluster.eventually(placed)
        failures = yaml.safe_load((EXAMPLE / "failures.yaml").read_text())
        failures["spec"]["interruptions"][0]["notice"] = 0
        await cluster.client.patch(failures, "demo", {"spec": failures["spec"]})
        await cluster.eventually(lambda: has(64 - 1 - 4))

        async def told() -> bool:
            status = (await cluster.client.get(Fleet, "demo")).status
            return (status.gpus, status.healthy, status.interrupted) == (64, 59, ["hollow-7"])

        await cluster.eventually(told)
