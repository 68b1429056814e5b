"""Pods that fit nowhere wait for what can help them, and for nothing else."""

from __future__ import annotations

from tests.builders import node, pod
from tests.scheduler.builders import framework, info
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.queue import (
    INITIAL_BACKOFF_SECONDS,
    MAX_BACKOFF_SECONDS,
    MAX_UNSCHEDULABLE_SECONDS,
    SchedulingQueue,
)
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


def test_pods_are_popped_by_priority_then_by_age() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    for name, priority in (("old", 0), ("young", 0), ("high", 5)):
        clock.now += 1
        queue.add(info(name, priority=priority))
    assert [pod.uid for pod in iter(queue.pop, None)] == ["high", "old", "young"]


def test_backoff_doubles_up_to_the_maximum() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    pod = waiting("p")
    queue.add(pod)
    pauses = []
    for _ in range(6):
        queue.pop()
        queue.add_backoff(pod)
        pauses.append(queue.seconds_until_next())
        clock.now += pauses[-1] or 0
    assert pauses == [1, 2, 4, 8, MAX_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS]


def test_a_pod_stays_unschedulable_when_an_older_backoff_ends() -> None:
    """It was moved while it backed off, tried, and fits nowhere again."""
    clock = Clock()
    queue = SchedulingQueue(clock)
    pod = waiting("p")
    queue.add(pod)
    queue.pop()
    queue.add_backoff(pod)
    queue.add_unschedulable(pod, lambda event: False)
    clock.now += MAX_BACKOFF_SECONDS
    assert popped(queue) == set()


def test_an_update_makes_an_unschedulable_pod_active_at_once() -> None:
    queue = SchedulingQueue(Clock())
    stuck(queue, "p", {EventKind.NODE_LABELS})
    queue.add(waiting("p"))
    assert popped(queue) == {"p"}


def test_an_update_of_a_pod_in_flight_is_not_popped_twice() -> None:
    queue = SchedulingQueue(Clock())
    queue.add(waiting("p"))
    queue.pop()
    queue.add(waiting("p"))
    assert popped(queue) == set()


def test_the_hint_of_an_earlier_attempt_is_forgotten() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    stuck(queue, "p", {EventKind.NODE_LABELS})
    clock.now += MAX_BACKOFF_SECONDS
    queue.move_on(ClusterEvent(EventKind.NODE_LABELS))
    stuck(queue, "p", set())
    clock.now += MAX_BACKOFF_SECONDS
    queue.move_on(ClusterEvent(EventKind.NODE_ADDED))
    assert popped(queue) == {"p"}


def test_a_helped_pod_waits_for_the_end_of_its_backoff() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    stuck(queue, "p", {EventKind.NODE_LABELS})
    queue.move_on(ClusterEvent(EventKind.NODE_LABELS))
    assert popped(queue) == set()
    assert queue.seconds_until_next() == INITIAL_BACKOFF_SECONDS
    clock.now += INITIAL_BACKOFF_SECONDS
    assert popped(queue) == {"p"}


def test_the_longest_unschedulable_pod_says_when_to_look_again() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    assert queue.seconds_until_next() is None
    stuck(queue, "first", {EventKind.NODE_LABELS})
    clock.now += 100
    stuck(queue, "second", {EventKind.NODE_LABELS})
    assert queue.seconds_until_next() == MAX_UNSCHEDULABLE_SECONDS - 100
    clock.now += MAX_UNSCHEDULABLE_SECONDS - 100
    assert popped(queue) == set(), "not before the time is over"


def test_a_deleted_pod_is_not_popped() -> None:
    queue = SchedulingQueue(Clock())
    queue.add(waiting("p"))
    queue.delete("p")
    assert popped(queue) == set() and len(queue) == 0


def test_an_activated_pod_does_not_wait() -> None:
    queue = SchedulingQueue(Clock())
    stuck(queue, "p", {EventKind.NODE_LABELS})
    queue.activate("p")
    queue.activate("nobody")
    assert popped(queue) == {"p"}


def test_it_says_when_pods_may_be_active() -> None:
    called: list[int] = []
    queue = SchedulingQueue(Clock(), on_active=lambda: called.append(1))
    queue.add(waiting("p"))
    assert called


def test_the_pods_of_a_gang_are_taken_together_wherever_they_wait() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    for name in ("active", "other", "backing"):
        queue.add(waiting(name))
    for _ in range(3):
        taken = queue.pop()
        assert taken is not None
        if taken.uid == "backing":
            queue.add_backoff(taken)
        else:
            queue.add_unschedulable(taken, None)
    stuck(queue, "stuck", {EventKind.NODE_ADDED})
    queue.move_on(ClusterEvent(EventKind.NODE_ALLOCATABLE))
    queue.take("gang", {"active", "backing", "stuck"})
    clock.now += MAX_UNSCHEDULABLE_SECONDS + 1
    queue.move_on(ClusterEvent(EventKind.NODE_ADDED))
    assert popped(queue) == {"other"}
