"""What jobs of all kinds ask for, how they start with what they are given, and how they stop."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.kueue.jobs.kinds import kind_of
from tiphys.addons.kueue.jobs.parts import AnyJob, Finish, JobKind, Placement, dig
from tiphys.addons.kueue.jobs.topologies import topology_request
from tiphys.addons.kueue.jobs.workloads import (
    PlacementError,
    Priority,
    parts_of,
    placements_of,
    restored_spec,
    started_spec,
    stopped_spec,
    workload_of,
)
from tiphys.addons.kueue.names import workload_name
from tiphys.addons.kueue.types.quotas import ResourceFlavor
from tiphys.addons.kueue.types.workloads import Admission, AdmissionCheckState, PodSetAssignment
from tiphys.api.base import from_builtins

PODS = {"spec": {"containers": [{"name": "c"}]}}
SPECS: dict[str, Any] = {
    "batch/v1 Job": {"parallelism": 3, "completions": 2, "template": PODS, "suspend": True},
    "jobset.x-k8s.io/v1alpha2 JobSet": {
        "suspend": True,
        "replicatedJobs": [
            {"name": "driver", "template": {"spec": {"template": PODS}}},
            {
                "name": "Workers",
                "replicas": 2,
                "template": {"spec": {"parallelism": 4, "completions": 4, "template": PODS}},
            },
        ],
    },
    "ray.io/v1 RayCluster": {
        "suspend": True,
        "headGroupSpec": {"template": PODS},
        "workerGroupSpecs": [
            {"groupName": "small", "replicas": 2, "numOfHosts": 2, "template": PODS}
        ],
    },
    "ray.io/v1 RayJob": {
        "suspend": True,
        "submissionMode": "HTTPMode",
        "rayClusterSpec": {"headGroupSpec": {"template": PODS}},
    },
    "kubeflow.org/v1 PyTorchJob": {
        "runPolicy": {"suspend": True},
        "pytorchReplicaSpecs": {
            "Worker": {"replicas": 3, "template": PODS},
            "Master": {"template": PODS},
        },
    },
    "kubeflow.org/v2beta1 MPIJob": {
        "runPolicy": {"suspend": True},
        "mpiReplicaSpecs": {
            "Launcher": {"template": PODS},
            "Worker": {"replicas": 2, "template": PODS},
        },
    },
    "sagemaker.amazonaws.com/v1 HyperPodPyTorchJob": {
        "runPolicy": {"suspend": True},
        "replicaSpecs": [{"name": "pods", "replicas": 2, "spares": 1, "template": PODS}],
    },
    "trainer.kubeflow.org/v1alpha1 TrainJob": {"suspend": True, "trainer": {"numNodes": 4}},
}
EXPECTED = {
    "Job": [("main", 2)],
    "JobSet": [("driver", 1), ("workers", 8)],
    "RayCluster": [("head", 1), ("small", 4)],
    "RayJob": [("head", 1)],
    "PyTorchJob": [("master", 1), ("worker", 3)],
    "MPIJob": [("launcher", 1), ("worker", 2)],
    "HyperPodPyTorchJob": [("pods", 3)],
    "TrainJob": [("node", 4)],
}


def made(name: str, **meta: Any) -> tuple[JobKind, AnyJob]:
    version, kind = name.split()
    row = kind_of(version, kind)
    assert row is not None, name
    metadata = {"name": "job", "namespace": "default", "uid": "u", **meta}
    job = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": SPECS[name]}
    return row, from_builtins(job, AnyJob)


@pytest.mark.parametrize("name", SPECS)
def test_the_pods_of_a_job_are_counted(name: str) -> None:
    row, job = made(name)
    assert [(part.name, part.size) for part in parts_of(row, job)] == EXPECTED[row.kind]


@pytest.mark.parametrize("name", SPECS)
def test_a_job_starts_where_it_is_placed_and_forgets_it_when_it_stops(name: str) -> None:
    row, job = made(name)
    workload = workload_of(row, job, Priority(0))
    toleration = {"key": "gpu", "operator": "Exists"}
    placements = [
        Placement(part.name, part.size, {"zone": "a"}, [toleration], {}, {"x": "y"})
        for part in parts_of(row, job)
    ]
    started = started_spec(row, job, placements)
    assert dig(started, *row.suspend) is False
    assert str(started).count("'zone': 'a'") == len(placements)
    job.spec = started
    job.spec = stopped_spec(row, job)
    restored = restored_spec(row, job, workload)
    assert dig(restored, *row.suspend) is True
    assert "zone" not in str(restored) and "'gpu'" not in str(restored)


def test_a_workload_is_named_as_kueue_names_it() -> None:
    # printf "Job\nbatch\nsample\nuid" | sha1sum
    assert workload_name("Job", "batch", "sample", "uid") == "job-sample-45037"


def test_a_job_that_may_shrink_says_so() -> None:
    row, job = made("batch/v1 Job", annotations={"kueue.x-k8s.io/job-min-parallelism": "1"})
    (pod_set,) = workload_of(row, job, Priority(0)).spec.pod_sets
    assert (pod_set.count, pod_set.min_count) == (2, 1)
    started = started_spec(row, job, [Placement("main", 1, {}, [], {}, {})])
    assert started["parallelism"] == 1


def test_a_job_that_is_given_all_its_pods_keeps_its_own_number() -> None:
    row, job = made("batch/v1 Job", annotations={"kueue.x-k8s.io/job-min-parallelism": "1"})
    started = started_spec(row, job, [Placement("main", 2, {}, [], {}, {})])
    assert started["parallelism"] == 3, "more than are left to complete, as its author wrote"


def test_a_flavor_that_contradicts_the_pods_is_an_error() -> None:
    row, job = made("batch/v1 Job")
    job.spec = {"template": {"spec": {"nodeSelector": {"zone": "b"}}}}
    with pytest.raises(PlacementError, match="conflict for key=zone, value1=b, value2=a"):
        started_spec(row, job, [Placement("main", 1, {"zone": "a"}, [], {}, {})])


def test_pods_go_where_all_their_flavors_are() -> None:
    row, job = made("batch/v1 Job")
    workload = workload_of(row, job, Priority(0))
    assignment = PodSetAssignment(name="main", flavors={"cpu": "x", "gpu": "y"}, count=2)
    workload.status.admission = Admission(cluster_queue="q", pod_set_assignments=[assignment])
    flavors = {
        name: from_builtins({"spec": {"nodeLabels": {name: "yes"}}}, ResourceFlavor)
        for name in ("x", "y")
    }
    (placement,) = placements_of(workload, flavors)
    assert placement.node_selector == {"x": "yes", "y": "yes"}


def test_what_will_not_run_again_is_free() -> None:
    row, _ = made("batch/v1 Job")
    spec = {"parallelism": 4, "completions": 10}
    free = [row.reclaimable(spec, {"succeeded": done}) for done in (0, 6, 8)]
    assert free == [{}, {}, {"main": 2}]


@pytest.mark.parametrize(
    "name, status, finish",
    [
        (
            "batch/v1 Job",
            {"conditions": [{"type": "Failed", "status": "True", "message": "m"}]},
            Finish(False, "m"),
        ),
        ("batch/v1 Job", {"conditions": [{"type": "Complete", "status": "False"}]}, None),
        ("ray.io/v1 RayJob", {"jobStatus": "SUCCEEDED"}, Finish(True, "Job finished")),
        ("ray.io/v1 RayCluster", {"state": "ready"}, None),
    ],
)
def test_jobs_say_in_their_ways_that_they_have_ended(name: str, status: Any, finish: Any) -> None:
    assert made(name)[0].finished(status) == finish


def test_quota_stays_until_a_training_job_says_that_it_is_suspended() -> None:
    row, _ = made("sagemaker.amazonaws.com/v1 HyperPodPyTorchJob")
    told = [{"conditions": [{"type": "Suspended", "status": said}]} for said in ("False", "True")]
    assert [row.is_active(status) for status in ({}, *told)] == [False, True, False]


# --- where pods go ---


def admitted(**row: Any) -> Any:
    """A workload of one set with that assignment."""
    kind, job = made("batch/v1 Job")
    workload = workload_of(kind, job, Priority(0))
    assignment = from_builtins({"name": "main", "count": 2, **row}, PodSetAssignment)
    workload.status.admission = Admission(cluster_queue="q", pod_set_assignments=[assignment])
    return workload


def flavors_of(**specs: Any) -> dict[str, ResourceFlavor]:
    return {name: from_builtins({"spec": one}, ResourceFlavor) for name, one in specs.items()}


TOLERATION = {"key": "gpu", "operator": "Exists"}


def test_a_flavor_is_taken_once_and_one_that_is_gone_not_at_all() -> None:
    workload = admitted(flavors={"cpu": "x", "memory": "x", "gpu": "gone"})
    flavors = flavors_of(x={"nodeLabels": {"a": "b"}, "tolerations": [TOLERATION]})
    (placement,) = placements_of(workload, flavors)
    assert placement.node_selector == {"a": "b"} and len(placement.tolerations) == 1
    assert (placement.count, placement.gates) == (2, [])
    workload.status.admission = None
    assert placements_of(workload, flavors) == []


def test_a_count_that_is_not_said_is_that_of_the_set() -> None:
    assert [one.count for one in placements_of(admitted(count=None), {})] == [2]
    assert [one.count for one in placements_of(admitted(count=None, name="other"), {})] == [1]
    assert [one.count for one in placements_of(admitted(count=0), {})] == [0]


def test_checks_add_to_what_flavors_say_of_their_own_sets() -> None:
    workload = admitted()
    update = {
        "name": "main",
        "nodeSelector": {"zone": "a"},
        "labels": {"l": "1"},
        "annotations": {"n": "2"},
        "tolerations": [TOLERATION],
    }
    rows = [update, {"name": "other", "nodeSelector": {"zone": "b"}}]
    check = {"name": "c", "state": "Ready", "message": "m", "podSetUpdates": rows}
    workload.status.admission_checks = [from_builtins(check, AdmissionCheckState)]
    (placement,) = placements_of(workload, {})
    assert (placement.node_selector, placement.labels) == ({"zone": "a"}, {"l": "1"})
    assert placement.annotations == {"n": "2"} and len(placement.tolerations) == 1


TOPOLOGY = {"levels": ["host"], "slices": []}
REQUIRED = "kueue.x-k8s.io/podset-required-topology"
UNASKED = "kueue.x-k8s.io/podset-unconstrained-topology"


@pytest.mark.parametrize(
    "asked, unasked",
    [
        ({}, True),
        ({REQUIRED: "rack"}, False),
        ({"kueue.x-k8s.io/podset-preferred-topology": "rack"}, False),
        ({UNASKED: "true"}, False),
        ({UNASKED: "false"}, False),
        (
            {
                "kueue.x-k8s.io/podset-slice-required-topology": "rack",
                "kueue.x-k8s.io/podset-slice-size": "2",
            },
            True,
        ),
    ],
)
def test_pods_that_have_places_wait_for_theirs(asked: dict[str, str], unasked: bool) -> None:
    workload = admitted(topologyAssignment=TOPOLOGY)
    template = {"metadata": {"annotations": asked}}
    workload.spec.pod_sets[0].topology_request = topology_request(template)
    (placement,) = placements_of(workload, {})
    assert placement.gates == ["kueue.x-k8s.io/topology"]
    assert placement.labels == {"kueue.x-k8s.io/podset": "main"}
    assert placement.annotations["kueue.x-k8s.io/workload"] == workload.metadata.name
    assert (placement.annotations.get(UNASKED) == "true") is unasked


def test_a_job_that_starts_keeps_what_its_author_wrote() -> None:
    row, job = made("batch/v1 Job")
    author = {"key": "own"}
    job.spec = {
        "parallelism": 1,
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"tolerations": [TOLERATION, author], "schedulingGates": [{"name": "g"}]},
        },
    }
    placement = Placement("main", 1, {}, [TOLERATION, {"key": "new"}], {"l": "1"}, {}, ["g", "h"])
    template = started_spec(row, job, [placement])["template"]
    assert template["metadata"] == {"labels": {"a": "b", "l": "1"}}
    assert template["spec"]["tolerations"] == [TOLERATION, author, {"key": "new"}]
    assert template["spec"]["schedulingGates"] == [{"name": "g"}, {"name": "h"}]
    assert "nodeSelector" not in template["spec"]
    other = Placement("other", 1, {"a": "b"}, [], {}, {})
    assert started_spec(row, job, [other])["template"] == job.spec["template"]


@pytest.mark.parametrize(
    "field, standing",
    [
        ("nodeSelector", {"spec": {"nodeSelector": {"k": "1"}}}),
        ("labels", {"metadata": {"labels": {"k": "1"}}}),
        ("annotations", {"metadata": {"annotations": {"k": "1"}}}),
    ],
)
def test_what_contradicts_a_template_is_refused_and_the_same_is_not(
    field: str, standing: Any
) -> None:
    row, job = made("batch/v1 Job")
    job.spec = {"template": standing}
    names = ("nodeSelector", "labels", "annotations")

    def start(value: str) -> Any:
        given = [{"k": value} if name == field else {} for name in names]
        placement = Placement("main", 1, given[0], [], given[1], given[2])
        return started_spec(row, job, [placement])

    assert start("1")["template"].keys() >= standing.keys()
    with pytest.raises(PlacementError, match=f"conflict for {field}: conflict for key=k"):
        start("2")


@pytest.mark.parametrize("text, seconds", [
    ("1", 1), ("999999999", 999_999_999), ("1000000000", None), ("0", None), ("-1", None),
    ("x", None), ("", None), ("٣", None),
])  # fmt: skip
def test_a_job_may_have_a_time_to_run(text: str, seconds: int | None) -> None:
    row, job = made("batch/v1 Job", labels={"kueue.x-k8s.io/max-exec-time-seconds": text})
    made_of_it = workload_of(row, job, Priority(0)).spec
    assert made_of_it.maximum_execution_time_seconds == seconds


def test_a_restored_job_has_its_own_number_of_pods() -> None:
    row, job = made("batch/v1 Job", annotations={"kueue.x-k8s.io/job-min-parallelism": "1"})
    workload = workload_of(row, job, Priority(0))
    job.spec = started_spec(row, job, [Placement("main", 1, {}, [], {}, {})])
    assert job.spec["parallelism"] == 1
    assert restored_spec(row, job, workload)["parallelism"] == 2
    workload.spec.pod_sets[0].name = "other"
    assert restored_spec(row, job, workload) == job.spec
