"""Pods and pools that nobody would write, against the add-on that makes nodes of them."""

from __future__ import annotations

import time

import pytest

from tests.addons.karpenter.builders import cluster, planned, pod, pool
from tests.addons.karpenter.world import deployment, world
from tiphys.addons.karpenter.budgets import allowed
from tiphys.addons.karpenter.types import Budget
from tiphys.api import core_v1
from tiphys.api.base import canonical_quantity


def wish(number: int) -> core_v1.PreferredSchedulingTerm:
    expression = core_v1.NodeSelectorRequirement(
        key="kubernetes.io/arch", operator="In", values=[f"a{number}"]
    )
    return core_v1.PreferredSchedulingTerm(
        weight=1, preference=core_v1.NodeSelectorTerm(match_expressions=[expression])
    )


def test_values_that_pods_invent_do_not_multiply_machines() -> None:
    open_pool = pool("default", *((f"example.com/l{n}", "Exists") for n in range(6)))
    pods = [pod(f"p-{n}", node_selector={f"example.com/l{n % 6}": f"v{n}"}) for n in range(60)]
    began = time.process_time()
    planned(cluster([open_pool], pending=pods))
    assert time.process_time() - began < 10


def test_thousands_of_wishes_are_given_up() -> None:
    wishes = core_v1.NodeAffinity(
        preferred_during_scheduling_ignored_during_execution=[wish(n) for n in range(500)]
    )
    spec = {"affinity": core_v1.Affinity(node_affinity=wishes)}
    began = time.process_time()
    assert planned(cluster([pool()], pending=[pod("p-1", **spec)])).new
    assert time.process_time() - began < 10


@pytest.mark.parametrize("amount", ["9E", "9000E"])
def test_a_pod_that_wants_more_than_there_is_gets_nothing(amount: str) -> None:
    result = planned(
        cluster([pool()], pending=[pod("p-1", requests={"memory": canonical_quantity(amount)})])
    )
    assert not result.new and "resources" in result.errors["default/p-1"]


@pytest.mark.parametrize("schedule", ["0 0 31 2 *", "@daily"])
def test_a_window_of_a_thousand_years(schedule: str) -> None:
    made = pool()
    made.spec.disruption.budgets = [Budget(nodes="1", schedule=schedule, duration="9999999h")] * 50
    began = time.process_time()
    allowed(made, "Empty", 9, 1_800_000_000)
    assert time.process_time() - began < 2


@pytest.mark.slow
async def test_others_get_nodes_beside_what_can_have_none() -> None:
    forever = {"consolidateAfter": "99999999h", "budgets": [{"nodes": "1"}]}
    async with world() as w:
        await w.pool(disruption=forever, limits={"cpu": "100000000E"})
        await w.client.create(deployment("greedy", 2, "90000000"))
        await w.client.create(deployment("web", 1))

        async def web_runs() -> bool:
            pods = await w.cluster.pods(labels="app=web")
            return bool(pods) and all(one.status.phase == "Running" for one in pods)

        await w.cluster.eventually(web_runs, 40)
        await w.cluster.eventually(lambda: w.events("FailedScheduling"))
