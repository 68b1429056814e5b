"""The pods of a job: what they are made with, and what is read of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.training.builders import job
from tiphys.addons.training.jobpods import JobPods, job_of
from tiphys.addons.training.pods import (
    gang_size_of,
    place_of,
    pod_of,
    processes_of,
    service_of,
    why_lost,
    why_node_lost,
)
from tiphys.addons.training.sizes import groups_of, world_of
from tiphys.addons.training.types import HyperPodPyTorchJob, PodSetInfo
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference


def made_of(made: HyperPodPyTorchJob, index: int = 0, gang: int = 1, *avoided: str) -> core_v1.Pod:
    [group] = groups_of(made)
    return pod_of(made, group, index, gang, avoided)


def container(**amounts: str) -> core_v1.Container:
    """`nvidia_com__gpu` is nvidia.com/gpu."""
    named = {name.replace("__", "/").replace("_", "."): one for name, one in amounts.items()}
    body = {"name": "c", "resources": {"limits": named}}
    return from_builtins(body, core_v1.Container)


@pytest.mark.parametrize(
    ("said", "amounts", "processes"),
    [
        ("4", {}, 4),
        ("4", {"nvidia_com__gpu": "8"}, 4),
        ("auto", {"nvidia_com__gpu": "8"}, 8),
        ("gpu", {"amd_com__gpu": "2"}, 2),
        ("auto", {"aws_amazon_com__neuron": "16", "cpu": "64"}, 16),
        ("auto", {"nvidia_com__gpu": "0", "aws_amazon_com__neuroncore": "2"}, 2),
        ("auto", {"cpu": "6"}, 1),
        ("auto", {}, 1),
        ("cpu", {"cpu": "6"}, 6),
        ("cpu", {"cpu": "6", "nvidia_com__gpu": "8"}, 6),
        ("cpu", {"cpu": "500m"}, 1),
        ("cpu", {}, 1),
    ],
)
def test_a_pod_has_a_process_for_each_accelerator(
    said: str, amounts: dict[str, str], processes: int
) -> None:
    """As torchrun reads --nproc-per-node."""
    assert processes_of(said, container(**amounts)) == processes


def test_a_limit_counts_more_than_a_request() -> None:
    one = container(nvidia_com__gpu="2")
    one.resources.requests = {"nvidia.com/gpu": "1"}  # type: ignore[dict-item]
    assert processes_of("auto", one) == 2


def test_a_pod_is_named_after_its_place_and_never_restarts() -> None:
    made = made_of(job(), 3)
    assert made.metadata.name == "train-pod-3" == made.spec.hostname
    assert (made.spec.subdomain, made.spec.restart_policy) == ("train", "Never")
    assert place_of(made) == ("pod", 3)
    assert made.metadata.labels["HPJob"] == "train"
    [owner] = made.metadata.owner_references
    assert (owner.kind, owner.uid, owner.controller) == ("HyperPodPyTorchJob", "job-uid", True)


def test_what_a_template_says_stays() -> None:
    one = job(replicas=2)
    template = one.spec.replica_specs[0].template
    assert template is not None
    template.metadata = ObjectMeta(labels={"a": "b", "HPJob": "x"}, annotations={"c": "d"})
    template.spec.hostname, template.spec.subdomain = "own", "sub"
    template.spec.containers[0].env = [core_v1.EnvVar(name="NNODES", value="9")]
    made = made_of(one)
    assert (made.spec.hostname, made.spec.subdomain) == ("own", "sub")
    assert made.metadata.labels["a"] == "b" and made.metadata.annotations == {"c": "d"}
    assert made.metadata.labels["HPJob"] == "train", "by which they are found"
    env = {variable.name: variable.value for variable in made.spec.containers[0].env}
    assert env == {"NNODES": "9", "NPROC_PER_NODE": "1"}
    assert len(template.spec.containers[0].env) == 1, "the job's own is not changed"


@pytest.mark.parametrize(("gang", "labels"), [(1, None), (2, ("train", "2"))])
def test_pods_that_need_each_other_are_placed_together(gang: int, labels: Any) -> None:
    found = made_of(job(), 0, gang).metadata.labels
    group = found.get("scheduling.x-k8s.io/pod-group")
    least = found.get("pod-group.scheduling.sigs.k8s.io/min-available")
    assert ((group, least) if group else None) == labels


def test_an_elastic_job_needs_its_smallest_size() -> None:
    made = job(replicas=4, elasticPolicy={"minReplicas": 2, "maxReplicas": 6})
    assert gang_size_of(groups_of(made)) == 2
    assert gang_size_of(groups_of(job(replicas=3, spares=2))) == 3
    assert world_of(groups_of(job(replicas=3, spares=2))) == 3


def test_what_a_queue_wants_is_in_the_pod() -> None:
    one = job()
    toleration = core_v1.Toleration(key="gpu")
    one.status.pod_set_infos = [
        PodSetInfo(
            labels={"l": "1"},
            annotations={"a": "1"},
            node_selector={"n": "1"},
            tolerations=[toleration],
        ),
        PodSetInfo(labels={"l": "2"}),
    ]
    made = made_of(one)
    assert (made.metadata.labels["l"], made.metadata.annotations["a"]) == ("1", "1")
    assert made.spec.node_selector == {"n": "1"} and made.spec.tolerations == [toleration]


def requirements(pod: core_v1.Pod) -> list[list[tuple[str, str, list[str]]]]:
    """Of each term: one of them is enough."""
    affinity = pod.spec.affinity
    node = affinity.node_affinity if affinity is not None else None
    required = node.required_during_scheduling_ignored_during_execution if node else None
    return [
        [(one.key, one.operator, list(one.values)) for one in term.match_expressions]
        for term in (required.node_selector_terms if required is not None else ())
    ]


AVOID = ("kubernetes.io/hostname", "NotIn", ["n1", "n2"])
ZONE = ("zone", "In", ["a"])
DISK = ("disk", "Exists", [])


def term(key: str, operator: str, values: list[str]) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (None, [[AVOID]]),
        ([], [[AVOID]]),
        ([term(*ZONE)], [[ZONE, AVOID]]),
        ([term(*ZONE), term(*DISK)], [[ZONE, AVOID], [DISK, AVOID]]),
    ],
)
def test_nodes_are_avoided_beside_what_the_template_wants(terms: Any, expected: Any) -> None:
    one = job()
    template = one.spec.replica_specs[0].template
    assert template is not None
    if terms is not None:
        wanted = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        template.spec.affinity = from_builtins({"nodeAffinity": wanted}, core_v1.Affinity)
    assert requirements(made_of(one, 0, 1, "n1", "n2")) == expected
    assert requirements(made_of(one)) == [row[:-1] for row in expected if len(row) > 1]


def test_pods_find_each_other_before_they_are_ready() -> None:
    made = service_of(job(), 8080)
    assert (made.spec.cluster_ip, made.spec.publish_not_ready_addresses) == ("None", True)
    assert made.spec.selector == {"HPJob": "train"} == made.metadata.labels
    assert [port.port for port in made.spec.ports] == [8080]


# --- as they are seen ---


@pytest.mark.parametrize(
    ("group", "index", "place"),
    [
        ("pod", "0", ("pod", 0)),
        ("pod", "12", ("pod", 12)),
        ("pod", "x", None),
        ("pod", "-1", None),
        ("pod", None, None),
        (None, "0", None),
    ],
)
def test_a_pod_that_the_operator_did_not_make_has_no_place(
    group: str | None, index: str | None, place: Any
) -> None:
    labels = {
        "training.addons.tiphys.dev/group": group,
        "training.addons.tiphys.dev/index": index,
    }
    found = {name: value for name, value in labels.items() if value is not None}
    assert place_of(core_v1.Pod(metadata=ObjectMeta(labels=found))) == place


def node(ready: str | None = "True", health: str | None = None) -> core_v1.Node:
    labels = {"sagemaker.amazonaws.com/node-health-status": health} if health else {}
    listed = [{"type": "Ready", "status": ready, "reason": "R"}] if ready else []
    body = {"metadata": {"labels": labels}, "status": {"conditions": listed}}
    return from_builtins(body, core_v1.Node)


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (None, "is gone"),
        (node(), ""),
        (node(None), ""),
        (node("False"), "is not ready (R)"),
        (node("Unknown"), "is not ready (R)"),
        (node(health="Schedulable"), ""),
        (
            node(health="UnschedulablePendingReplacement"),
            "is to be replaced (sagemaker.amazonaws.com/node-health-status="
            "UnschedulablePendingReplacement)",
        ),
    ],
)
def test_a_node_is_lost(there: core_v1.Node | None, why: str) -> None:
    assert why_node_lost(there) == why


def pod(phase: str = "Running", node_name: str = "n", **status: Any) -> core_v1.Pod:
    body = {"spec": {"nodeName": node_name}, "status": {"phase": phase, **status}}
    return from_builtins(body, core_v1.Pod)


def exits(*codes: int | None) -> dict[str, Any]:
    listed = [
        {
            "name": f"c{number}",
            "state": {"terminated": {"exitCode": code}} if code is not None else {"running": {}},
        }
        for number, code in enumerate(codes)
    ]
    return {"containerStatuses": listed}


@pytest.mark.parametrize(
    ("seen", "there", "why"),
    [
        (pod(), node(), ""),
        (pod("Pending", ""), None, ""),  # it has no node yet
        (pod(), None, "node n is gone"),
        (pod("Failed"), None, "node n is gone"),
        (pod("Failed", reason="Evicted"), node(), "it failed: Evicted"),
        (pod("Failed"), node(), "it failed: no reason is known"),
        (
            pod("Failed", **exits(0, None, 1, 137)),
            node(),
            "it failed: container c2 exited with 1, container c3 exited with 137",
        ),
        (pod("Succeeded"), node(), "its containers ended"),
    ],
)
def test_a_pod_is_lost(seen: core_v1.Pod, there: core_v1.Node | None, why: str) -> None:
    assert why_lost(seen, there) == why


# --- whose they are ---


def owned(uid: str, job_uid: str, node_name: str = "n", **reference: Any) -> core_v1.Pod:
    parts = {"kind": "HyperPodPyTorchJob", "controller": True, **reference}
    owner = OwnerReference(api_version="v1", name="train", uid=job_uid, **parts)
    made = core_v1.Pod(metadata=ObjectMeta(uid=uid, namespace="default", owner_references=[owner]))
    made.spec.node_name = node_name
    return made


@pytest.mark.parametrize(
    ("reference", "is_a_jobs"),
    [
        ({}, True),
        ({"kind": "Job"}, False),
        ({"controller": False}, False),
        ({"controller": None}, False),
    ],
)
def test_a_pod_is_its_controllers(reference: dict[str, Any], is_a_jobs: bool) -> None:
    assert (job_of(owned("p", "job-uid", **reference)) is not None) is is_a_jobs


def test_a_jobs_pods_are_those_of_its_namespace_with_its_uid() -> None:
    pods, one = JobPods(), job()
    mine, other, foreign = owned("a", "job-uid"), owned("b", "else"), owned("c", "job-uid")
    foreign.metadata.namespace = "elsewhere"
    for each in (mine, other, foreign, owned("d", "job-uid", controller=False)):
        pods.put(each)
    assert pods.of(one) == [mine]
    assert sorted(pods.on_node("n")) == ["default/train", "default/train", "elsewhere/train"]
    pods.remove(mine)
    pods.remove(owned("d", "job-uid", controller=False))
    assert pods.of(one) == []
    pods.remove(mine)  # twice is once


def test_a_job_with_two_pods_on_a_node_is_named_once() -> None:
    pods = JobPods()
    for uid in "ab":
        pods.put(owned(uid, "job-uid"))
    assert list(pods.on_node("n")) == ["default/train"]
    assert list(pods.on_node("m")) == []
