"""What one look at a workload does to it: it waits, comes back, holds its quota or gives it back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.pretended import Pretended
from tiphys.addons.kueue import Settings, statuses
from tiphys.addons.kueue.lifecycle import WorkloadController
from tiphys.addons.kueue.types.quotas import ClusterQueue, LocalQueue
from tiphys.addons.kueue.types.workloads import Admission, Workload
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import OwnerReference
from tiphys.controllers.shell import Context
from tiphys.machinery import conditions, timestamps

NOW = 1_800_000_000.0
KEY = "lab/w"


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.server = Pretended()
        self.later = 0.0
        self.admitted: list[tuple[Any, ...]] = []
        self.evicted: list[tuple[Any, ...]] = []
        self.events: list[tuple[str, str, str]] = []
        metrics = SimpleNamespace(
            admitted=lambda *told: self.admitted.append(told),
            evicted=lambda *told: self.evicted.append(told),
        )
        recorder: Any = SimpleNamespace(record=self._record, as_component=lambda *_: recorder)
        pretended, nobody = cast(Any, self.server), cast(Any, None)
        shared = {"metrics": metrics, "settings": from_builtins(settings, Settings)}
        context = Context(pretended, pretended, recorder, nobody, lambda: NOW + self.later, shared)
        self.controller = WorkloadController(context)
        self.controller.watch()

    def _record(self, obj: Any, kind: str, reason: str, message: str, *_: Any, **__: Any) -> None:
        self.events.append((kind, reason, message))

    def local(self, stop: str = "None") -> None:
        spec = {"clusterQueue": "q", "stopPolicy": stop}
        meta = {"name": "team", "namespace": "lab", "uid": "l"}
        self.server.put(from_builtins({"metadata": meta, "spec": spec}, LocalQueue))

    def cluster(self, stop: str = "None", **more: Any) -> None:
        spec = {"stopPolicy": stop, **more}
        self.server.put(
            from_builtins({"metadata": {"name": "q", "uid": "c"}, "spec": spec}, ClusterQueue)
        )

    def workload(self, **spec: Any) -> Workload:
        meta = {"name": "w", "namespace": "lab", "uid": "w"}
        made: Workload = from_builtins(
            {"metadata": meta, "spec": {"queueName": "team", **spec}}, Workload
        )
        return made

    async def step(self, workload: Workload | None = None) -> Workload:
        if workload is not None:
            self.server.put(workload)
        self.again = await self.controller.reconcile(KEY)
        found = self.server.of(Workload).get(KEY)
        assert found is not None
        return found


def condition(workload: Workload, type_: str) -> tuple[str, str, str] | None:
    found = conditions.find(workload.status.conditions, type_)
    return (found.status, found.reason, found.message) if found is not None else None


def waiting(bench: Bench, reason: str, **spec: Any) -> Workload:
    """One that was evicted for that reason."""
    made = bench.workload(**spec)
    statuses.set_condition(made, statuses.REQUEUED, False, reason, "m", NOW)
    return made


def reserved(bench: Bench, **spec: Any) -> Workload:
    made = bench.workload(**spec)
    statuses.reserve(made, Admission(cluster_queue="q"), NOW)
    return made


RESTARTED = "was restarted after being stopped"


@pytest.mark.parametrize(
    "reason, local, cluster, back",
    [
        ("Deactivated", "None", "None", ("Reactivated", "The workload was reactivated")),
        ("DeactivatedDueToX", "", "", ("Reactivated", "The workload was reactivated")),
        (
            "LocalQueueStopped",
            "None",
            "Hold",
            ("LocalQueueRestarted", f"The LocalQueue {RESTARTED}"),
        ),
        ("LocalQueueStopped", "Hold", "None", None),
        ("LocalQueueStopped", "", "None", None),
        (
            "ClusterQueueStopped",
            "None",
            "None",
            ("ClusterQueueRestarted", f"The ClusterQueue {RESTARTED}"),
        ),
        ("ClusterQueueStopped", "None", "HoldAndDrain", None),
        ("ClusterQueueStopped", "None", "", None),
        ("ClusterQueueStopped", "", "None", None),
        ("Other", "", "", ("BackoffFinished", "The workload backoff was finished")),
    ],
)
async def test_who_was_sent_away_comes_back_when_that_is_over(
    reason: str, local: str, cluster: str, back: tuple[str, str] | None
) -> None:
    bench = Bench()
    if local:
        bench.local(local)
    if cluster:
        bench.cluster(cluster)
    made = await bench.step(waiting(bench, reason))
    assert bench.again is None
    wanted = ("True", *back) if back is not None else ("False", reason, "m")
    assert condition(made, statuses.REQUEUED) == wanted


async def test_who_is_turned_off_stays_away() -> None:
    bench = Bench()
    made = await bench.step(waiting(bench, "Deactivated", active=False))
    assert condition(made, statuses.REQUEUED) == ("False", "Deactivated", "m")


@pytest.mark.parametrize("reason, keeps", [("Other", True), ("Deactivated", False)])
async def test_a_pause_is_waited_for(reason: str, keeps: bool) -> None:
    bench = Bench()
    made = waiting(bench, reason)
    statuses.back_off(made, 60, 600, NOW)
    await bench.step(made)
    assert bench.again == 60
    bench.later = 59
    found = await bench.step()
    assert bench.again == 1 and condition(found, statuses.REQUEUED) == ("False", reason, "m")
    bench.later = 60
    found = await bench.step()
    assert bench.again is None
    shown = condition(found, statuses.REQUEUED)
    assert shown is not None and shown[0] == "True"
    state = found.status.requeue_state
    assert (state is not None) is keeps, "whoever is turned on again begins anew"
    if state is not None:
        assert (state.requeue_at, state.count) == (None, 1)


async def test_who_never_was_away_is_not_told_to_come_back() -> None:
    bench = Bench()
    made = await bench.step(bench.workload())
    assert condition(made, statuses.REQUEUED) is None
    back = waiting(bench, "Other")
    statuses.set_condition(back, statuses.REQUEUED, True, "Preempted", "m", NOW)
    assert condition(await bench.step(back), statuses.REQUEUED) == ("True", "Preempted", "m")


# --- who holds quota ---


async def test_one_without_checks_is_admitted_at_once() -> None:
    bench = Bench()
    bench.local()
    bench.cluster()
    made = reserved(
        bench,
        priorityClassRef={
            "name": "high",
            "group": "kueue.x-k8s.io",
            "kind": "WorkloadPriorityClass",
        },
    )
    bench.later = 7
    found = await bench.step(made)
    assert statuses.has(found, statuses.ADMITTED) and bench.again is None
    assert bench.admitted == [("q", "high", 7.0)]
    message = "Admitted by ClusterQueue q, wait time since reservation was 7s"
    assert bench.events == [("Normal", "Admitted", message)]
    await bench.step()
    assert len(bench.events) == 1, "once"


async def test_one_with_checks_waits_for_them() -> None:
    bench = Bench()
    bench.cluster(admissionChecksStrategy={"admissionChecks": [{"name": "budget"}]})
    found = await bench.step(reserved(bench))
    assert not statuses.has(found, statuses.ADMITTED)
    (check,) = found.status.admission_checks
    assert (check.name, check.state) == ("budget", "Pending")
    assert bench.events == [] and bench.admitted == []


@pytest.mark.parametrize(
    "local, cluster, message",
    [
        ("Hold", "None", "LocalQueue team is stopped"),
        ("HoldAndDrain", "Hold", "LocalQueue team is stopped"),
        ("None", "Hold", "ClusterQueue q is stopped"),
        ("", "HoldAndDrain", "ClusterQueue q is stopped"),
    ],
)
async def test_a_reservation_ends_with_its_queue(local: str, cluster: str, message: str) -> None:
    bench = Bench()
    if local:
        bench.local(local)
    bench.cluster(cluster)
    found = await bench.step(reserved(bench))
    assert found.status.admission is None
    assert condition(found, statuses.QUOTA_RESERVED) == ("False", "Suspended", message)
    assert bench.evicted == []


def running(bench: Bench, **spec: Any) -> Workload:
    made = reserved(bench, **spec)
    statuses.sync_admitted(made, NOW)
    return made


@pytest.mark.parametrize(
    "local, cluster, reason",
    [
        ("Hold", "Hold", None),
        ("HoldAndDrain", "None", "LocalQueueStopped"),
        ("None", "HoldAndDrain", "ClusterQueueStopped"),
    ],
)
async def test_what_runs_ends_when_its_queue_is_drained(
    local: str, cluster: str, reason: str | None
) -> None:
    bench = Bench()
    bench.local(local)
    bench.cluster(cluster)
    found = await bench.step(running(bench))
    assert statuses.has(found, statuses.EVICTED) is (reason is not None)
    assert bench.evicted == ([("q", reason, "", "")] if reason is not None else [])
    words = "LocalQueue" if reason == "LocalQueueStopped" else "ClusterQueue"
    said = ("Normal", f"EvictedDueTo{reason}", f"The {words} is stopped")
    assert bench.events == ([said] if reason is not None else [])
    assert found.spec.active is not False and found.status.requeue_state is None


async def test_what_ran_too_long_is_turned_off() -> None:
    bench = Bench()
    bench.cluster()
    made = running(bench, maximumExecutionTimeSeconds=10)
    statuses.back_off(made, 60, 600, NOW)
    await bench.step(made)
    assert bench.again == 10
    bench.later = 10
    found = await bench.step()
    assert found.spec.active is False and found.status.requeue_state is None
    assert found.status.accumulated_past_execution_time_seconds is None
    message = "The workload is deactivated due to exceeding the maximum execution time"
    assert bench.events == [
        ("Warning", "MaximumExecutionTimeExceeded", message),
        ("Normal", "EvictedDueToDeactivated", message),
    ]
    assert bench.evicted == [("q", "Deactivated", "MaximumExecutionTimeExceeded", "")]


async def test_what_does_not_become_ready_pauses() -> None:
    bench = Bench(podsReadyTimeout=20, backoffBase=30, backoffLongest=100)
    bench.cluster()
    made = running(bench, maximumExecutionTimeSeconds=100)
    await bench.step(made)
    assert bench.again == 20, "what comes first"
    bench.later = 20
    found = await bench.step()
    state = found.status.requeue_state
    assert state is not None and state.count == 1
    assert timestamps.parse(state.requeue_at) == NOW + 50
    assert found.spec.active is not False
    assert bench.evicted == [("q", "PodsReadyTimeout", "WaitForStart", "")]


@pytest.mark.parametrize("is_owned", [True, False])
async def test_who_has_no_job_gives_back_at_once(is_owned: bool) -> None:
    bench = Bench()
    made = running(bench)
    statuses.evict(made, "Preempted", "m", NOW)
    if is_owned:
        made.metadata.owner_references = [OwnerReference(kind="Pod", name="p", uid="p")]
    found = await bench.step(made)
    assert (found.status.admission is None) is not is_owned


@pytest.mark.parametrize("how", ["finished", "going"])
async def test_what_is_over_is_left_alone(how: str) -> None:
    bench = Bench()
    bench.cluster("HoldAndDrain")
    made = running(bench)
    if how == "going":
        made.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    else:
        statuses.finish(made, True, "m", NOW)
    found = await bench.step(made)
    assert bench.evicted == [] and not statuses.has(found, statuses.EVICTED)


async def test_a_queue_concerns_its_workloads() -> None:
    bench = Bench()
    other = bench.workload(queueName="other")
    other.metadata.name, other.metadata.uid = "o", "o"
    bench.server.put(other)
    bench.server.put(running(bench))

    async def queued() -> list[str]:
        keys = []
        while len(bench.controller.queue):
            key = await bench.controller.queue.get()
            bench.controller.queue.done(key)
            keys.append(key)
        return sorted(keys)

    assert await queued() == ["lab/o", KEY]
    bench.local()
    assert await queued() == [KEY]
    bench.cluster()
    assert await queued() == [KEY]
    for kind, name in ((LocalQueue, "lab/team"), (ClusterQueue, "q")):
        bench.server.take(bench.server.of(kind).get(name))
        assert await queued() == [KEY]
    assert await bench.controller.reconcile("lab/nobody") is None
