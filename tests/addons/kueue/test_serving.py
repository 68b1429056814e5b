"""Deployments and StatefulSets in queues."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.kueue.world import QUEUE, world
from tiphys.addons.kueue.pods import Pods
from tiphys.addons.kueue.serving import group_of, of_serving, template_metadata
from tiphys.api import core_v1
from tiphys.api.base import from_builtins

PREFIX = "kueue.x-k8s.io"
CLASS = f"{PREFIX}/priority-class"


def made(kind: str = "StatefulSet", replicas: int = 3, cpu: str = "1", **labels: str) -> Any:
    """One named `db` in the queue `q`, and none of whose pods is ready."""
    names = {"queue": QUEUE, "priority": CLASS}
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    template = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [container]}}
    said = {names[name]: value for name, value in {"queue": "q", **labels}.items() if value}
    return {
        "kind": kind,
        "metadata": {"name": "db", "labels": said},
        "spec": {"replicas": replicas, "template": template},
        "status": {},
    }


def test_pods_of_a_stateful_set_wait_as_a_group() -> None:
    meta = template_metadata(made(priority="high"))
    group = {f"{PREFIX}/pod-group-name": group_of("db"), QUEUE: "q", CLASS: "high", "app": "db"}
    assert meta["labels"] == group
    assert meta["annotations"] == {
        f"{PREFIX}/pod-group-total-count": "3",
        f"{PREFIX}/pod-group-fast-admission": "true",
        f"{PREFIX}/pod-group-serving": "true",
    }


def test_pods_of_a_deployment_wait_each_on_its_own() -> None:
    assert template_metadata(made("Deployment")) == {"labels": {"app": "db", QUEUE: "q"}}


def ready(obj: Any) -> Any:
    return {**obj, "status": {"readyReplicas": 1, "replicas": 1}}


@pytest.mark.parametrize(
    "old, new, fields",
    [
        (made(), made(queue="other"), []),
        (ready(made()), made(queue="other"), [f"metadata.labels[{QUEUE}]"]),
        (made(), made(queue=""), [f"metadata.labels[{QUEUE}]"]),
        (None, made(queue="A B"), [f"metadata.labels[{QUEUE}]"]),
        (made(), made(priority="high"), []),
        (ready(made()), made(priority="high"), [f"metadata.labels[{CLASS}]"]),
        (made(priority="high"), made(), [f"metadata.labels[{CLASS}]"]),
        (made(), made(replicas=4), ["spec.replicas"]),
        (made(), made(replicas=0), []),
        (made(replicas=0), made(replicas=5), []),
        (made(replicas=0), ready(made()), ["spec.replicas"]),
        (made(), made(cpu="2"), ["spec.template.spec.containers"]),
        (made("Deployment"), made("Deployment", replicas=4, cpu="2"), []),
    ],
)
def test_what_has_quota_stays_as_it_is(old: Any, new: Any, fields: list[str]) -> None:
    assert [problem.field for problem in of_serving(new, old)] == fields


def test_a_group_that_serves_has_no_end_and_belongs_to_what_makes_its_pods() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u"}
    meta = {
        **template_metadata(made()),
        "name": "db-0",
        "ownerReferences": [{**owner, "controller": True}],
    }
    pod = from_builtins({"metadata": meta, "status": {"phase": "Succeeded"}}, core_v1.Pod)
    pods = Pods("default", group_of("db"), [pod])
    assert (pods.finish(), pods.reclaimable()) == (None, {})
    assert [(one.uid, one.controller) for one in pods.owners()] == [("u", None)]


@pytest.mark.slow
async def test_a_stateful_set_has_quota_for_all_its_pods_or_waits() -> None:
    async with world() as running:
        await running.job("job", pods=1)
        await running.runs("job", 1)
        stateful = made(queue="user-queue")
        stateful["metadata"]["namespace"] = "default"
        stateful["spec"] |= {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}}}
        named = {"apiVersion": "apps/v1"}
        await running.client.create({**named, **stateful})
        await running.has("db", "QuotaReserved", "WaitingForQuota", "False")
        workload = (await running.workloads())["job"]
        await running.patch("Workload", workload.metadata.name, {"active": False}, "default")
        await running.has("db", "Admitted")
        assert (await running.workloads())["db"].spec.pod_sets[0].count == 3

        async def all_ready() -> bool:
            found = await running.client.get({**named, "kind": "StatefulSet"}, "db", "default")
            return bool(found["status"].get("readyReplicas") == 3)

        await running.cluster.eventually(all_ready)
        patch = {"spec": {"replicas": 0}}
        await running.client.patch({**named, "kind": "StatefulSet"}, "db", patch, "default")

        async def is_free() -> bool:
            return "db" not in await running.workloads()

        await running.cluster.eventually(is_free)
