"""Claims are made for pods that have no node, and pods are told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.karpenter.builders import NOW, cluster, planned, pod, pool, state
from tests.addons.karpenter.reconciling import Bench
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.provisioning import Provisioner
from tiphys.addons.karpenter.types import NodeClaim
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.api.meta_v1 import Condition
from tiphys.machinery import timestamps


def waiting(name: str) -> core_v1.Pod:
    made = pod(name)
    made.status.conditions = [
        core_v1.PodCondition(type="PodScheduled", status="False", reason="Unschedulable")
    ]
    return made


class Made(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.provisioner = Provisioner(self.shared)
        self.made = 0
        self.server.create = self._create  # type: ignore[method-assign]

    async def _create(self, obj: Any) -> Any:
        self.made += 1
        obj.metadata.name = f"{obj.metadata.generate_name}{self.made}"
        return self.server.put(obj)

    def ready_pool(self, *requirements: tuple[str, ...], **spec: Any) -> None:
        made = self.pool(*requirements, **spec)
        made.status.conditions = [Condition(type=names.READY, status="True")]
        self.node_class()

    @property
    def woken_up(self) -> bool:
        found = self.provisioner._wake.is_set()
        self.provisioner._wake.clear()
        return found


@pytest.fixture
async def bench() -> Made:
    return Made()


async def test_pods_that_wait_get_a_claim_and_are_told(bench: Made) -> None:
    bench.ready_pool()
    for name in ("a", "b"):
        bench.server.put(waiting(name))
    await bench.provisioner._provision()
    (claim,) = bench.server.of(NodeClaim)
    assert claim.name == "default-1"
    assert bench.shared.cluster.nominated == {"default-1": NOW + 10}
    text = "Pod should schedule on: nodeclaim/default-1"
    assert bench.events == [("Normal", "Nominated", text)] * 2
    labels = {"reason": "provisioned", "nodepool": "default", "min_values_relaxed": "false"}
    assert bench.counted("nodeclaims_created_total", **labels) == 1
    assert bench.counted("scheduler_unschedulable_pods_count") == 0
    assert not bench.shared.cluster.is_settled, "its machine is still to come"


async def test_pods_for_which_nothing_can_be_made_are_told_why(bench: Made) -> None:
    bench.ready_pool((names.INSTANCE_TYPE, "In", "none"))
    bench.server.put(waiting("a"))
    await bench.provisioner._provision()
    assert list(bench.server.of(NodeClaim)) == []
    ((kind, reason, text),) = bench.events
    assert (kind, reason) == ("Normal", "FailedScheduling")
    assert text.startswith("Failed to schedule pod, ")
    assert bench.counted("scheduler_unschedulable_pods_count") == 1
    await bench.provisioner._provision()
    assert len(bench.events) == 1, "once in a while"
    bench.server.take(bench.server.of(core_v1.Pod).get("default/a"))
    await bench.provisioner._provision()
    assert bench.counted("scheduler_unschedulable_pods_count") == 0


async def test_a_pool_that_is_not_ready_makes_nothing(bench: Made) -> None:
    bench.ready_pool()
    bench.server.put(waiting("a"))
    one = bench.pool()
    one.status.conditions = [Condition(type=names.READY, status="False")]
    await bench.provisioner._provision()
    assert list(bench.server.of(NodeClaim)) == []


async def test_pods_that_find_room_are_told_where(bench: Made) -> None:
    bench.ready_pool()
    there = state("n", "m7.xlarge")
    assert there.claim is not None and there.node is not None
    bench.server.put(there.claim)
    bench.server.put(there.node)
    bench.server.put(waiting("a"))
    await bench.provisioner._provision()
    assert len(list(bench.server.of(NodeClaim))) == 1
    text = "Pod should schedule on: nodeclaim/n, node/n"
    assert bench.events == [("Normal", "Nominated", text)]
    assert bench.shared.cluster.nominated == {"n": NOW + 10}


async def test_a_node_for_nobody_is_made_and_expects_nobody(bench: Made) -> None:
    world = cluster([pool()], pending=[pod("a"), pod("b")])
    (new,) = planned(world).new
    bound, free = new.pods
    bound.spec.node_name = "elsewhere"
    (claim,) = await bench.provisioner.make([new], "drifted")
    assert [message for _, _, message in bench.events] == [
        f"Pod should schedule on: nodeclaim/{claim.name}"
    ], "those that are on a node still are not told"
    assert free.spec.node_name == ""
    new.pods = []
    bench.events.clear()
    (other,) = await bench.provisioner.make([new], "drifted")
    assert other.name not in bench.shared.cluster.nominated and bench.events == []


async def test_what_may_make_a_difference_wakes_it(bench: Made) -> None:
    bench.provisioner.follow()
    assert not bench.woken_up
    one = waiting("a")
    bench.server.put(one)
    assert bench.woken_up
    again = waiting("a")
    bench.server.put(again)
    assert not bench.woken_up, "it waits already"
    bench.server.put(pod("b", node="n"))
    assert not bench.woken_up
    bench.server.take(again)
    assert not bench.woken_up
    claim = bench.claim()
    assert not bench.woken_up
    going = from_builtins(to_builtins(claim), NodeClaim)
    going.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    bench.server.put(going)
    assert bench.woken_up
    bench.server.take(claim)
    assert bench.woken_up
    bench.pool()
    assert bench.woken_up
    bench.node_class()
    assert bench.woken_up
