"""What becomes of jobs, pods and sets when they are created: they wait."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.kueue import names
from tiphys.addons.kueue.admission import review_job, review_pod, review_serving
from tiphys.addons.reviews import Refused, Verdict
from tiphys.api.admission_v1 import AdmissionRequest


def review(labels: dict[str, str], has_default: bool) -> Verdict:
    template = {"spec": {"containers": [{"name": "work", "image": "work"}]}}
    job: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "one", "labels": labels},
        "spec": {"parallelism": 1, "template": template},
    }
    request = AdmissionRequest(operation="CREATE", namespace="default", object=job)
    return review_job(request, lambda namespace: has_default)


@pytest.mark.parametrize("labels", [{}, {names.QUEUE: ""}])
def test_a_job_that_names_no_queue_waits_in_the_namespaces_own(labels: dict[str, str]) -> None:
    labelled, stopped = review(labels, has_default=True).operations
    assert labelled["value"] == {names.QUEUE: names.DEFAULT_QUEUE}
    assert stopped == {"op": "add", "path": "/spec/suspend", "value": True}


def test_a_job_that_names_no_queue_runs_where_there_is_none_for_it() -> None:
    assert not review({}, has_default=False).operations


@pytest.mark.parametrize("is_worker", [True, False])
def test_workers_are_counted_after_a_launcher_that_is_one(is_worker: bool) -> None:
    template = {"metadata": {"annotations": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}}
    roles = {role: {"replicas": 1, "template": template} for role in ("Launcher", "Worker")}
    job = {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "metadata": {"name": "one", "labels": {names.QUEUE: "q"}},
        "spec": {"mpiReplicaSpecs": roles, "runLauncherAsWorker": is_worker},
    }
    request = AdmissionRequest(operation="CREATE", namespace="default", object=job)
    written = {one["path"]: one["value"] for one in review_job(request, lambda _: False).operations}
    said = written.get("/spec/mpiReplicaSpecs/Worker/template/metadata")
    assert said == ({"annotations": {"a": "b", names.POD_INDEX_OFFSET: "1"}} if is_worker else None)


# --- who is left alone ---


def owned(api_version: str, kind: str, controller: bool | None = True) -> list[dict[str, Any]]:
    return [{"apiVersion": api_version, "kind": kind, "name": "o", "controller": controller}]


LINES = [
    ([], False),
    (owned("batch/v1", "Job"), True),
    (owned("batch/v1", "Job", None), False),
    (owned("apps/v1", "ReplicaSet"), False),
    (["odd", *owned("batch/v1", "Job")], True),
    ([*owned("batch/v1", "Job", False), *owned("jobset.x-k8s.io/v1alpha2", "JobSet")], True),
    ("odd", False),
]
"""Owners, and whether one of them waits for its parts."""


def reviewed(review_it: Any, obj: dict[str, Any], old: Any = None) -> dict[str, Any]:
    """What it becomes: values by path."""
    operation = "CREATE" if old is None else "UPDATE"
    request = AdmissionRequest(operation=operation, namespace="default", object=obj, old_object=old)
    return {row["path"]: row["value"] for row in review_it(request).operations}


def job_review(request: AdmissionRequest) -> Verdict:
    return review_job(request, lambda namespace: False)


def a_job(kind: str = "Job", version: str = "batch/v1", **spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "work", "image": "work"}]}}
    meta = {"name": "one", "labels": {names.QUEUE: "q"}}
    whole = {"parallelism": 1, "template": template, **spec}
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": whole}


def a_pod(**metadata: Any) -> dict[str, Any]:
    meta = {"name": "p", "labels": {names.QUEUE: "q"}, **metadata}
    return {"kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "c"}]}}


def a_set(kind: str = "StatefulSet", **metadata: Any) -> dict[str, Any]:
    template = {"metadata": {}, "spec": {"containers": [{"name": "c"}]}}
    meta = {"name": "db", "labels": {names.QUEUE: "q"}, **metadata}
    return {"kind": kind, "metadata": meta, "spec": {"replicas": 1, "template": template}}


@pytest.mark.parametrize("owners, waits", LINES)
def test_the_parts_of_what_waits_itself_do_not(owners: Any, waits: bool) -> None:
    job = a_job()
    job["metadata"]["ownerReferences"] = owners
    assert bool(reviewed(job_review, job)) is not waits
    assert bool(reviewed(review_pod, a_pod(ownerReferences=owners))) is not waits
    assert bool(reviewed(review_serving, a_set(ownerReferences=owners))) is not waits


def test_kinds_that_no_queue_knows_are_left_alone() -> None:
    assert reviewed(job_review, a_job("CronJob")) == {}


@pytest.mark.parametrize(
    "job, path, value",
    [
        (a_job(), "/spec/suspend", True),
        (a_job(suspend=False), "/spec/suspend", True),
        (a_job(suspend=True), "/spec/suspend", None),
        (
            a_job("PyTorchJob", "kubeflow.org/v1", runPolicy={"ttl": 5}),
            "/spec/runPolicy",
            {"ttl": 5, "suspend": True},
        ),
    ],
)
def test_a_job_is_created_stopped(job: dict[str, Any], path: str, value: Any) -> None:
    assert reviewed(job_review, job).get(path) == value


def test_a_job_that_changes_is_judged_and_left_as_it_is() -> None:
    running = a_job(suspend=False)
    assert reviewed(job_review, running, running) == {}
    moved = {**running, "metadata": {"name": "one", "labels": {names.QUEUE: "other"}}}
    with pytest.raises(Refused):
        reviewed(job_review, moved, running)
    with pytest.raises(Refused):
        reviewed(job_review, {**a_job(), "metadata": {"labels": {names.QUEUE: "A B"}}})


def test_only_mpi_jobs_have_a_launcher_among_their_workers() -> None:
    template = {"spec": {"containers": [{"name": "c"}]}}
    workers = {"Worker": {"template": template}}
    both = {"Launcher": {"template": template}, **workers}
    path = "/spec/mpiReplicaSpecs/Worker/template/metadata"
    for kind, roles, counted in (
        ("MPIJob", both, True),
        ("PyTorchJob", both, False),
        ("MPIJob", workers, False),
        ("MPIJob", {"Launcher": {"template": template}}, False),
    ):
        job = a_job(kind, "kubeflow.org/v1", mpiReplicaSpecs=roles, runLauncherAsWorker=True)
        assert (path in reviewed(job_review, job)) is counted


# --- pods ---


def test_a_pod_of_a_queue_waits_behind_a_gate() -> None:
    written = reviewed(review_pod, a_pod(annotations={"a": "b"}))
    assert written["/metadata/labels"] == {names.QUEUE: "q", names.MANAGED: "true"}
    assert written["/spec/schedulingGates"] == [{"name": names.GATE}]
    role = written["/metadata/annotations"].pop(names.ROLE)
    assert len(role) == 8 and written["/metadata/annotations"] == {"a": "b"}


@pytest.mark.parametrize("labels", [{}, {names.QUEUE: ""}])
def test_a_pod_of_no_queue_does_not(labels: dict[str, str]) -> None:
    assert reviewed(review_pod, a_pod(labels=labels)) == {}


def test_gates_of_others_stay_and_ours_are_there_once() -> None:
    pod = a_pod(annotations={names.REQUIRED_TOPOLOGY: "rack"})
    pod["spec"]["schedulingGates"] = [{"name": "other"}, {"name": names.GATE}]
    gates = [one["name"] for one in reviewed(review_pod, pod)["/spec/schedulingGates"]]
    assert gates == ["other", names.GATE, names.TOPOLOGY_GATE]


def test_a_pod_of_a_leader_worker_set_is_told_its_role_later() -> None:
    framework = "leaderworkerset.x-k8s.io/leaderworkerset"
    written = reviewed(review_pod, a_pod(annotations={names.PARENT: framework}))
    assert names.ROLE not in written["/metadata/annotations"]


def test_a_pod_that_breaks_the_rules_is_refused() -> None:
    with pytest.raises(Refused):
        reviewed(review_pod, a_pod(annotations={names.POD_GROUP_COUNT: "3"}))


# --- what has no end ---


def test_pods_of_a_set_in_a_queue_wait() -> None:
    path = "/spec/template/metadata"
    written = reviewed(review_serving, a_set())[path]
    assert written["labels"][names.QUEUE] == "q"
    assert written["annotations"][names.POD_GROUP_COUNT] == "1"
    told = a_set()
    told["spec"]["template"]["metadata"] = written
    assert reviewed(review_serving, told) == {}, "they do already"
    assert reviewed(review_serving, a_set(labels={})) == {}
    with pytest.raises(Refused):
        reviewed(review_serving, a_set(labels={names.QUEUE: "A B"}))
    with pytest.raises(Refused):
        reviewed(review_serving, a_set(labels={}), a_set())


def test_pods_of_a_leader_worker_set_wait_by_both_its_templates() -> None:
    template = {"spec": {"containers": [{"name": "c"}]}}
    obj = a_set("LeaderWorkerSet")
    both = {"leaderTemplate": template, "workerTemplate": template, "size": 2}
    obj["spec"] = {"leaderWorkerTemplate": both}
    written = reviewed(review_serving, obj)
    root = "/spec/leaderWorkerTemplate"
    assert set(written) == {f"{root}/{name}/metadata" for name in both if name != "size"}
    assert reviewed(review_serving, {**obj, "metadata": {"name": "l"}}) == {}
    with pytest.raises(Refused):
        reviewed(review_serving, {**obj, "metadata": {"labels": {names.QUEUE: "A B"}}})
