"""How many pods a replica set creates or deletes, and what it counts."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.builders import pod as plain_pod
from tests.controllers.bench import Bench
from tests.controllers.builders import NOW, ended, leaving, owned_by, running
from tiphys.api import apps_v1, core_v1
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.controllers import replicaset
from tiphys.controllers.expectations import BURST
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError


@pytest.mark.parametrize(
    ("wanted", "present", "create", "delete"),
    [(3, 3, 0, 0), (5, 3, 2, 0), (1, 3, 0, 2), (0, 2, 0, 2), (BURST + 9, 0, BURST, 0)],
)
def test_the_difference_is_made_up_for(wanted: int, present: int, create: int, delete: int) -> None:
    pods = [running(f"p{number}") for number in range(present)]
    todo = replicaset.plan(wanted, pods, NOW)
    assert (todo.create, len(todo.delete)) == (create, delete)


def test_a_burst_of_deletions_has_an_end() -> None:
    pods = [running(f"p{number}") for number in range(BURST + 9)]
    assert len(replicaset.plan(0, pods, NOW).delete) == BURST


def test_the_pods_of_the_fullest_node_go_first() -> None:
    pods = [running("a", nodeName="one"), *(running(n, nodeName="two") for n in "bc")]
    assert [p.metadata.name for p in replicaset.plan(2, pods, NOW).delete] == ["b"]
    pending = core_v1.Pod()
    pending.metadata.name, pending.status.phase = "pending", "Pending"
    assert replicaset.plan(3, [*pods, pending], NOW).delete == [pending]


def test_pods_are_counted_by_what_they_are() -> None:
    owner = apps_v1.ReplicaSet()
    owner.spec.min_ready_seconds = 50
    owner.spec.template.metadata.labels = {"a": "b"}
    labels = {"a": "b", "c": "d"}
    pods = [
        running("available", labels=labels, ready_for=60),
        running("young", ready_for=20),
        running("younger", labels=labels, ready_for=10),
        running("unready", ready=False),
        leaving(running("leaving", labels=labels)),
        leaving(ended("left")),
        ended("failed"),
    ]
    counts = replicaset.count(owner, pods, NOW)
    assert (counts.replicas, counts.fully_labeled) == (4, 2)
    assert (counts.ready, counts.available, counts.terminating) == (3, 1, 1)
    assert counts.wake == pytest.approx(30.1)


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")
LABELS = {"app": "rs"}


def replica_set(replicas: int = 2) -> apps_v1.ReplicaSet:
    made = apps_v1.ReplicaSet(metadata=ObjectMeta(name="rs"))
    made.spec.replicas = replicas
    made.spec.selector = LabelSelector(match_labels=LABELS)
    made.spec.template.metadata.labels = LABELS
    made.spec.template.spec.containers = [core_v1.Container(name="c", image="i")]
    return made


async def statuses(bench: Bench) -> tuple[int, int, int]:
    """Replicas, ready and available ones."""
    found = await bench.get(apps_v1.ReplicaSet, "rs")
    assert found is not None and found.status.observed_generation == found.metadata.generation
    status = found.status
    return status.replicas, status.ready_replicas, status.available_replicas


async def failure_of(bench: Bench) -> list[tuple[str, str]]:
    found = await bench.get(apps_v1.ReplicaSet, "rs")
    assert found is not None
    return [(each.type, each.reason) for each in found.status.conditions]


@pytest_asyncio.fixture(loop_scope="package")
async def sets(bench: Bench) -> replicaset.ReplicaSetController:
    return bench.start(replicaset.ReplicaSetController)


@together
async def test_pods_are_made_counted_and_taken_away(
    bench: Bench, sets: replicaset.ReplicaSetController
) -> None:
    made = await bench.add(replica_set(3))
    assert await bench.step(sets, "rs") is None
    assert bench.reasons() == ["SuccessfulCreate"] * 3
    await bench.step(sets, "rs")
    assert await statuses(bench) == (3, 0, 0)
    first, *_ = pods = await bench.all(core_v1.Pod)
    assert all(pod.metadata.owner_references[0].uid == made.metadata.uid for pod in pods)
    await bench.say(first, phase="Running", conditions=[{"type": "Ready", "status": "True"}])
    await bench.change(made, spec={"replicas": 1})
    await bench.step(sets, "rs")
    assert [pod.metadata.name for pod in await bench.all(core_v1.Pod)] == [first.metadata.name]
    assert bench.reasons() == ["SuccessfulDelete"] * 2
    await bench.step(sets, "rs")
    assert await statuses(bench) == (1, 1, 1)


@together
async def test_what_was_written_and_is_not_seen_yet_is_not_written_again(
    bench: Bench, sets: replicaset.ReplicaSetController
) -> None:
    made = await bench.add(replica_set(3))
    with bench.unseen(core_v1.Pod):
        await bench.step(sets, "rs")
        await bench.step(sets, "rs")
    assert len(await bench.all(core_v1.Pod)) == 3
    await bench.step(sets, "rs")
    await bench.change(made, spec={"replicas": 1})
    await bench.seen()
    bench.reasons()
    with bench.unseen(core_v1.Pod):
        await bench.step(sets, "rs")
        await bench.step(sets, "rs")
    assert bench.reasons() == ["SuccessfulDelete"] * 2


@together
async def test_a_template_that_is_refused_fails_once_and_says_so_until_it_is_not(
    bench: Bench, sets: replicaset.ReplicaSetController
) -> None:
    made = replica_set(3)
    bench.refuse(made.spec.template)
    await bench.add(made)
    for _ in range(2):
        with pytest.raises(StatusError):
            await bench.step(sets, "rs")
        assert bench.reasons() == ["FailedCreate"], "one is tried, not three"
    assert await failure_of(bench) == [("ReplicaFailure", "FailedCreate")]
    assert await statuses(bench) == (0, 0, 0)
    await bench.allow()
    await bench.step(sets, "rs")
    assert len(await bench.all(core_v1.Pod)) == 3 and await failure_of(bench) == []


@together
async def test_a_pod_that_is_gone_already_is_no_failure(
    bench: Bench, sets: replicaset.ReplicaSetController
) -> None:
    made = await bench.add(replica_set(1))
    await bench.step(sets, "rs")
    await bench.change(made, spec={"replicas": 0})
    await bench.seen()
    bench.reasons()
    [pod] = await bench.all(core_v1.Pod)
    with bench.unseen(core_v1.Pod):
        await bench.remove(pod, grace=0)
        await sets.reconcile(bench.key("rs"))
    assert bench.reasons() == [] and sets._expectations.met(bench.key("rs"))


@together
async def test_nodes_that_have_no_room_are_given_time(
    bench: Bench, sets: replicaset.ReplicaSetController
) -> None:
    await bench.add(replica_set(1))
    await bench.step(sets, "rs")
    [pod] = await bench.all(core_v1.Pod)
    start = timestamps.rfc3339(bench.now() + 60)
    await bench.say(pod, phase="Failed", reason="OutOfcpu", startTime=start)
    wait = await bench.step(sets, "rs")
    assert wait is not None and 55 < wait < 61
    assert len(await bench.all(core_v1.Pod)) == 1
    bench.later = 62
    assert await bench.step(sets, "rs") is None
    assert len(await bench.all(core_v1.Pod)) == 2


@together
async def test_a_set_on_its_way_out_makes_no_pods_and_one_that_is_gone_is_forgotten(
    bench: Bench, sets: replicaset.ReplicaSetController
) -> None:
    made = replica_set(1)
    made.metadata.finalizers = ["a.b/c"]
    standing = await bench.add(made)
    await bench.remove(standing)
    await bench.step(sets, "rs")
    assert await bench.all(core_v1.Pod) == [] and await statuses(bench) == (0, 0, 0)
    sets._expectations.expect(bench.key("gone"), creations=1)
    await bench.step(sets, "gone")
    assert sets._expectations.met(bench.key("gone"))


@together
async def test_pods_lead_to_their_owner_and_orphans_to_who_may_adopt_them(
    bench: Bench, sets: replicaset.ReplicaSetController
) -> None:
    made = await bench.add(replica_set(1))
    await bench.step(sets, "rs")
    assert await bench.queued(sets) == ["rs"]
    [pod] = await bench.all(core_v1.Pod)
    await bench.change(pod, metadata={"labels": {"more": "x"}})
    assert await bench.queued(sets) == ["rs"]
    await bench.change(pod, metadata={"ownerReferences": None})
    assert await bench.queued(sets) == ["rs"]
    await bench.step(sets, "rs")
    [adopted] = await bench.all(core_v1.Pod)
    assert adopted.metadata.owner_references[0].uid == made.metadata.uid
    await bench.queued(sets)
    stranger = plain_pod("stranger")
    await bench.add(stranger)
    stranger.metadata.name, stranger.metadata.labels = "other", {"app": "other"}
    await bench.add(stranger)
    assert await bench.queued(sets) == []
    alien = owned_by(plain_pod("alien", labels=LABELS), "rs", "u", kind="DaemonSet")
    alien.metadata.owner_references[0].api_version = "apps/v1"
    await bench.add(alien)
    assert await bench.queued(sets) == []
    leaving_pod = plain_pod("leaves", labels=LABELS)
    leaving_pod.metadata.finalizers = ["a.b/c"]
    leaving_pod = await bench.add(leaving_pod)
    await bench.queued(sets)
    await bench.remove(leaving_pod, grace=0)
    assert await bench.queued(sets) == []


@together
async def test_replication_controllers_choose_by_a_map_of_labels(bench: Bench) -> None:
    controller = bench.start(replicaset.ReplicationControllerController)
    made = core_v1.ReplicationController(metadata=ObjectMeta(name="rc"))
    made.spec.replicas = 1
    made.spec.selector = LABELS
    made.spec.template = replica_set().spec.template
    await bench.add(made)
    await bench.step(controller, "rc")
    assert len(await bench.all(core_v1.Pod)) == 1
    await bench.step(controller, "rc")
    found = await bench.get(core_v1.ReplicationController, "rc")
    assert found is not None and found.status.replicas == 1
