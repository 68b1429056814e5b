"""Attacks on the queues: workloads that nobody has looked at, and a webhook that is sent anything."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from tests.addons.kueue.builders import flavor, item, queue, state, wait
from tests.addons.kueue.world import world
from tiphys.addons.kueue.admission import review_job, review_pod, review_serving
from tiphys.addons.kueue.core.building import item_of
from tiphys.addons.kueue.core.cycle import decide
from tiphys.addons.kueue.judging import review_resource
from tiphys.addons.kueue.types.conversion import convert
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.addons.reviews import converted, reviewed
from tiphys.addons.webhook import _NO_REVIEW
from tiphys.api import core_v1
from tiphys.api.base import from_builtins

QUEUE = "kueue.x-k8s.io/queue-name"
TEMPLATES: list[Any] = [
    None,
    [],
    "x",
    {"spec": []},
    {"spec": {"containers": "x"}},
    {"spec": {"containers": [{"resources": {"requests": {"cpu": "x"}}}]}},
    {"spec": {"containers": [{"resources": {"requests": {"cpu": {}}}}]}},
    {"spec": {"nodeSelector": {"a": 1}}},
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_that_is_none_is_counted_or_refused_and_nothing_else(template: Any) -> None:
    pod_set = {"name": "main", "count": 2**31 - 1, "template": template}
    workload = from_builtins({"spec": {"podSets": [pod_set]}}, Workload)
    try:
        assert item_of(workload, "q").pod_sets[0].count == 2**31 - 1
    except msgspec.ValidationError:
        pass


def test_affinity_that_no_server_has_looked_at_stops_nobody() -> None:
    expression = {"key": "a", "operator": "Near", "values": []}
    term = {"matchExpressions": [expression]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    spec = from_builtins({"affinity": {"nodeAffinity": required}}, core_v1.PodSpec)
    made = state([queue("a", {"x": {"cpu": 1}})], [flavor("x", nodeLabels={"a": "b"})])
    decided = decide(wait(made, item("bad", "a", spec=spec, cpu=1), item("good", "a", cpu=1)))
    assert [one.item.uid for one in decided.admitted] == ["good"]


REVIEWS: list[Any] = [
    b"",
    b"[" * 100_000,
    b"null",
    b"{}",
    b'{"request":{"uid":"u","object":[]}}',
    b'{"request":{"uid":"u","objects":1,"desiredAPIVersion":7}}',
    b'{"request":{"uid":"u","objects":[1],"desiredAPIVersion":"kueue.x-k8s.io/v1beta2"}}',
]


@pytest.mark.parametrize("body", REVIEWS)
def test_a_body_that_is_no_review_is_told_so(body: bytes) -> None:
    with pytest.raises(_NO_REVIEW):
        reviewed(body, review_pod)
    try:
        converted(body, convert)
    except _NO_REVIEW:
        pass


OBJECTS: list[Any] = [
    {"spec": {"podSets": [{"template": {"spec": {"containers": [{"resources": 7}]}}}]}},
    {"spec": {"podSets": [{"template": {"spec": {"resources": {"limits": {"cpu": []}}}}}]}},
    {"spec": {"resourceGroups": [{"flavors": [{"resources": [{"nominalQuota": "x"}]}]}]}},
    {"spec": {"replicas": "x", "template": {"spec": {"containers": [{"resources": 7}]}}}},
    {"status": {"conditions": [{"type": "QuotaReserved", "status": "True"}], "admission": 7}},
    {"metadata": {"labels": []}, "spec": 7},
    {"metadata": {"labels": {QUEUE: []}}, "spec": {"schedulingGates": 1, "containers": 5}},
    {"metadata": {"labels": {QUEUE: "q"}, "ownerReferences": [1, {"controller": 1}]}},
    {"metadata": {"labels": {QUEUE: "q"}}, "spec": {"containers": [1], "schedulingGates": ["x"]}},
]


@pytest.mark.parametrize("obj", OBJECTS)
@pytest.mark.parametrize(
    "kind",
    [
        *("v1 Pod", "batch/v1 Job", "ray.io/v1 RayJob", "kubeflow.org/v1 TFJob"),
        *("apps/v1 StatefulSet", "kueue.x-k8s.io/v1beta2 Workload"),
        "kueue.x-k8s.io/v1beta2 ClusterQueue",
    ],
)
@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_objects_of_any_shape_are_answered_or_refused(obj: Any, kind: str, operation: str) -> None:
    version, name = kind.split()
    request = {
        "uid": "u",
        "operation": operation,
        "kind": {"kind": name},
        "object": {"apiVersion": version, "kind": name, **obj},
        "oldObject": obj if operation == "UPDATE" else None,
    }
    judges = {
        "Pod": review_pod,
        "StatefulSet": review_serving,
        "Workload": review_resource,
        "ClusterQueue": review_resource,
    }
    review = judges.get(name, lambda asked: review_job(asked, lambda _: True))
    try:
        answer = json.loads(reviewed(json.dumps({"request": request}).encode(), review))
    except _NO_REVIEW:
        return
    patch = answer["response"].get("patch")
    assert patch is None or json.loads(base64.b64decode(patch))


@pytest.mark.slow
async def test_a_workload_that_makes_no_sense_stops_nobody() -> None:
    async with world() as made:
        meta = {"name": "bad", "namespace": "default"}
        broken = {"spec": {"containers": "x"}}
        pod_sets = [{"name": "main", "count": 1, "template": broken}]
        spec = {"queueName": "user-queue", "podSets": pod_sets}
        named = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload"}
        await made.client.create({**named, "metadata": meta, "spec": spec})
        await made.job("good")
        await made.runs("good", 3)


@pytest.mark.slow
async def test_pods_that_join_a_group_later_use_no_more_than_it_was_given() -> None:
    """They say that it has more pods than its workload asked for."""
    async with world() as made:
        await made.pod("one", group="all", of=1)

        async def runs() -> bool:
            return bool((await made.get_pod("one")).spec.node_name)

        await made.cluster.eventually(runs)
        for index in range(3):
            await made.pod(f"more-{index}", group="all", of=5 + index)

        async def alone() -> bool:
            return [pod.metadata.name for pod in await made.pods()] == ["one"]

        await made.cluster.eventually(alone)


@pytest.mark.slow
async def test_a_job_does_not_change_its_queue_while_it_runs() -> None:
    async with world() as made:
        await made.job("job", pods=1)
        await made.runs("job", 1)
        patch = {"metadata": {"labels": {QUEUE: "other"}}}
        with pytest.raises(Exception, match="field is immutable"):
            await made.client.patch(
                {"apiVersion": "batch/v1", "kind": "Job"}, "job", patch, "default"
            )
