"""Pods on devices that are tainted leave when their claims do not tolerate it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node, pod
from tests.controllers.builders import NOW
from tests.scheduler.device_builders import DRIVER, ask, claim, class_of, device, slice_of
from tiphys.api import core_v1, events_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.controllers.devicetaints import evicting_taints, eviction_time
from tiphys.machinery import timestamps
from tiphys.testing import LocalCluster

SICK = {"key": "sick", "effect": "NoExecute"}


def since(seconds: float, **taint: str) -> dict[str, str]:
    return {**SICK, "timeAdded": timestamps.rfc3339(NOW - seconds), **taint}


def on(*tolerations: dict[str, Any], names: tuple[str, ...] = ("d0",)) -> v1.ResourceClaim:
    """A claim that has devices of a pool."""
    results = [
        {"request": "r", "driver": DRIVER, "pool": "a", "device": name}
        | {"tolerations": list(tolerations)}
        for name in names
    ]
    made = claim("c", ask())
    made.status.allocation = from_builtins({"devices": {"results": results}}, v1.AllocationResult)
    return made


@pytest.mark.parametrize(
    ("taints", "tolerations", "leaves"),
    [
        ([], [], None),
        ([since(5)], [], -5),
        ([since(5, effect="NoSchedule")], [], None),
        ([since(5)], [{"operator": "Exists"}], None),
        ([since(5)], [{"key": "sick", "operator": "Equal", "value": "very"}], -5),
        ([since(5, value="very")], [{"key": "sick", "operator": "Equal", "value": "very"}], None),
        ([since(5)], [{"operator": "Exists", "effect": "NoSchedule"}], -5),
        ([since(5)], [{"operator": "Exists", "tolerationSeconds": 30}], 25),
        ([since(5)], [{"operator": "Exists", "tolerationSeconds": -1}], -5),
        # the shortest counts, unless one is forever
        (
            [since(5)],
            [{"operator": "Exists", "tolerationSeconds": n} for n in (60, 30)],
            25,
        ),
        (
            [since(5)],
            [
                {"operator": "Exists", "tolerationSeconds": 30},
                {"key": "sick", "operator": "Exists"},
            ],
            None,
        ),
        ([since(5), since(9, key="worse")], [{"key": "worse", "operator": "Exists"}], -5),
    ],
)
def test_when_pods_leave(
    taints: list[dict[str, str]], tolerations: list[dict[str, Any]], leaves: float | None
) -> None:
    tainted = evicting_taints([slice_of("a", device("d0", taints=taints), device("d1"))])
    found = eviction_time(on(*tolerations), tainted, NOW)
    assert found == (None if leaves is None else NOW + leaves)
    assert eviction_time(on(*tolerations, names=("d1",)), tainted, NOW) is None


def test_slices_of_an_older_generation_say_nothing() -> None:
    def pool(generation: int) -> dict[str, Any]:
        return {"name": "a", "generation": generation, "resourceSliceCount": 1}

    old = slice_of("a", device("d0", taints=[SICK]), name="old", pool="a")
    new = slice_of("a", device("d0"), name="new")
    new.spec.pool = from_builtins(pool(2), v1.ResourcePool)
    assert list(evicting_taints([old])) == [(DRIVER, "a", "d0")]
    assert evicting_taints([old, new]) == {}


async def test_pods_on_a_device_that_fails_are_evicted() -> None:
    async with LocalCluster(controllers=True) as cluster:
        ready = node("a")
        ready.status.conditions = [core_v1.NodeCondition(type="Ready", status="True")]
        await cluster.client.create(ready)
        offered = await cluster.client.create(slice_of("a", device("d0"), device("d1")))
        await cluster.client.create(class_of("gpu", extendedResourceName="example.com/gpu"))
        tolerant = claim("tolerant", ask(tolerations=[{"operator": "Exists"}]))
        tolerant.metadata.uid = ""
        await cluster.client.create(tolerant)
        claims = [{"name": "gpu", "resourceClaimName": "tolerant"}]
        await cluster.client.create(pod("stays", resourceClaims=claims))
        limits = {"limits": {"example.com/gpu": "1"}}
        container = {"name": "c", "image": "i", "resources": limits}
        leaves = pod("leaves", containers=[container])
        leaves.metadata.finalizers = ["example.com/look"]
        await cluster.client.create(leaves)

        async def found(name: str) -> core_v1.Pod:
            return await cluster.client.get(core_v1.Pod, name, "default")

        async def bound() -> bool:
            return all([(await found(name)).spec.node_name for name in ("stays", "leaves")])

        await cluster.eventually(bound)
        for one in offered.spec.devices:
            one.taints = [from_builtins(SICK, v1.DeviceTaint)]
        await cluster.client.update(offered)

        async def deleted() -> bool:
            return bool((await found("leaves")).metadata.deletion_timestamp)

        await cluster.eventually(deleted)
        reasons = [one.reason for one in (await found("leaves")).status.conditions]
        assert "DeletionByDeviceTaintManager" in reasons
        assert not (await found("stays")).metadata.deletion_timestamp

        async def told() -> bool:
            events = (await cluster.client.list(events_v1.Event, "default")).items
            return any(
                (one.reason, one.note) == ("DeviceTaintManagerEviction", "Marking for deletion")
                for one in events
            )

        await cluster.eventually(told)
