"""Pods of a node that shuts down."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from tests.builders import pod
from tests.node.builders import node_context
from tiphys.client.tasks import TaskGroup
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.shutdown.nodeshutdown import Announcements, NodeShutdown
from tiphys.node.shutdown.periods import Period


class Node:
    """Its pods end when a test says so, or at once; `graces` are those that they were given."""

    def __init__(self, folder: Path, *periods: Period) -> None:
        self.registry = CollectorRegistry()
        self.folder, self.periods = folder, periods
        self.pods: list[ManagedPod] = []
        self.events: list[str] = []
        self.reports = 0
        self.context = node_context()
        self.shutdown = self.again()

    def again(self) -> NodeShutdown:
        say = Announcements(
            self.report, self.event, KubeletMetrics(self.registry), iter((10.0, 20.0)).__next__
        )
        return NodeShutdown(self.periods, lambda: self.pods, say, self.folder)

    def report(self) -> None:
        self.reports += 1

    def event(self, reason: str, message: str) -> None:
        self.events.append(message)

    def add(self, name: str, priority: int, grace: int = 30) -> ManagedPod:
        one = pod(name, priority=priority, terminationGracePeriodSeconds=grace)
        one.metadata.uid = name
        managed = ManagedPod(self.context, one)
        self.pods.append(managed)
        return managed

    @property
    def ending(self) -> dict[str, float | None]:
        return {
            managed.pod.metadata.name: managed.eviction_grace
            for managed in self.pods
            if managed.failure is not None
        }


async def test_pods_end_by_priority_each_group_when_the_one_before_has_ended(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path, Period(0, 20), Period(100, 10))
    low, high = node.add("low", 0), node.add("high", 100, grace=2)
    tasks = TaskGroup("test")
    task = tasks.start(node.shutdown.begin(), "shutdown")
    await low.changed()
    assert node.ending == {"low": 20.0}
    low.ended.set()
    await high.changed()
    assert node.ending == {"low": 20.0, "high": 2.0}
    high.ended.set()
    await task
    assert low.failure is not None
    assert low.failure.reason == "Terminated" and low.disruption == low.failure.message


async def test_a_group_that_does_not_end_is_left_when_its_time_is_over(tmp_path: Path) -> None:
    node = Node(tmp_path, Period(0, 0), Period(100, 0))
    node.add("low", 0)
    node.add("high", 100)
    await node.shutdown.begin()
    assert node.ending == {"low": 1.0, "high": 1.0}


async def test_pods_that_have_ended_are_left_alone(tmp_path: Path) -> None:
    node = Node(tmp_path, Period(0, 5))
    node.add("done", 0).pod.status.phase = "Succeeded"
    await node.shutdown.begin()
    assert node.ending == {}


async def test_the_cluster_hears_of_it_and_of_its_end(tmp_path: Path) -> None:
    node = Node(tmp_path, Period(0, 5))
    await node.shutdown.begin()
    assert node.shutdown.is_under_way
    node.shutdown.cancel()
    assert not node.shutdown.is_under_way and node.reports == 2
    assert node.events == [
        "Shutdown manager detected shutdown event",
        "Shutdown manager detected shutdown cancellation",
    ]


async def test_when_it_was_outlives_the_process(tmp_path: Path) -> None:
    node = Node(tmp_path, Period(0, 5))
    await node.shutdown.begin()
    node.registry = CollectorRegistry()
    node.again()
    name = "kubelet_graceful_shutdown_{}_time_seconds"
    times = [node.registry.get_sample_value(name.format(which)) for which in ("start", "end")]
    assert times == [10.0, 20.0]
