"""What becomes of a job when it is created."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.kueue import names
from tiphys.addons.kueue.admission import review_job
from tiphys.addons.reviews import Verdict
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
