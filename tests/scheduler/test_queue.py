"""Pods that fit nowhere wait for what can help them, and for nothing else."""

from __future__ import annotations

from tests.builders import node, pod
from tests.scheduler.builders import framework
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.queue import MAX_BACKOFF_SECONDS, MAX_UNSCHEDULABLE_SECONDS, SchedulingQueue
from tiphys.scheduler.snapshot import Snapshot


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def waiting(name: str) -> PodInfo:
    made = pod(name)
    made.metadata.uid = name
    return PodInfo(made)


def stuck(queue: SchedulingQueue, name: str, helped: set[str]) -> None:
    queue.add(waiting(name))
    taken = queue.pop()
    assert taken is not None and taken.uid == name
    queue.add_unschedulable(taken, (lambda change: change.kind in helped) if helped else None)


def popped(queue: SchedulingQueue) -> set[str]:
    found = set()
    while (taken := queue.pop()) is not None:
        found.add(taken.uid)
    return found


def test_only_what_helps_a_pod_brings_it_back() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    stuck(queue, "small", {EventKind.NODE_ALLOCATABLE, EventKind.POD_DELETED})
    stuck(queue, "picky", {EventKind.NODE_LABELS})
    clock.now += MAX_BACKOFF_SECONDS
    queue.move_on(ClusterEvent(EventKind.POD_DELETED))
    assert popped(queue) == {"small"}
    queue.move_on(ClusterEvent(EventKind.NODE_ADDED))
    assert popped(queue) == set()
    queue.move_on(ClusterEvent(EventKind.NODE_LABELS))
    assert popped(queue) == {"picky"}


def test_a_pod_of_which_nothing_is_known_is_helped_by_anything() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    stuck(queue, "any", set())
    clock.now += MAX_BACKOFF_SECONDS
    queue.move_on(ClusterEvent(EventKind.NODE_ALLOCATABLE))
    assert popped(queue) == {"any"}


def test_a_pod_is_tried_again_after_a_long_time_whatever_happened() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    stuck(queue, "old", {EventKind.NODE_LABELS})
    assert queue.seconds_until_next() == MAX_UNSCHEDULABLE_SECONDS
    clock.now += MAX_UNSCHEDULABLE_SECONDS + 1
    assert popped(queue) == {"old"}


def test_what_happens_while_a_pod_is_tried_is_not_missed() -> None:
    """Those who are asked where a pod may go can take their time."""
    clock = Clock()
    queue = SchedulingQueue(clock)
    queue.add(waiting("tried"))
    taken = queue.pop()
    assert taken is not None and queue.wants_events
    queue.move_on(ClusterEvent(EventKind.NODE_ALLOCATABLE))
    queue.move_on(ClusterEvent(EventKind.NODE_LABELS))
    queue.add_unschedulable(taken, lambda change: change.kind == EventKind.NODE_LABELS)
    assert popped(queue) == set()
    clock.now += MAX_BACKOFF_SECONDS
    assert popped(queue) == {"tried"}


def test_a_placement_says_who_objected() -> None:
    snapshot = Snapshot()
    snapshot.put_node(node("n1"))
    picky = framework(snapshot).place(PodInfo(pod(nodeSelector={"disk": "ssd"})))
    assert [plugin.name for plugin in picky.unschedulable_plugins] == ["NodeAffinity"]
    ask = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1000"}}}]
    large = framework(snapshot).place(PodInfo(pod(containers=ask)))
    assert [plugin.name for plugin in large.unschedulable_plugins] == ["NodeResourcesFit"]
