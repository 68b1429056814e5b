"""Claims of a pod that is about to be bound, on an API server."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.builders import node, pod
from tests.scheduler.device_builders import ask, claim, class_of, device, slice_of
from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.api.meta_v1 import Condition, ObjectMeta
from tiphys.client.client import Unreachable
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.devices import is_reserved_for
from tiphys.scheduler.devices.binder import DeviceBinder
from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.scheduler.podinfo import PodInfo
from tiphys.testing import LocalCluster

NOW = 1_700_000_000.0


class Scheduler:
    """Knows of one device with a binding condition, and of one claim."""

    def __init__(self, server: LocalCluster) -> None:
        self._client = server.client
        self.claim: v1.ResourceClaim | None = None
        self.tracker = DeviceTracker(lambda key: self.claim, class_of, lambda: NOW)
        one = device("d0", bindingConditions=["Attached"], bindingFailureConditions=["Broken"])
        self.tracker.inventory.put(slice_of("a", one))
        self.binder = DeviceBinder(server.client, self.tracker)
        self.is_pending = asyncio.Event()
        user = pod("p", resourceClaims=[{"name": "gpu", "resourceClaimName": "c"}])
        user.metadata.uid = "uid-p"
        self.pod = PodInfo(user)

    async def reserve(self) -> None:
        self.claim = await self._client.create(claim("c", ask()))
        self.tracker.put_claim(self.claim)
        assert self.tracker.reserve(self.pod.pod, node("a"))

    async def observe(self) -> v1.ResourceClaim:
        """As the watch would."""
        self.claim = await self._client.get(v1.ResourceClaim, "c", "default")
        self.tracker.put_claim(self.claim)
        return self.claim

    async def say(self, kind: str) -> None:
        """What the driver says of the device."""
        found = await self.observe()
        assert found.status.allocation is not None
        [result] = found.status.allocation.devices.results
        told: Any = Condition(type=kind, status="True", reason="Because", message="so")
        told.last_transition_time = "2026-01-01T00:00:00Z"
        status = v1.AllocatedDeviceStatus(
            driver=result.driver, pool=result.pool, device=result.device, conditions=[told]
        )
        found.status.devices = [status]
        await self._client.update(found, subresource="status")
        await self.observe()


async def start(server: LocalCluster) -> tuple[Scheduler, asyncio.Task[None]]:
    scheduler = Scheduler(server)
    await scheduler.reserve()
    binding = scheduler.binder.bind(scheduler.pod, scheduler.is_pending.set)
    task = TaskGroup("test").start(binding, "bind")
    await scheduler.is_pending.wait()
    return scheduler, task


async def test_a_pod_waits_until_its_devices_are_ready(server: LocalCluster) -> None:
    scheduler, task = await start(server)
    found = await scheduler.observe()
    assert not task.done() and found.status.allocation is not None
    assert found.status.allocation.allocation_timestamp == "2023-11-14T22:13:20Z"
    await scheduler.say("Attached")
    await task


async def test_a_device_that_fails_is_given_up(server: LocalCluster) -> None:
    scheduler, task = await start(server)
    await scheduler.say("Broken")
    [failed] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(failed, Unreachable) and "device binding failed: claim=c" in str(failed)
    assert await scheduler.binder.deallocate(scheduler.pod)
    found = await scheduler.observe()
    assert found.status.allocation is None and not found.status.devices


async def extended(server: LocalCluster) -> tuple[DeviceBinder, DeviceTracker, PodInfo]:
    """A pod for whose extended resource a device of node a is reserved."""
    tracker = DeviceTracker(device_class=class_of, now=lambda: NOW)
    tracker.put_class(class_of("gpu", extendedResourceName="example.com/gpu"))
    tracker.inventory.put(slice_of("a", device("d0")))
    account = core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    await server.client.create(account)
    limits = {"limits": {"example.com/gpu": "1"}}
    made = pod("p", containers=[{"name": "c", "image": "i", "resources": limits}])
    user = PodInfo(await server.client.create(made))
    assert tracker.reserve(user.pod, node("a"))
    return DeviceBinder(server.client, tracker), tracker, user


async def test_a_pod_gets_a_claim_for_its_extended_resources(server: LocalCluster) -> None:
    binder, tracker, user = await extended(server)
    await binder.bind(user)
    bound = await server.client.get(core_v1.Pod, "p", "default")
    status = bound.status.extended_resource_claim_status
    assert status is not None
    assert to_builtins(status.request_mappings) == [
        {
            "containerName": "c",
            "resourceName": "example.com/gpu",
            "requestName": "container-0-request-0",
        }
    ]
    made = await server.client.get(v1.ResourceClaim, status.resource_claim_name, "default")
    assert made.status.allocation is not None and is_reserved_for(made, user.pod)
    assert made.metadata.name.startswith("p-extended-resources-")
    tracker.put_claim(made)
    tracker.unreserve(user.pod)
    assert not tracker.reserve(user.pod, node("a")), "the device is taken, once"


async def test_a_pod_that_is_not_bound_leaves_no_claim_behind(server: LocalCluster) -> None:
    binder, tracker, user = await extended(server)
    await binder.bind(user)
    await binder.unreserve(user)
    assert (await server.client.list(v1.ResourceClaim, "default")).items == []
    assert tracker.reserve(user.pod, node("a"))


async def test_a_claim_that_was_left_behind_is_deleted(server: LocalCluster) -> None:
    binder, tracker, user = await extended(server)
    await binder.bind(user)
    [left] = (await server.client.list(v1.ResourceClaim, "default")).items
    tracker.unreserve(user.pod)
    tracker.put_claim(left)
    assert await binder.deallocate(user)
    assert (await server.client.list(v1.ResourceClaim, "default")).items == []
