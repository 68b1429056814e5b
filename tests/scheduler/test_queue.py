"""Pods that fit nowhere wait for what can help them, and for nothing else."""

from __future__ import annotations

from tests.builders import node, pod
from tiphys.scheduler.changes import NODE_ADDED, NODE_LABELS, NODE_SIZE, POD_GONE, Change
from tiphys.scheduler.placement import Placer
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.queue import LIMIT, STUCK, SchedulingQueue
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
    queue.put(waiting(name))
    taken = queue.pop()
    assert taken is not None and taken.uid == name
    queue.failed(taken, (lambda change: change.kind in helped) if helped else None)


def popped(queue: SchedulingQueue) -> set[str]:
    found = set()
    while (taken := queue.pop()) is not None:
        found.add(taken.uid)
    return found


def test_only_what_helps_a_pod_brings_it_back() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    stuck(queue, "small", {NODE_SIZE, POD_GONE})
    stuck(queue, "picky", {NODE_LABELS})
    clock.now += LIMIT
    queue.something_changed(Change(POD_GONE))
    assert popped(queue) == {"small"}
    queue.something_changed(Change(NODE_ADDED))
    assert popped(queue) == set()
    queue.something_changed(Change(NODE_LABELS))
    assert popped(queue) == {"picky"}


def test_a_pod_of_which_nothing_is_known_is_helped_by_anything() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    stuck(queue, "any", set())
    clock.now += LIMIT
    queue.something_changed(Change(NODE_SIZE))
    assert popped(queue) == {"any"}


def test_a_pod_is_tried_again_after_a_long_time_whatever_happened() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    stuck(queue, "old", {NODE_LABELS})
    assert queue.next_wake() == STUCK
    clock.now += STUCK + 1
    assert popped(queue) == {"old"}


def test_what_happens_while_a_pod_is_tried_is_not_missed() -> None:
    """Those who are asked where a pod may go can take their time."""
    clock = Clock()
    queue = SchedulingQueue(clock)
    queue.put(waiting("tried"))
    taken = queue.pop()
    assert taken is not None and queue.stuck
    queue.something_changed(Change(NODE_SIZE))
    queue.something_changed(Change(NODE_LABELS))
    queue.failed(taken, lambda change: change.kind == NODE_LABELS)
    assert popped(queue) == set()
    clock.now += LIMIT
    assert popped(queue) == {"tried"}


def test_a_placement_says_who_objected() -> None:
    view = Snapshot()
    view.put_node(node("n1"))
    picky = Placer(view).place(PodInfo(pod(nodeSelector={"disk": "ssd"})))
    assert [plugin.name for plugin in picky.objectors] == ["NodeAffinity"]
    ask = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1000"}}}]
    large = Placer(view).place(PodInfo(pod(containers=ask)))
    assert [plugin.name for plugin in large.objectors] == ["NodeResourcesFit"]
