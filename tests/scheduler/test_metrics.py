"""What a scheduler counts of its attempts, its queue and preemption."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from tests.builders import pod as bare_pod
from tests.scheduler.builders import default_account, untainted_nodes
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.configuration import Profile
from tiphys.scheduler.main import Scheduler
from tiphys.scheduler.metrics import SchedulerMetrics
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.state import SchedulerState
from tiphys.testing import LocalCluster


def pod(name: str, cpu: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    spec = {"containers": [container], "schedulerName": "own", **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def test_attempts_are_counted_by_their_result() -> None:
    registry = CollectorRegistry()

    def attempts(result: str) -> float | None:
        labels = {"result": result, "profile": "own"}
        return registry.get_sample_value("scheduler_schedule_attempts_total", labels)

    async with LocalCluster(nodes=1) as cluster:
        scheduler = Scheduler(cluster.client, cluster.tasks, [Profile("own")], registry=registry)
        cluster.tasks.start(scheduler.run(), "own", vital=True)
        await default_account(cluster)
        await untainted_nodes(cluster)
        await cluster.client.create(pod("fits", "1m"))
        await cluster.eventually(lambda: attempts("scheduled") == 1)
        await cluster.client.create(pod("large", "1000"))
        await cluster.eventually(lambda: attempts("unschedulable"))
    labels = {"result": "scheduled", "profile": "own"}
    name = "scheduler_scheduling_attempt_duration_seconds_count"
    assert registry.get_sample_value(name, labels) == 1
    first = {"attempts": "1"}
    name = "scheduler_pod_scheduling_sli_duration_seconds_count"
    assert registry.get_sample_value(name, first) == 1
    waiting = {"queue": "unschedulable"}
    assert registry.get_sample_value("scheduler_pending_pods", waiting) == 1


def test_pods_are_counted_where_they_wait_and_by_what_brought_them_there() -> None:
    registry = CollectorRegistry()
    state = SchedulerState(lambda: 100.0, SchedulerMetrics(registry))
    queue = state.queue

    def pending() -> list[float | None]:
        parts = ("active", "backoff", "unschedulable")
        name = "scheduler_pending_pods"
        return [registry.get_sample_value(name, {"queue": part}) for part in parts]

    def incoming(part: str, event: str) -> float | None:
        labels = {"queue": part, "event": event}
        return registry.get_sample_value("scheduler_queue_incoming_pods_total", labels)

    waiting = bare_pod("p")
    waiting.metadata.uid = "p"
    queue.add(PodInfo(waiting))
    assert pending() == [1, 0, 0] and incoming("active", "UnscheduledPodAdd") == 1
    popped = queue.pop()
    assert popped is not None and pending() == [0, 0, 0]
    queue.add_unschedulable(popped)
    assert pending() == [0, 0, 1]
    assert incoming("unschedulable", "ScheduleAttemptFailure") == 1
    queue.move_on(ClusterEvent(EventKind.NODE_ADDED))
    assert pending() == [0, 1, 0] and incoming("backoff", "NodeAdd") == 1
    assert queue.attempt_at(popped).number == 2
    queue.delete("p")
    assert pending() == [0, 0, 0]


def test_victims_of_preemption_are_counted() -> None:
    registry = CollectorRegistry()
    metrics = SchedulerMetrics(registry)
    metrics.preempts(victims=3)
    assert registry.get_sample_value("scheduler_preemption_attempts_total") == 1
    assert registry.get_sample_value("scheduler_preemption_victims_sum") == 3
    assert registry.get_sample_value("scheduler_preemption_victims_bucket", {"le": "4.0"}) == 1
