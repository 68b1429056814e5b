"""What changes of objects do to the node snapshot and the queue."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.builders import node
from tests.scheduler.builders import info, requesting
from tests.scheduler.device_builders import ask, claim, class_of, device, slice_of
from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.scheduler.cluster_events import EventKind
from tiphys.scheduler.devices.claim_gate import ClaimGate
from tiphys.scheduler.devices.tracker import CANNOT_ALLOCATE, DeviceTracker
from tiphys.scheduler.event_handlers import EventHandlers
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import CPU_ROW
from tiphys.scheduler.state import SchedulerState


class World:
    """Handlers of `default-scheduler`, with node `a`; the clock stands still."""

    def __init__(self) -> None:
        self.state = SchedulerState(lambda: 100.0)
        self.claims: dict[str, v1.ResourceClaim] = {}
        self.tracker = DeviceTracker(self.claims.get, {"gpu": class_of()}.get)
        gate = ClaimGate(self.tracker, self.state.queue.add)
        self.handlers = EventHandlers(self.state, self.tracker, gate, {"default-scheduler"})
        self.handlers.node_changed(None, node("a"))

    def popped(self) -> list[str]:
        return [pod.uid for pod in iter(self.state.queue.pop, None)]

    def used_cpu(self) -> int:
        return int(self.state.snapshot.requested[CPU_ROW].sum())

    def kinds_that_wake(self) -> list[EventKind]:
        """The list grows with every event that an unschedulable pod is asked about."""
        kinds: list[EventKind] = []
        pod = info("waiting")
        self.state.queue.add(pod)
        assert self.popped() == ["waiting"]
        self.state.queue.add_unschedulable(pod, lambda event: bool(kinds.append(event.kind)))
        return kinds


def pending(name: str = "p", **spec: Any) -> core_v1.Pod:
    spec = {"schedulerName": "default-scheduler", **spec}
    return requesting(name, {"cpu": "1"}, **spec)


def deleted(pod: core_v1.Pod) -> core_v1.Pod:
    pod.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    return pod


@pytest.mark.parametrize(
    ("pod", "queued"),
    [
        (pending(), True),
        (pending(schedulerName="other"), False),
        (pending(schedulingGates=[{"name": "example.com/g"}]), False),
        (deleted(pending()), False),
        (pending(nodeName="a"), False),
    ],
    ids=["pending", "another scheduler's", "gated", "being deleted", "on a node"],
)
def test_which_pods_are_queued(pod: core_v1.Pod, queued: bool) -> None:
    world = World()
    world.handlers.pod_changed(None, pod)
    assert world.popped() == (["p"] if queued else [])


def test_a_pod_counts_on_its_node_until_it_ends() -> None:
    world = World()
    running = pending(nodeName="a", schedulerName="other")
    world.handlers.pod_changed(None, running)
    assert world.used_cpu() == 1000
    ended = copy.deepcopy(running)
    ended.status.phase = "Succeeded"
    world.handlers.pod_changed(running, ended)
    assert world.used_cpu() == 0
    world.handlers.pod_changed(ended, None)
    world.handlers.pod_changed(None, running)
    world.handlers.pod_changed(running, None)
    assert world.used_cpu() == 0


@pytest.mark.parametrize("change", ["labels", "spec", "claim statuses", "conditions"])
def test_updates_that_may_make_a_pod_fit_queue_it_again(change: str) -> None:
    world = World()
    old = pending()
    world.handlers.pod_changed(None, old)
    assert world.popped() == ["p"]
    world.state.queue.add_unschedulable(PodInfo(old), lambda event: False)
    new = copy.deepcopy(old)
    if change == "labels":
        new.metadata.labels = {"k": "v"}
    elif change == "spec":
        new.spec.tolerations = [core_v1.Toleration(operator="Exists")]
    elif change == "claim statuses":
        status = core_v1.PodResourceClaimStatus(name="gpu", resource_claim_name="c")
        new.status.resource_claim_statuses = [status]
    else:
        new.status.conditions = [core_v1.PodCondition(type="PodScheduled", status="False")]
    world.handlers.pod_changed(old, new)
    assert world.popped() == ([] if change == "conditions" else ["p"])


def test_an_update_of_an_assumed_pod_does_not_queue_it() -> None:
    world = World()
    old = pending()
    world.handlers.pod_changed(None, old)
    world.popped()
    world.state.queue.delete("p")
    world.state.cache.assume(PodInfo(old), "a")
    new = copy.deepcopy(old)
    new.metadata.labels = {"k": "v"}
    new.status.nominated_node_name = "a"
    world.handlers.pod_changed(old, new)
    assert world.popped() == []
    assert world.state.nominator.node_of("p") == "", "it would count twice"
    bound = copy.deepcopy(new)
    bound.spec.node_name = "a"
    world.handlers.pod_changed(new, bound)
    assert not world.state.cache.is_assumed("p") and world.used_cpu() == 1000


def test_a_nomination_ends_with_its_pod() -> None:
    world = World()
    pod = pending()
    pod.status.nominated_node_name = "a"
    world.handlers.pod_changed(None, pod)
    assert world.used_cpu() == 1000
    world.handlers.pod_changed(pod, None)
    assert world.used_cpu() == 0


def test_a_pod_waits_for_its_claims_outside_of_the_queue() -> None:
    world = World()
    entry = [{"name": "gpu", "resourceClaimName": "c"}]
    world.handlers.pod_changed(None, pending(resourceClaims=entry))
    world.handlers.pod_changed(None, pending("gone", resourceClaims=entry))
    world.handlers.pod_changed(pending("gone", resourceClaims=entry), None)
    assert world.popped() == []
    made = claim("c", ask())
    world.claims["default/c"] = made
    world.handlers.claim_changed(None, made)
    assert world.popped() == ["p"]


def test_devices_reach_the_tracker() -> None:
    world = World()
    wanted = claim("c", ask())
    nodes = [(0, node("a"))]
    offered = slice_of("a", device("d0"))
    world.handlers.slice_changed(None, offered)
    assert world.tracker.rejections([wanted], nodes) == {}
    world.handlers.slice_changed(offered, None)
    assert world.tracker.rejections([wanted], nodes) == {CANNOT_ALLOCATE: [0]}


def test_events_reach_unschedulable_pods() -> None:
    world = World()
    kinds = world.kinds_that_wake()
    namespace = core_v1.Namespace()
    namespace.metadata.name = "n"
    world.handlers.namespace_changed(None, namespace)
    world.handlers.namespace_changed(namespace, copy.deepcopy(namespace))
    world.handlers.node_changed(None, node("b"))
    world.handlers.pod_changed(None, pending(nodeName="a"))
    world.handlers.pod_changed(pending(nodeName="a"), None)
    world.handlers.class_changed(None, class_of())
    world.handlers.node_changed(node("b"), None)
    assert kinds == [
        EventKind.NAMESPACE_LABELS,
        EventKind.NODE_ADDED,
        EventKind.POD_ASSIGNED,
        EventKind.POD_DELETED,
        EventKind.DEVICE_CLASS,
        EventKind.NODE_DELETED,
    ]
    world.handlers.namespace_changed(namespace, None)
    assert world.state.snapshot.namespaces == {}


def test_pods_that_are_kept_out_of_the_queue_are_counted() -> None:
    world = World()
    gated = pending(schedulingGates=[{"name": "example.com/wait"}])
    world.handlers.pod_changed(None, gated)
    assert world.handlers.count_gated() == 1 and world.popped() == []
    waiting = pending(resourceClaims=[{"name": "gpu", "resourceClaimName": "c"}])
    world.handlers.pod_changed(gated, waiting)
    assert world.handlers.count_gated() == 1, "its claim does not exist yet"
    world.handlers.pod_changed(waiting, None)
    world.handlers.pod_changed(None, gated)
    world.handlers.pod_changed(gated, None)
    assert world.handlers.count_gated() == 0
