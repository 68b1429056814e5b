"""One pass of admission over objects as they are: who is admitted, who waits and why, who makes
room."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from tests.addons.kueue.builders import flavor, queue
from tests.addons.pretended import Pretended
from tiphys.addons.kueue import Settings, statuses
from tiphys.addons.kueue.manager import Manager
from tiphys.addons.kueue.metrics import QueueMetrics
from tiphys.addons.kueue.types.quotas import AdmissionCheck, ClusterQueue, LocalQueue
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.machinery import conditions, timestamps

NOW = 1_800_000_000.0
PREEMPTS = {"withinClusterQueue": "LowerPriority"}


class Bench:
    """A queue `q` of four CPUs, reached by the local queue `team` of the namespace `default`."""

    def __init__(self, **settings: Any) -> None:
        self.server = Pretended()
        self.events: list[tuple[str, str, str, str]] = []
        self.registry = CollectorRegistry()
        recorder = SimpleNamespace(record=self._record)
        context: Any = SimpleNamespace(
            client=self.server,
            informers=self.server,
            now=lambda: NOW,
            settings=from_builtins(settings, Settings),
            recorder=recorder,
        )
        self.manager = Manager(cast(Any, context), QueueMetrics(self.registry))
        meta = {"name": "default", "labels": {"kubernetes.io/metadata.name": "default"}}
        self.server.put(from_builtins({"metadata": meta}, core_v1.Namespace))
        self.server.put(flavor("plain"))
        self.server.put(queue("q", {"plain": {"cpu": 4}}, preemption=PREEMPTS))
        self.local()

    def _record(self, obj: Any, kind: str, reason: str, message: str) -> None:
        self.events.append((obj.metadata.name, kind, reason, message))

    @property
    def reasons(self) -> list[tuple[str, str]]:
        return [(name, reason) for name, _, reason, _ in self.events]

    def local(self, stop: str = "None", of: str = "q", **meta: Any) -> None:
        whole = {"name": "team", "namespace": "default", **meta}
        spec = {"clusterQueue": of, "stopPolicy": stop}
        self.server.put(from_builtins({"metadata": whole, "spec": spec}, LocalQueue))

    def workload(
        self, name: str = "w", cpu: Any = 1, count: int = 1, status: Any = None, **spec: Any
    ) -> Workload:
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": str(cpu)}}}
        pods = {"name": "main", "count": count, "template": {"spec": {"containers": [container]}}}
        meta = {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "creationTimestamp": timestamps.rfc3339(NOW - 60),
        }
        whole = {"queueName": "team", "priority": 0, "podSets": [pods], **spec}
        given = {name: value for name, value in whole.items() if value is not None}
        made: Workload = from_builtins(
            {"metadata": meta, "spec": given, "status": status or {}}, Workload
        )
        self.server.put(made)
        return made

    async def turn(self, name: str = "w") -> Workload:
        """A pass; the workload after it."""
        await self.manager._pass()
        found: Workload | None = self.server.of(Workload).get(f"default/{name}")
        assert found is not None
        return found

    def counted(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(
            f"kueue_{name}", {"replica_role": "standalone", **labels}
        )


def reserved(workload: Workload) -> tuple[str, str, str] | None:
    found = conditions.find(workload.status.conditions, statuses.QUOTA_RESERVED)
    return (found.status, found.reason, found.message) if found is not None else None


# --- who gets quota ---


async def test_whoever_fits_is_admitted_and_said_so() -> None:
    bench = Bench()
    bench.workload(count=3)
    made = await bench.turn()
    admission = made.status.admission
    assert admission is not None and admission.cluster_queue == "q"
    (row,) = admission.pod_set_assignments
    assert (row.name, row.count, row.flavors) == ("main", 3, {"cpu": "plain"})
    assert row.resource_usage == {"cpu": "3"} and row.topology_assignment is None
    assert statuses.has(made, statuses.ADMITTED)
    waited = "in ClusterQueue q, wait time since queued was 60s"
    admitted = "Admitted by ClusterQueue q, wait time since reservation was 0s"
    assert bench.events == [
        ("w", "Normal", "QuotaReserved", f"Quota reserved {waited}"),
        ("w", "Normal", "Admitted", admitted),
    ]
    of_queue = {"cluster_queue": "q", "priority_class": ""}
    assert bench.counted("quota_reserved_wait_time_seconds_sum", **of_queue) == 60
    assert bench.counted("admission_wait_time_seconds_sum", **of_queue) == 60
    assert bench.counted("admission_attempts_total", result="success") == 1
    await bench.turn()
    assert len(bench.events) == 2, "once"


async def test_whoever_has_checks_is_not_admitted_before_they_say_yes() -> None:
    bench = Bench()
    check = {"metadata": {"name": "budget"}, "spec": {"controllerName": "me"}}
    active = {"conditions": [{"type": "Active", "status": "True"}]}
    bench.server.put(from_builtins({**check, "status": active}, AdmissionCheck))
    strategy = {"admissionChecks": [{"name": "budget"}]}
    bench.server.put(queue("q", {"plain": {"cpu": 4}}, admissionChecksStrategy=strategy))
    bench.workload()
    made = await bench.turn()
    assert statuses.has(made, statuses.QUOTA_RESERVED)
    assert not statuses.has(made, statuses.ADMITTED)
    assert [one.name for one in made.status.admission_checks] == ["budget"]
    assert bench.reasons == [("w", "QuotaReserved")]
    labels = {"cluster_queue": "q", "priority_class": ""}
    assert bench.counted("admitted_workloads_total", **labels) is None


async def test_whoever_is_admitted_takes_quota_and_whoever_has_finished_does_not() -> None:
    bench = Bench()
    bench.workload("a", cpu=4)
    first = await bench.turn("a")
    bench.workload("b", cpu=4)
    later = await bench.turn("b")
    assert reserved(later) is not None and later.status.admission is None
    done = from_builtins(to_builtins(first), Workload)
    statuses.finish(done, True, "m", NOW)
    bench.server.put(done)
    assert (await bench.turn("b")).status.admission is not None


# --- who waits, and what they are told ---


async def test_whoever_waits_is_told_why_once() -> None:
    bench = Bench()
    bench.workload(cpu=5)
    made = await bench.turn()
    told = reserved(made)
    assert told is not None and told[0] == "False"
    assert bench.events == [("w", "Warning", told[1], told[2])]
    (row,) = made.status.resource_requests
    assert (row.name, row.resources) == ("main", {"cpu": "5"})
    version = made.metadata.resource_version
    again = await bench.turn()
    assert (again.metadata.resource_version, len(bench.events)) == (version, 1)
    assert bench.counted("admission_attempts_total", result="inadmissible") == 2


async def test_those_behind_that_are_like_it_are_not_looked_at() -> None:
    bench = Bench()
    bench.workload("a", cpu=5)
    bench.workload("b", cpu=5)
    second = await bench.turn("b")
    message = "Bypassed scheduling evaluation because an equivalent workload recently failed"
    told = reserved(second)
    assert told is not None and told[2] == message
    assert [name for name, _ in bench.reasons] == ["a", "b"]


LATER, BEFORE = timestamps.rfc3339(NOW + 1), timestamps.rfc3339(NOW)


@pytest.mark.parametrize(
    "spec, status, reason, message",
    [
        ({"queueName": None}, {}, None, None),
        ({"active": False}, {}, "Deactivated", "The workload is deactivated"),
        ({}, {"requeueState": {"requeueAt": LATER}}, None, None),
        ({}, {"requeueState": {"requeueAt": BEFORE}}, "QuotaReserved", None),
        ({"queueName": "none"}, {}, "Misconfigured", "LocalQueue none doesn't exist"),
        ({}, {}, "QuotaReserved", None),
    ],
)
async def test_whoever_is_in_no_queue_is_told_so(
    spec: Any, status: Any, reason: str | None, message: str | None
) -> None:
    bench = Bench()
    bench.workload(status=status, **spec)
    told = reserved(await bench.turn())
    assert (told[1] if told is not None else None) == reason
    if message is not None:
        assert told == ("False", reason, message)


@pytest.mark.parametrize(
    "local, reason, message",
    [
        ({"stop": "Hold"}, "Suspended", "LocalQueue team is stopped"),
        ({"stop": "HoldAndDrain"}, "Suspended", "LocalQueue team is stopped"),
        ({"of": "x"}, "Misconfigured", "ClusterQueue x doesn't exist"),
        ({"deletionTimestamp": BEFORE}, "Misconfigured", "LocalQueue team doesn't exist"),
    ],
)
async def test_a_local_queue_that_leads_nowhere_says_so(
    local: Any, reason: str, message: str
) -> None:
    bench = Bench()
    bench.local(**local)
    bench.workload()
    assert reserved(await bench.turn()) == ("False", reason, message)
    assert bench.events == [("w", "Warning", reason, message)]


async def test_pods_that_cannot_be_read_are_in_no_queue() -> None:
    bench = Bench()
    made = bench.workload()
    made.spec.pod_sets[0].template = {"spec": {"containers": 5}}
    told = reserved(await bench.turn())
    assert told == ("False", "Misconfigured", "its pod templates cannot be read")


async def test_a_workload_that_changes_is_counted_anew() -> None:
    bench = Bench()
    bench.workload(cpu=5)
    await bench.turn()
    bench.workload(cpu=4)
    assert (await bench.turn()).status.admission is not None


# --- who makes room ---


async def test_whoever_is_less_urgent_makes_room() -> None:
    bench = Bench()
    bench.workload("low", cpu=4)
    await bench.turn("low")
    bench.events.clear()
    bench.workload("high", cpu=4, priority=1)
    victim = await bench.turn("low")
    message = (
        "Preempted to accommodate a workload (UID: uid-high, JobUID: UNKNOWN) due to "
        "prioritization in the ClusterQueue; preemptor path: /q; preemptee path: /q"
    )
    evicted = conditions.find(victim.status.conditions, statuses.EVICTED)
    assert evicted is not None
    assert (evicted.status, evicted.reason, evicted.message) == ("True", "Preempted", message)
    preempted = conditions.find(victim.status.conditions, statuses.PREEMPTED)
    assert preempted is not None
    assert (preempted.status, preempted.reason) == ("True", "InClusterQueue")
    assert victim.status.admission is not None, "until nothing of it runs"
    assert bench.reasons[:2] == [("low", "Preempted"), ("high", "PreemptedWorkload")]
    said = "Preempted workload default/low (UID: uid-low) in ClusterQueue q"
    assert bench.events[1] == ("high", "Normal", "PreemptedWorkload", said)
    told = reserved(bench.server.of(Workload).get("default/high"))
    assert told is not None and told[0] == "False"
    counted = {"preempting_cluster_queue": "q", "reason": "InClusterQueue"}
    assert bench.counted("preempted_workloads_total", **counted) == 1
    await bench.turn("low")
    assert bench.counted("preempted_workloads_total", **counted) == 1, "once"


# --- what wakes it ---


async def test_changes_that_matter_wake_it() -> None:
    bench = Bench()

    def wakes(obj: Any) -> bool:
        bench.manager._changed.clear()
        bench.server.put(obj)
        return bench.manager._changed.is_set()

    made = bench.workload()

    def changed(change: Any) -> Workload:
        copy: Workload = from_builtins(
            to_builtins(bench.server.of(Workload).get("default/w")), Workload
        )
        change(copy)
        return copy

    assert wakes(flavor("other"))
    assert not wakes(changed(lambda one: setattr(one.metadata, "labels", {"a": "b"})))
    assert not wakes(changed(lambda one: setattr(one.status, "resource_requests", [])))
    assert wakes(changed(lambda one: setattr(one.spec, "priority", 5)))
    assert wakes(changed(lambda one: statuses.evict(one, "Preempted", "m", NOW)))
    assert not wakes(changed(lambda one: statuses.evict(one, "Preempted", "n", NOW)))
    assert wakes(changed(lambda one: statuses.back_off(one, 1, 1, NOW)))
    bench.manager._changed.clear()
    bench.server.take(made)
    assert bench.manager._changed.is_set()


async def test_an_end_is_counted_once_of_those_that_had_quota() -> None:
    bench = Bench()
    bench.workload("a")
    bench.workload("b", queueName=None)
    await bench.turn("a")
    of_queue = {"cluster_queue": "q", "priority_class": ""}
    for name in ("a", "a", "b"):
        found = bench.server.of(Workload).get(f"default/{name}")
        done = from_builtins(to_builtins(found), Workload)
        statuses.finish(done, True, "m", NOW)
        bench.server.put(done)
    assert bench.counted("finished_workloads_total", **of_queue) == 1


async def test_a_queue_that_is_gone_gives_nothing() -> None:
    bench = Bench()
    bench.workload()
    bench.server.take(bench.server.of(ClusterQueue).get("q"))
    assert reserved(await bench.turn()) == (
        "False",
        "Misconfigured",
        "ClusterQueue q doesn't exist",
    )
