"""Pods go where the devices of their claims are."""

from __future__ import annotations

import pytest

from tests.builders import node
from tests.scheduler.builders import framework, info, snapshot_of
from tests.scheduler.device_builders import ask, claim, class_of, device, slice_of
from tiphys.api import resource_v1 as v1
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.devices.tracker import CANNOT_ALLOCATE, DeviceTracker
from tiphys.scheduler.plugins.dynamic_resources import ALLOCATED_ELSEWHERE, DynamicResources
from tiphys.scheduler.plugins.registry import Listers
from tiphys.scheduler.podinfo import PodInfo


def using(name: str) -> PodInfo:
    return info(resourceClaims=[{"name": "gpu", "resourceClaimName": name}])


def allocated(made: v1.ResourceClaim) -> v1.ResourceClaim:
    made.status.allocation = v1.AllocationResult()
    return made


def test_a_pod_goes_where_its_claim_can_be_or_is_allocated() -> None:
    claims = {"default/c": claim("c", ask()), "default/d": claim("d", ask())}
    tracker = DeviceTracker(claims.get, {"gpu": class_of()}.get)
    tracker.inventory.put(slice_of("a", device("d0")))
    snapshot = snapshot_of(node("a"), node("b"))
    scheduling = framework(snapshot, listers=Listers(devices=tracker))
    assert scheduling.place(using("c")).node == "a"
    tracker.reserve(using("c").pod, node("a"))
    assert scheduling.place(using("c")).node == "a"
    taken = scheduling.place(using("d"))
    assert taken.reasons == {CANNOT_ALLOCATE: 2}
    assert not taken.resolvable_rows(snapshot).any(), "preemption does not help"
    snapshot.remove_node("a")
    assert scheduling.place(using("c")).reasons == {ALLOCATED_ELSEWHERE: 1}


@pytest.mark.parametrize(
    ("old", "new", "helps"),
    [
        (None, claim("c", ask()), True),
        (None, claim("other", ask()), False),
        (allocated(claim("other", ask())), claim("other", ask()), True),
        (claim("other", ask()), claim("other", ask()), False),
        (claim("other", ask()), allocated(claim("other", ask())), False),
        (None, None, True),
    ],
    ids=["own", "other's", "deallocated", "unallocated", "allocated", "slice"],
)
def test_hints_about_claims(
    old: v1.ResourceClaim | None, new: v1.ResourceClaim | None, helps: bool
) -> None:
    event = ClusterEvent(EventKind.DEVICES, obj=new, old_obj=old)
    plugin = DynamicResources(DeviceTracker())
    assert plugin.queueing_hint(event, snapshot_of(), using("c")) is helps
