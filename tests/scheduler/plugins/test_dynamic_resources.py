"""Pods go where the devices of their claims are."""

from __future__ import annotations

import pytest

from tests.builders import node
from tests.scheduler.builders import framework, info, requesting, scores_of, snapshot_of
from tests.scheduler.device_builders import DRIVER, ask, claim, class_of, device, slice_of
from tiphys.api import resource_v1 as v1
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.devices.tracker import CANNOT_ALLOCATE, DeviceTracker
from tiphys.scheduler.framework import Framework
from tiphys.scheduler.plugins.dynamic_resources import (
    ALLOCATED_ELSEWHERE,
    LEFT_OVER,
    DynamicResources,
)
from tiphys.scheduler.plugins.registry import Listers
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

GPU = "example.com/gpu"


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


def test_a_node_without_a_resource_may_have_devices_of_its_class() -> None:
    tracker = DeviceTracker(device_class={"gpu": class_of()}.get)
    tracker.inventory.put(slice_of("drivers", device("d0")))
    equipped, bare = node("plugins"), node("bare")
    equipped.status.allocatable[GPU] = "1"  # type: ignore[assignment]
    snapshot = snapshot_of(equipped, node("drivers"), bare)
    scheduling = framework(snapshot, listers=Listers(devices=tracker))
    pod = PodInfo(requesting("p", {GPU: "1"}))
    assert set(fitting(snapshot, scheduling, pod)) == {"plugins"}
    tracker.put_class(class_of("gpu", extendedResourceName=GPU))
    assert set(fitting(snapshot, scheduling, pod)) == {"plugins", "drivers"}
    two = PodInfo(requesting("q", {GPU: "2"}))
    assert scheduling.place(two).reasons == {f"Insufficient {GPU}": 1, CANNOT_ALLOCATE: 2}
    assert tracker.reserve(pod.pod, node("drivers"))
    assert set(fitting(snapshot, scheduling, PodInfo(requesting("r", {GPU: "1"})))) == {"plugins"}
    tracker.unreserve(pod.pod)
    assert set(fitting(snapshot, scheduling, pod)) == {"plugins", "drivers"}


def fitting(snapshot: Snapshot, scheduling: Framework, pod: PodInfo) -> list[str]:
    rows = scheduling.evaluate(pod).feasible
    return [name for name, row in snapshot.row_of.items() if rows[row]]


def test_the_claim_of_an_earlier_attempt_has_to_go_first() -> None:
    tracker = DeviceTracker(device_class={"gpu": class_of()}.get)
    tracker.put_class(class_of("gpu", extendedResourceName=GPU))
    tracker.inventory.put(slice_of("a", device("d0"), device("d1")))
    scheduling = framework(snapshot_of(node("a")), listers=Listers(devices=tracker))
    pod = PodInfo(requesting("p", {GPU: "1"}))
    left = tracker.extended.claim_for(pod.pod, [GPU]).claim
    tracker.put_claim(left)
    assert scheduling.place(pod).reasons == {LEFT_OVER: 1}
    assert scheduling.place(PodInfo(requesting("q", {GPU: "1"}))).node == "a"
    tracker.remove_claim(left)
    assert scheduling.place(pod).node == "a"


def either(name: str) -> v1.ResourceClaim:
    """Prefers a large device to a small one."""
    alternatives = [
        {"name": size, "deviceClassName": size, "allocationMode": "ExactCount", "count": 1}
        for size in ("large", "small")
    ]
    return claim(name, {"name": "r", "firstAvailable": alternatives})


def test_nodes_score_by_the_alternatives_that_they_can_give() -> None:
    claims = {"default/c": either("c")}
    classes = {
        size: class_of(size, f'device.attributes["{DRIVER}"].size == "{size}"')
        for size in ("large", "small")
    }
    tracker = DeviceTracker(claims.get, classes.get)
    tracker.inventory.put(slice_of("a", device("d0", attributes={"size": "small"})))
    tracker.inventory.put(slice_of("b", device("d0", attributes={"size": "large"})))
    snapshot = snapshot_of(node("a"), node("b"))
    plugin = DynamicResources(tracker, 2)
    raw = plugin.score(snapshot, using("c"), snapshot.alive)
    assert scores_of(snapshot, raw) == {"a": 7, "b": 8}
    normalized = plugin.normalize(raw, snapshot.alive)
    assert scores_of(snapshot, normalized) == {"a": 87, "b": 100}
    assert plugin.score(snapshot, info(), snapshot.alive) is None
