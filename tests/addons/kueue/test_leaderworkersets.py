"""LeaderWorkerSets in queues: a workload for each group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.addons.kueue.world import QUEUE, World, world
from tiphys.addons.kueue.jobs.parts import AnyJob
from tiphys.addons.kueue.jobs.workloads import Priority
from tiphys.addons.kueue.leaderworkersets import (
    groups_of,
    membership,
    of_leader_worker_set,
    templates_metadata,
    workload_name,
    workload_of,
)
from tiphys.addons.kueue.names import POD_INDEX_OFFSET
from tiphys.api import core_v1
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import from_builtins
from tiphys.machinery import conditions

PREFIX = "kueue.x-k8s.io"
LWS = "leaderworkerset.sigs.k8s.io"
NAMED = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet"}
NEAR = f"{PREFIX}/podset-required-topology"
SLICE = {f"{PREFIX}/podset-slice-required-topology": "rack", f"{PREFIX}/podset-slice-size": "3"}


def template(cpu: str = "1", **annotations: str) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    meta = {"labels": {"app": "llm", f"{LWS}/size": "x"}, "annotations": annotations}
    return {"metadata": meta, "spec": {"containers": [container]}}


def made(
    size: int = 3,
    replicas: int = 2,
    leader: dict[str, Any] | None = None,
    worker: dict[str, Any] | None = None,
    queue: str = "q",
    **status: int,
) -> dict[str, Any]:
    """One named `llm` whose groups are a leader and two workers of the same template."""
    groups: dict[str, Any] = {"size": size, "workerTemplate": worker or template()}
    if leader is not None:
        groups["leaderTemplate"] = leader
    labels = {QUEUE: queue} if queue else {}
    return {
        **NAMED,
        "metadata": {"name": "llm", "namespace": "default", "uid": "u", "labels": labels},
        "spec": {"replicas": replicas, "leaderWorkerTemplate": groups},
        "status": status,
    }


def typed(obj: dict[str, Any]) -> AnyJob:
    return from_builtins(obj, AnyJob)


# --- what a group asks for ---


@pytest.mark.parametrize(
    "obj, sets",
    [
        (made(), [("main", 3)]),
        (made(leader=template()), [("leader", 1), ("worker", 2)]),
        (made(size=1, leader=template()), [("leader", 1), ("worker", 0)]),
    ],
)
def test_a_group_is_a_leader_and_its_workers(obj: Any, sets: Any) -> None:
    workload = workload_of(typed(obj), 1, Priority(7))
    assert [(one.name, one.count) for one in workload.spec.pod_sets] == sets
    assert workload.spec.pod_sets[0].template["metadata"]["labels"] == {"app": "llm"}
    owner = workload.metadata.owner_references[0]
    assert (owner.kind, owner.uid, owner.controller) == ("LeaderWorkerSet", "u", None)
    assert workload.metadata.annotations[f"{PREFIX}/component-workload-index"] == "1"
    assert (workload.spec.queue_name, workload.spec.priority) == ("q", 7)


def test_groups_have_the_names_that_upstream_gives_them() -> None:
    """The hash is of kind, group, name and uid, as of every other owner."""
    assert workload_name("llm", "u", "0") == "leaderworkerset-llm-0-63a9b"
    assert workload_name("llm", "u", "1") != workload_name("llm", "u", "0")


def test_a_rolling_update_has_workloads_for_the_groups_it_adds() -> None:
    obj = made(replicas=2, updatedReplicas=1)
    obj["status"]["replicas"] = 3
    assert groups_of(typed(obj)) == 2, "one that is scaled down has none for what is left"
    obj["spec"]["rolloutStrategy"] = {"rollingUpdateConfiguration": {"maxSurge": 1}}
    assert groups_of(typed(obj)) == 3
    obj["status"]["updatedReplicas"] = 2
    assert groups_of(typed(obj)) == 2


# --- what pods are told ---


def test_pods_wait_because_their_set_does() -> None:
    obj = made(leader=template(), worker=template(**{NEAR: "rack"}))
    found = dict(templates_metadata(obj))
    assert list(found) == ["leaderTemplate", "workerTemplate"]
    for meta in found.values():
        assert meta["labels"][QUEUE] == "q" and meta["labels"]["app"] == "llm"
        assert meta["annotations"][f"{PREFIX}/pod-group-serving"] == "true"
    assert found["workerTemplate"]["annotations"][POD_INDEX_OFFSET] == "1"
    assert POD_INDEX_OFFSET not in found["leaderTemplate"]["annotations"]


def pod(annotations: dict[str, str] | None = None, **labels: str) -> core_v1.Pod:
    of_set = {f"{LWS}/{name.replace('_', '-')}": value for name, value in labels.items()}
    meta = {"name": "llm-1", "labels": of_set, "annotations": annotations or {}}
    return from_builtins({"metadata": meta}, core_v1.Pod)


@pytest.mark.parametrize(
    "leader, annotations, role",
    [
        (None, {}, "main"),
        (None, {f"{LWS}/leader-name": "llm-1"}, "main"),
        (template(), {}, "leader"),
        (template(), {f"{LWS}/leader-name": "llm-1"}, "worker"),
    ],
)
def test_a_pod_belongs_to_its_group(leader: Any, annotations: Any, role: str) -> None:
    said = membership(typed(made(leader=leader)), pod(annotations, group_index="1"))
    assert said is not None
    assert said["labels"] == {f"{PREFIX}/pod-group-name": workload_name("llm", "u", "1")}
    assert said["annotations"] == {
        f"{PREFIX}/pod-group-total-count": "3",
        f"{PREFIX}/role-hash": role,
    }


def test_a_pod_whose_group_is_not_known_yet_waits() -> None:
    assert membership(typed(made()), pod()) is None


# --- what may be written ---


@pytest.mark.parametrize(
    "old, new, fields",
    [
        (None, made(replicas=1_000_001), ["spec.replicas"]),
        (None, made(queue="A B"), [f"metadata.labels[{QUEUE}]"]),
        (
            None,
            made(size=2, worker=template(**SLICE)),
            [
                "spec.leaderWorkerTemplate.workerTemplate.metadata.annotations"
                f"[{PREFIX}/podset-slice-size]"
            ],
        ),
        (made(), made(replicas=5), []),
        (made(), made(queue="other"), []),
        (made(readyReplicas=1), made(queue="other"), [f"metadata.labels[{QUEUE}]"]),
        (made(), made(size=4), ["spec.leaderWorkerTemplate.size"]),
        (made(), made(leader=template()), ["spec.leaderWorkerTemplate.leaderTemplate"]),
        (
            made(leader=template()),
            made(leader=template(cpu="2")),
            ["spec.leaderWorkerTemplate.leaderTemplate.spec.containers"],
        ),
        (
            made(),
            made(worker=template(cpu="2")),
            ["spec.leaderWorkerTemplate.workerTemplate.spec.containers"],
        ),
        (made(queue=""), made(queue="", size=4), []),
    ],
)
def test_what_has_quota_stays_as_it_is(old: Any, new: Any, fields: list[str]) -> None:
    assert [problem.field for problem in of_leader_worker_set(new, old)] == fields


@pytest.mark.parametrize(
    "groups",
    [
        None,
        [],
        {},
        {"workerTemplate": None, "size": "three"},
        {"leaderTemplate": [], "workerTemplate": {"metadata": {"annotations": 7}}, "size": True},
        {"leaderTemplate": {}, "workerTemplate": "none", "size": -(2**70)},
    ],
)
def test_what_has_no_shape_is_left_to_the_definition(groups: Any) -> None:
    """The webhook sees it first: what it writes must have a place, and its words are not lost."""
    obj = {**made(), "spec": {"replicas": [], "leaderWorkerTemplate": groups}}
    given = groups if isinstance(groups, dict) else {}
    written = [field for field, _ in templates_metadata(obj)]
    assert all(isinstance(given[field], dict) for field in written)
    assert of_leader_worker_set(obj, obj) == []


# --- in a cluster, with pods as the set's own controller makes them ---

DEFINITION = {
    "metadata": {"name": "leaderworkersets.leaderworkerset.x-k8s.io"},
    "spec": {
        "group": "leaderworkerset.x-k8s.io",
        "names": {"kind": "LeaderWorkerSet", "plural": "leaderworkersets"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@asynccontextmanager
async def with_sets() -> AsyncIterator[World]:
    async with world() as running:
        await running.client.create(from_builtins(DEFINITION, CustomResourceDefinition))

        async def served() -> bool:
            name = str(DEFINITION["metadata"]["name"])  # type: ignore[index]
            found = await running.client.get(CustomResourceDefinition, name)
            return conditions.is_true(found.status.conditions, "Established")

        await running.cluster.eventually(served)
        yield running


async def created(running: World, **spec: Any) -> dict[str, Any]:
    obj = made(queue="user-queue", leader=template(), **spec)
    del obj["metadata"]["uid"]
    return await running.client.create(obj)


async def with_pods(running: World, of: dict[str, Any], group: int) -> list[str]:
    """The pods of a group, from the set's templates."""
    names = [f"llm-{group}", *(f"llm-{group}-{index}" for index in (1, 2))]
    for index, name in enumerate(names):
        field = "workerTemplate" if index else "leaderTemplate"
        body = of["spec"]["leaderWorkerTemplate"][field]
        labels = {f"{LWS}/name": "llm", f"{LWS}/group-index": str(group)}
        meta = body["metadata"]
        annotations = dict(meta["annotations"])
        if index:
            annotations[f"{LWS}/leader-name"] = names[0]
        meta = {
            "name": name,
            "namespace": "default",
            "labels": {**meta["labels"], **labels, f"{LWS}/worker-index": str(index)},
            "annotations": annotations,
        }
        made_pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body["spec"]}
        await running.client.create(made_pod)
    return names


async def is_bound(running: World, *names: str) -> bool:
    return all([(await running.get_pod(name)).spec.node_name for name in names])


@pytest.mark.slow
async def test_a_group_runs_whole_and_the_next_one_waits() -> None:
    """The queue has quota for three pods: for one group."""
    async with with_sets() as running:
        of = await created(running)
        workloads = [workload_name("llm", of["metadata"]["uid"], str(i)) for i in (0, 1)]

        async def both_there() -> bool:
            found = {one.metadata.name for one in (await running.listed()).values()}
            return found == set(workloads)

        await running.cluster.eventually(both_there)
        first = await with_pods(running, of, 0)
        second = await with_pods(running, of, 1)
        await running.cluster.eventually(lambda: is_bound(running, *first))
        waiting = (await running.listed())[workloads[1]]
        assert conditions.state_of(waiting.status.conditions, "QuotaReserved") == "False"
        assert not await is_bound(running, second[0])

        await running.patch("Workload", workloads[0], {"active": False}, "default")
        await running.cluster.eventually(lambda: is_bound(running, *second))
        assert not set(first) & {one.metadata.name for one in await running.pods()}


@pytest.mark.slow
async def test_a_set_that_shrinks_gives_its_quota_back() -> None:
    async with with_sets() as running:
        of = await created(running)
        await running.client.patch(NAMED, "llm", {"spec": {"replicas": 1}}, "default")
        first = workload_name("llm", of["metadata"]["uid"], "0")

        async def one_left() -> bool:
            return list(await running.listed()) == [first]

        await running.cluster.eventually(one_left)
        await running.client.delete(NAMED, "llm", "default")

        async def none_left() -> bool:
            return not await running.listed()

        await running.cluster.eventually(none_left)
