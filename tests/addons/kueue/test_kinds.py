"""What each kind of job counts, says of itself, and gives back, by its own API's fields."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.kueue.jobs.kinds import kind_of
from tiphys.addons.kueue.jobs.parts import (
    Finish,
    JobKind,
    Placement,
    is_suspended,
    set_suspended,
)

PODS = {"spec": {"containers": [{"name": "c"}]}}
LEAST = "kueue.x-k8s.io/job-min-parallelism"
FOLLOW = "kueue.x-k8s.io/job-completions-equal-parallelism"
JOB = "batch/v1 Job"
JOB_SET = "jobset.x-k8s.io/v1alpha2 JobSet"
RAY_JOB = "ray.io/v1 RayJob"
RAY_CLUSTER = "ray.io/v1 RayCluster"
TRAIN = "trainer.kubeflow.org/v1alpha1 TrainJob"
TORCH = "kubeflow.org/v1 PyTorchJob"
MPI = "kubeflow.org/v2beta1 MPIJob"
HYPERPOD = "sagemaker.amazonaws.com/v1 HyperPodPyTorchJob"


def kind(name: str) -> JobKind:
    found = kind_of(*name.split())
    assert found is not None, name
    return found


@pytest.mark.parametrize(
    "version, name, known",
    [
        ("batch/v1", "Job", True),
        ("batch/v1beta1", "Job", True),
        ("v1", "Job", False),
        ("batch/v1", "CronJob", False),
        ("kubeflow.org/v1", "MPIJob", True),
    ],
)
def test_a_kind_is_known_in_all_its_versions(version: str, name: str, known: bool) -> None:
    assert (kind_of(version, name) is not None) is known


# --- how many pods ---


@pytest.mark.parametrize(
    "name, spec, sizes",
    [
        (JOB, {}, {"main": 1}),
        (JOB, {"parallelism": 5}, {"main": 5}),
        (JOB, {"parallelism": 5, "completions": 3}, {"main": 3}),
        (JOB, {"parallelism": 3, "completions": 5}, {"main": 3}),
        (JOB, {"completions": 5}, {"main": 1}),
        (JOB, {"parallelism": True}, {"main": 1}),
        (JOB_SET, {"replicatedJobs": [{"name": "A"}]}, {"a": 1}),
        (JOB_SET, {"replicatedJobs": [{"name": "a", "replicas": 0}]}, {"a": 0}),
        (RAY_CLUSTER, {"workerGroupSpecs": [{"groupName": "W"}]}, {"head": 1, "w": 0}),
        (RAY_CLUSTER, {"workerGroupSpecs": [{"replicas": 3}]}, {"head": 1, "": 3}),
        (RAY_JOB, {}, {"head": 1, "submitter": 1}),
        (RAY_JOB, {"submissionMode": "K8sJobMode"}, {"head": 1, "submitter": 1}),
        (RAY_JOB, {"submissionMode": "HTTPMode"}, {"head": 1}),
        (RAY_JOB, {"submitterPodTemplate": PODS}, {"head": 1, "submitter": 1}),
        (TRAIN, {}, {"node": 1}),
        (TORCH, {"pytorchReplicaSpecs": {"Worker": {}}}, {"worker": 1}),
        (HYPERPOD, {"replicaSpecs": [{"name": "A"}]}, {"a": 1}),
        (HYPERPOD, {"replicaSpecs": [{"name": "a", "replicas": 2, "spares": 3}]}, {"a": 5}),
        (HYPERPOD, {"replicaSpecs": ["odd"]}, {}),
    ],
)
def test_pods_are_counted_with_the_apis_defaults(
    name: str, spec: dict[str, Any], sizes: dict[str, int]
) -> None:
    assert {part.name: part.size for part in kind(name).parts({}, spec)} == sizes


def test_roles_have_the_order_that_their_operator_starts_them_in() -> None:
    field = {name: {"template": PODS} for name in ("Zed", "Worker", "Other", "Chief", "PS")}
    parts = kind("kubeflow.org/v1 TFJob").parts({}, {"tfReplicaSpecs": field})
    assert [part.name for part in parts] == ["chief", "ps", "worker", "other", "zed"]


def test_a_submitter_that_rays_operator_makes_takes_what_that_gives_it() -> None:
    own = kind(RAY_JOB).parts({}, {"submitterPodTemplate": PODS})[1]
    assert own.template is PODS and own.path == "spec.submitterPodTemplate.metadata"
    (container,) = kind(RAY_JOB).parts({}, {})[1].template["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "500m", "memory": "200Mi"}}


def test_errors_name_the_template_that_they_are_about() -> None:
    spec = {"replicatedJobs": [{"name": "a"}, {"name": "b", "replicas": 4}]}
    first, second = kind(JOB_SET).parts({}, spec)
    assert second.path == "spec.replicatedJobs[1].template.metadata"
    assert (first.groups, second.groups) == (1, 4)
    cluster = {"rayClusterSpec": {"workerGroupSpecs": [{}]}}
    paths = [part.path for part in kind(RAY_JOB).parts({}, cluster)]
    within = "spec.rayClusterSpec"
    assert paths[0] == f"{within}.headGroupSpec.template.metadata"
    assert paths[1] == f"{within}.workerGroupSpecs[0].template.metadata"
    assert kind(RAY_CLUSTER).parts({}, {})[0].path == "spec.headGroupSpec.template.metadata"


# --- running with fewer ---


@pytest.mark.parametrize(
    "said, least",
    [("1", 1), ("4", 4), ("5", None), ("0", None), ("-1", None), ("x", None), ("", None)],
)
def test_a_job_may_say_how_few_pods_are_enough(said: str, least: int | None) -> None:
    spec = {"parallelism": 4}
    (part,) = kind(JOB).parts({"annotations": {LEAST: said}}, spec)
    assert part.least == least
    assert (part.set_count is not None) is (least is not None)


@pytest.mark.parametrize("follow, completions", [("true", 2), ("false", 4)])
def test_completions_follow_where_they_are_as_many(follow: str, completions: int) -> None:
    spec = {"parallelism": 4, "completions": 4}
    (part,) = kind(JOB).parts({"annotations": {LEAST: "1", FOLLOW: follow}}, spec)
    assert part.set_count is not None
    part.set_count(2)
    assert spec == {"parallelism": 2, "completions": completions}


# --- what they say of themselves ---


def ended(type_: str, status: str = "True", **more: str) -> dict[str, Any]:
    return {"conditions": [{"type": type_, "status": status, **more}]}


DONE, LOST = Finish(True, "Job finished"), Finish(False, "Job finished")


@pytest.mark.parametrize(
    "name, status, finish",
    [
        (JOB, ended("Complete"), DONE),
        (JOB, ended("Failed", message="m"), Finish(False, "m")),
        (JOB, ended("Suspended"), None),
        (JOB, ended("Failed", "False"), None),
        (JOB, {}, None),
        (JOB_SET, ended("Completed"), DONE),
        (JOB_SET, ended("Complete"), None),
        (TORCH, ended("Succeeded"), DONE),
        (TRAIN, ended("Complete"), DONE),
        (HYPERPOD, ended("Completed"), DONE),
        (RAY_JOB, {"jobStatus": "FAILED"}, LOST),
        (RAY_JOB, {"jobStatus": "STOPPED"}, LOST),
        (RAY_JOB, {"jobStatus": "RUNNING"}, None),
        (RAY_JOB, {"jobDeploymentStatus": "Failed", "message": "m"}, Finish(False, "m")),
        (RAY_JOB, {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, DONE),
        (RAY_JOB, {"jobDeploymentStatus": "Running"}, None),
        (RAY_CLUSTER, {"state": "ready"}, None),
    ],
)
def test_a_job_has_ended_when_its_api_says_so(
    name: str, status: dict[str, Any], finish: Finish | None
) -> None:
    assert kind(name).finished(status) == finish


@pytest.mark.parametrize(
    "name, status, active",
    [
        (JOB, {"active": 1}, True),
        (JOB, {"active": 0}, False),
        (JOB, {}, False),
        (JOB_SET, {"replicatedJobsStatus": [{"active": 0}, {"active": 1}]}, True),
        (JOB_SET, {"replicatedJobsStatus": [{"active": 0}]}, False),
        (JOB_SET, {"jobsStatus": [{"active": 1}]}, False),
        (TRAIN, {"jobsStatus": [{"active": 1}]}, True),
        (TORCH, {"replicaStatuses": {"Worker": {"active": 1}}}, True),
        (TORCH, {"replicaStatuses": {"Worker": {"active": 0}}}, False),
        (RAY_JOB, {"jobDeploymentStatus": "Running"}, True),
        (RAY_JOB, {"jobDeploymentStatus": "Suspended"}, False),
        (RAY_CLUSTER, {}, False),
        (RAY_CLUSTER, {"state": ""}, False),
        (RAY_CLUSTER, {"state": "suspended"}, False),
        (RAY_CLUSTER, {"state": "suspended", "availableWorkerReplicas": 1}, True),
        (RAY_CLUSTER, {"state": "suspended", "availableWorkerReplicas": 0}, False),
        (RAY_CLUSTER, {"state": "ready"}, True),
        (HYPERPOD, ended("Suspended", "False"), True),
        (HYPERPOD, ended("Created", "False"), False),
    ],
)
def test_a_job_is_active_while_pods_of_it_may_run(
    name: str, status: dict[str, Any], active: bool
) -> None:
    assert kind(name).is_active(status) is active


@pytest.mark.parametrize(
    "name, status, ready",
    [
        (JOB, {"ready": 2}, False),
        (JOB, {"ready": 3}, True),
        (JOB, {"ready": 1, "succeeded": 2}, True),
        (JOB, {}, False),
        (RAY_CLUSTER, {"state": "ready"}, True),
        (RAY_CLUSTER, {"state": "failed"}, False),
        (JOB_SET, {"ready": 3}, False),
    ],
)
def test_a_job_is_ready_with_all_its_pods(name: str, status: dict[str, Any], ready: bool) -> None:
    assert kind(name).is_ready({"parallelism": 3}, status) is ready


@pytest.mark.parametrize(
    "parallelism, completions, succeeded, free",
    [
        (3, 5, 2, {}),
        (3, 5, 3, {"main": 1}),
        (3, 5, 5, {"main": 3}),
        (3, 3, 0, {}),
        (2, 2, 1, {"main": 1}),
        (1, 2, 2, {}),
        (3, None, 2, {}),
    ],
)
def test_places_for_which_nothing_is_left_to_do_are_free(
    parallelism: int, completions: int | None, succeeded: int, free: dict[str, int]
) -> None:
    spec = {"parallelism": parallelism, "completions": completions}
    assert kind(JOB).reclaimable(spec, {"succeeded": succeeded}) == free
    assert kind(JOB_SET).reclaimable(spec, {"succeeded": succeeded}) == {}


# --- stopping them, and placing those that have no template ---


@pytest.mark.parametrize("name", [JOB, TORCH])
def test_a_job_stops_by_its_own_field(name: str) -> None:
    spec: dict[str, Any] = {}
    assert not is_suspended(kind(name), spec)
    set_suspended(kind(name), spec, True)
    assert is_suspended(kind(name), spec)
    assert spec == ({"suspend": True} if name == JOB else {"runPolicy": {"suspend": True}})
    assert not is_suspended(kind(TORCH), {"runPolicy": 5})


TOLERATION = {"key": "gpu"}


@pytest.mark.parametrize(
    "selector, tolerations, kept, written",
    [
        ({"a": "b"}, [], [], 1),
        ({}, [TOLERATION], [], 1),
        ({}, [], [], 0),
        ({"a": "b"}, [], [{"manager": "me"}], 2),
        ({}, [], [{"manager": "kueue.x-k8s.io/manager"}], 0),
        ({}, [], [{"manager": "me"}], 1),
    ],
)
def test_a_train_jobs_pods_are_placed_by_overrides_beside_those_of_others(
    selector: Any, tolerations: Any, kept: Any, written: int
) -> None:
    spec: dict[str, Any] = {"podTemplateOverrides": kept}
    place = kind(TRAIN).place
    assert place is not None
    place(spec, [Placement("node", 1, selector, tolerations, {}, {})])
    rows = spec.get("podTemplateOverrides", [])
    assert len(rows) == written
    assert ("podTemplateOverrides" in spec) is bool(written)
    if selector or tolerations:
        assert rows[0]["spec"] == {"nodeSelector": selector, "tolerations": tolerations}
        assert rows[0]["targetJobs"] == [{"name": "node"}]


def test_mpi_jobs_have_a_version_of_their_own() -> None:
    assert kind(MPI).resource.api_version == "kubeflow.org/v2beta1"
    assert kind(TORCH).resource.api_version == "kubeflow.org/v1"
