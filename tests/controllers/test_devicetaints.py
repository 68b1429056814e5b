"""Pods on devices that are tainted leave when their claims do not tolerate it."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.builders import node, pod
from tests.controllers.bench import Bench
from tests.controllers.builders import NOW
from tests.scheduler.device_builders import DRIVER, ask, claim, class_of, device, slice_of
from tiphys.api import core_v1, events_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.devicetaints import DeviceTaintController, evicting_taints, eviction_time
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


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def evictor(bench: Bench) -> DeviceTaintController:
    """With a pod `p` that is bound, and has the device of the claim `c`."""
    one = pod("p", nodeName="n", resourceClaims=[{"name": "gpu", "resourceClaimName": "c"}])
    one.metadata.finalizers = ["a.b/c"]
    one = await bench.add(one)
    await have(bench, one)
    return bench.start(DeviceTaintController)


async def have(bench: Bench, one: core_v1.Pod, **toleration: Any) -> None:
    made = await bench.add(claim("c", ask()))
    result = {"request": "r", "driver": DRIVER, "pool": bench.namespace, "device": "d0"}
    if toleration:
        result["tolerations"] = [toleration]
    user = {"resource": "pods", "name": one.metadata.name, "uid": one.metadata.uid}
    await bench.say(made, allocation={"devices": {"results": [result]}}, reservedFor=[user])


async def offer(bench: Bench, *taints: dict[str, Any]) -> v1.ResourceSlice:
    """The devices of the pool, the first with taints."""
    tainted = {"name": "d0", **({"taints": list(taints)} if taints else {})}
    spec = {
        "driver": DRIVER,
        "pool": {"name": bench.namespace, "generation": 1, "resourceSliceCount": 1},
        "nodeName": "n",
        "devices": [tainted],
    }
    made = v1.ResourceSlice(metadata=ObjectMeta(name=bench.namespace))
    made.spec = from_builtins(spec, v1.ResourceSliceSpec)
    return await bench.add(made)


async def is_leaving(bench: Bench) -> bool:
    found = await bench.get(core_v1.Pod, "p")
    assert found is not None
    return found.metadata.deletion_timestamp is not None


@together
async def test_a_pod_leaves_a_sick_device(bench: Bench, evictor: DeviceTaintController) -> None:
    made = await offer(bench)
    await bench.step(evictor, "p")
    assert not await is_leaving(bench) and bench.reasons() == []
    await bench.queued(evictor)
    await bench.change(made, spec={"devices": [{"name": "d0", "taints": [SICK]}]})
    assert await bench.queued(evictor) == ["p"], "its slice leads to it"
    bench.later = 5  # the taint's time is the server's
    assert await bench.step(evictor, "p") is None
    assert await is_leaving(bench) and bench.reasons() == ["DeviceTaintManagerEviction"]
    found = await bench.get(core_v1.Pod, "p")
    assert found is not None
    [condition] = [each for each in found.status.conditions if each.type == "DisruptionTarget"]
    assert condition.reason == "DeletionByDeviceTaintManager"
    await bench.step(evictor, "p")
    assert bench.reasons() == [], "it is on its way"


@together
async def test_a_pod_that_is_to_leave_later_stays_when_its_device_is_well(
    bench: Bench, evictor: DeviceTaintController
) -> None:
    one = await bench.get(v1.ResourceClaim, "c")
    found = await bench.get(core_v1.Pod, "p")
    assert one is not None and found is not None
    await bench.say(one, allocation=None, reservedFor=None)
    await bench.remove(one)
    await have(bench, found, operator="Exists", tolerationSeconds=30)
    stamp = timestamps.rfc3339(bench.now())
    made = await offer(bench, {**SICK, "timeAdded": stamp})
    wait = await bench.step(evictor, "p")
    assert wait is not None and 28 < wait <= 30 and not await is_leaving(bench)
    await bench.queued(evictor)
    await bench.change(made, spec={"devices": [{"name": "d0"}]})
    assert await bench.queued(evictor) == ["p"]
    for reasons in (["DeviceTaintManagerEviction"], []):
        assert await bench.step(evictor, "p") is None
        assert bench.reasons() == reasons, "it is told once"
    assert bench.events.recorded == []
    await bench.change(
        made, spec={"devices": [{"name": "d0", "taints": [{**SICK, "timeAdded": stamp}]}]}
    )
    bench.later = 31
    await bench.step(evictor, "p")
    assert await is_leaving(bench)


@pytest.mark.parametrize("what", ["unbound", "ended", "not its claim"])
@together
async def test_who_does_not_have_the_device_stays(
    bench: Bench, evictor: DeviceTaintController, what: str
) -> None:
    await offer(bench, SICK)
    found = await bench.get(core_v1.Pod, "p")
    assert found is not None
    if what == "ended":
        await bench.say(found, phase="Failed")
    elif what == "unbound":
        await bench.add(pod("q", resourceClaims=[{"name": "gpu", "resourceClaimName": "c"}]))
    else:
        other = {"resource": "pods", "name": "other", "uid": "other"}
        one = await bench.get(v1.ResourceClaim, "c")
        assert one is not None
        await bench.say(one, reservedFor=[other])
    await bench.step(evictor, "q" if what == "unbound" else "p")
    await bench.step(evictor, "nobody")
    assert not await is_leaving(bench) and bench.reasons() == []


@together
async def test_who_leads_to_a_pod(bench: Bench, evictor: DeviceTaintController) -> None:
    assert await bench.queued(evictor) == ["p"]
    found = await bench.get(core_v1.Pod, "p")
    assert found is not None
    await bench.change(found, metadata={"labels": {"a": "b"}})
    await bench.add(pod("free", resourceClaims=[{"name": "gpu", "resourceClaimName": "c"}]))
    await bench.add(pod("plain", nodeName="n"))
    made = await offer(bench)
    await bench.change(made, metadata={"labels": {"a": "b"}})
    assert await bench.queued(evictor) == []
    await bench.change(made, spec={"devices": [{"name": "d0", "taints": [SICK]}]})
    assert await bench.queued(evictor) == ["p"]
    await bench.change(made, spec={"devices": [{"name": "d0"}]})
    assert await bench.queued(evictor) == ["p"]
    one = await bench.get(v1.ResourceClaim, "c")
    assert one is not None
    await bench.change(one, metadata={"labels": {"a": "b"}})
    assert await bench.queued(evictor) == ["p"]
    other = {"resource": "jobs", "apiGroup": "batch", "name": "j", "uid": "j"}
    await bench.say(one, reservedFor=[other])
    assert await bench.queued(evictor) == ["p"], "it was its user"
