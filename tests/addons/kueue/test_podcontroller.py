"""What one look at pods in queues does: their workload is made, and they are let go."""

from __future__ import annotations

import pytest

from tests.addons.kueue.builders import PREFIX, queued_pod
from tests.addons.kueue.podbench import ALONE, NOW, Bench, of
from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.serving import group_of
from tiphys.addons.kueue.types.quotas import WorkloadPriorityClass
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.api import apps_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery import conditions, errors, timestamps


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


# --- a workload is made ---


async def test_a_pod_alone_gets_a_workload_of_its_own(bench: Bench) -> None:
    bench.pods(queued_pod())
    await bench.look("lab/pod/p")
    made = bench.workload(ALONE)
    assert made is not None
    assert made.metadata.labels == {f"{PREFIX}/job-uid": "uid-p"}
    assert made.metadata.annotations == {}
    assert [one.name for one in made.metadata.owner_references] == ["p"]
    assert (made.spec.queue_name, made.spec.priority) == ("team", 0)
    assert bench.events == [("p", "Normal", "CreatedWorkload", f"Created Workload: {ALONE}")]
    await bench.look("lab/pod/p")
    assert len(bench.events) == 1, "once"


@pytest.mark.parametrize("serving", [False, True])
async def test_a_group_gets_one_once_it_is_complete(bench: Bench, serving: bool) -> None:
    more = {"pod_group_serving": "true"} if serving else {}
    bench.pods(*of(2, "a", **more))
    await bench.look()
    assert bench.workload() is None and bench.events == []
    bench.pods(*of(2, "b", **more))
    await bench.look()
    made = bench.workload()
    assert made is not None and made.metadata.labels == {}
    said = {f"{PREFIX}/is-group-workload": "true"}
    also = {f"{PREFIX}/pod-group-serving": "true"} if serving else {}
    assert made.metadata.annotations == {**said, **also}


@pytest.mark.parametrize(
    "members",
    [
        of(2, "a", "b", phase="Succeeded"),
        of(1, "a", pod_suspending_parent="leaderworkerset"),
        of(1, "a", queue=""),
        [],
    ],
)
async def test_who_needs_none_gets_none(bench: Bench, members: list[core_v1.Pod]) -> None:
    bench.pods(*members)
    await bench.look()
    assert bench.workload() is None and bench.events == []
    await bench.look("lab/pod/nobody")


async def test_a_workload_that_is_there_already_is_not_announced(bench: Bench) -> None:
    bench.pods(queued_pod())
    bench.server.fails = errors.already_exists("workloads", "w")
    await bench.look("lab/pod/p")
    assert bench.events == []
    bench.server.fails = errors.conflict("workloads", "w", "changed")
    with pytest.raises(errors.StatusError):
        await bench.look("lab/pod/p")


async def test_a_group_is_worth_what_its_first_pod_says(bench: Bench) -> None:
    pod = queued_pod()
    pod.metadata.labels[f"{PREFIX}/priority-class"] = "high"
    bench.pods(pod)
    with pytest.raises(LookupError):
        await bench.look("lab/pod/p")
    message = "WorkloadPriorityClass 'high' not found"
    assert bench.events == [("p", "Warning", "WorkloadPriorityClassNotFound", message)]
    row = {"metadata": {"name": "high"}, "value": 7}
    bench.server.put(from_builtins(row, WorkloadPriorityClass))
    made = await bench.begun("lab/pod/p", ALONE)
    assert made.spec.priority == 7 and made.spec.priority_class_ref is not None


# --- too many, and finished ---


async def test_pods_that_are_too_many_are_deleted(bench: Bench) -> None:
    bench.pods(*of(1, "a", "b"))
    await bench.look()
    assert bench.server.deleted == [("Pod", "b", "lab")]
    assert bench.events[0] == ("b", "Normal", "ExcessPodDeleted", "Excess pod deleted")
    made = bench.workload()
    assert made is not None and made.spec.pod_sets[0].count == 1
    assert [one.name for one in made.metadata.owner_references] == ["a"]


async def test_pods_beyond_what_a_role_was_given_are_deleted(bench: Bench) -> None:
    bench.pods(*of(2, "a", "b"))
    await bench.begun()
    bench.pods(queued_pod("c", "g", 2, role="r"), queued_pod("d", "g", 2, role="s"))
    await bench.look()
    assert bench.server.deleted == [("Pod", "c", "lab"), ("Pod", "d", "lab")]


async def test_a_workload_that_is_going_is_left_alone(bench: Bench) -> None:
    bench.pods(*of(1, "a"))
    made = await bench.begun()
    made.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    bench.server.put(made)
    bench.pods(*of(1, "b"))
    await bench.look()
    assert bench.server.deleted == []


@pytest.mark.parametrize(
    "phase, reason, message",
    [("Succeeded", "Succeeded", "Job finished"), ("Failed", "Failed", "Job finished")],
)
async def test_a_workload_ends_with_its_pod(
    bench: Bench, phase: str, reason: str, message: str
) -> None:
    bench.pods(queued_pod())
    await bench.begun("lab/pod/p", ALONE)
    bench.pods(queued_pod(phase=phase))
    await bench.look("lab/pod/p")
    made = bench.workload(ALONE)
    assert made is not None
    found = conditions.find(made.status.conditions, statuses.FINISHED)
    assert found is not None
    assert (found.status, found.reason, found.message) == ("True", reason, message)
    statuses.evict(made, "Preempted", "m", NOW)
    bench.server.put(made)
    bench.pods(queued_pod(gated=False))
    await bench.look("lab/pod/p")
    assert bench.server.deleted == [], "what has finished does not give way"


# --- they are let go ---


async def test_pods_are_let_go_once_their_workload_is_admitted(bench: Bench) -> None:
    bench.pods(*of(3, "a", "b"), *of(3, "c", gated=False))
    made = await bench.begun()
    await bench.look()
    assert bench.server.said == [], "it waits"
    bench.admit(made)
    await bench.look()
    assert [name for name, _ in bench.server.said] == ["Pod lab/a", "Pod lab/b"]
    values = {row["path"]: row["value"] for row in bench.server.said[0][1]}
    assert values["/spec/nodeSelector"] == {"disk": "fast"}
    assert values["/metadata/annotations"][f"{PREFIX}/workload"] == "g"
    message = "Admitted by clusterQueue q"
    assert bench.events == [(name, "Normal", "Started", message) for name in "ab"]


async def test_pods_of_no_role_that_was_admitted_wait(bench: Bench) -> None:
    bench.pods(*of(2, "a", "b"))
    made = await bench.begun()
    made.spec.pod_sets[0].name = "other"
    bench.admit(made)
    await bench.look()
    assert bench.server.said == [] and bench.events == []


async def test_who_succeeded_gives_its_quota_back(bench: Bench) -> None:
    bench.pods(*of(2, "a", "b"))
    bench.admit(await bench.begun())
    bench.pods(*of(2, "a", phase="Succeeded"))
    await bench.look()
    made = bench.workload()
    assert made is not None
    assert [(one.name, one.count) for one in made.status.reclaimable_pods] == [("r", 1)]


async def test_a_pod_that_takes_anothers_place_becomes_an_owner(bench: Bench) -> None:
    bench.pods(*of(1, "a"))
    bench.admit(await bench.begun())
    await bench.look()
    bench.server.said.clear()
    bench.pods(*of(1, "a", phase="Failed"), *of(1, "b", gated=False))
    await bench.look()
    (said,) = bench.server.said
    rows = said[1]["metadata"]["ownerReferences"]
    assert said[0] == "Workload lab/g"
    assert rows[1] == {"apiVersion": "v1", "kind": "Pod", "name": "b", "uid": "uid-b"}
    assert [row["name"] for row in rows] == ["a", "b"]


# --- groups of StatefulSets ---


def stateful_set(replicas: int | None, queue: str = "team") -> apps_v1.StatefulSet:
    labels = {f"{PREFIX}/queue-name": queue} if queue else {}
    meta = {"name": "db", "namespace": "lab", "uid": "s", "labels": labels}
    made: apps_v1.StatefulSet = from_builtins(
        {"metadata": meta, "spec": {"replicas": replicas}}, apps_v1.StatefulSet
    )
    return made


@pytest.mark.parametrize(
    "known, serving, kept",
    [
        (stateful_set(3), True, True),
        (stateful_set(None), True, True),
        (stateful_set(0), True, False),
        (None, True, False),
        (stateful_set(3, queue=""), True, False),
        (None, False, True),
    ],
)
async def test_a_set_of_no_pods_needs_no_quota(
    bench: Bench, known: apps_v1.StatefulSet | None, serving: bool, kept: bool
) -> None:
    group = group_of("db")
    said = {f"{PREFIX}/pod-group-serving": "true"} if serving else {}
    meta = {"name": group, "namespace": "lab", "annotations": said}
    bench.server.put(from_builtins({"metadata": meta}, Workload))
    if known is not None:
        bench.server.put(known)
    await bench.look(f"lab/group/{group}")
    assert bench.server.deleted == ([] if kept else [("Workload", group, "lab")])


# --- who is looked at ---


async def test_changes_concern_a_pod_or_its_group(bench: Bench) -> None:
    bench.pods(queued_pod(), *of(2, "a"))
    assert await bench.queued() == ["lab/group/g", "lab/pod/p"]
    moved = queued_pod("a", "h", 2)
    bench.pods(moved)
    assert await bench.queued() == ["lab/group/g", "lab/group/h"], "the one that it has left, too"
    bench.server.take(moved)
    assert await bench.queued() == ["lab/group/h"]


async def test_workloads_concern_whose_they_are(bench: Bench) -> None:
    def workload(name: str, owner: str, **annotations: str) -> Workload:
        references = [{"apiVersion": "v", "kind": owner, "name": "p", "uid": "u"}]
        said = {f"{PREFIX}/{key.replace('_', '-')}": text for key, text in annotations.items()}
        meta = {"name": name, "namespace": "lab", "ownerReferences": references}
        made: Workload = from_builtins({"metadata": {**meta, "annotations": said}}, Workload)
        return made

    bench.server.put(workload("w", "Pod"))
    assert await bench.queued() == ["lab/pod/p"]
    bench.server.put(workload("g", "Pod", is_group_workload="true"))
    assert await bench.queued() == ["lab/group/g"]
    bench.server.put(workload("j", "Job"))
    assert await bench.queued() == []
    bench.server.take(bench.workload("lab/w"))
    assert await bench.queued() == ["lab/pod/p"]


async def test_stateful_sets_in_queues_concern_their_group(bench: Bench) -> None:
    bench.server.put(stateful_set(3))
    key = f"lab/group/{group_of('db')}"
    assert await bench.queued() == [key]
    bench.server.take(bench.server.of(apps_v1.StatefulSet).get("lab/db"))
    assert await bench.queued() == [key]
    bench.server.put(stateful_set(3, queue=""))
    assert await bench.queued() == []
