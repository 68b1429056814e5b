"""The pods of jobs."""

from __future__ import annotations

from tests.controllers.builders import job
from tiphys.api.batch_v1 import Job
from tiphys.api.core_v1 import Container, EnvVar
from tiphys.controllers.job import new_pod
from tiphys.controllers.jobindexes import INDEX
from tiphys.controllers.jobplan import TRACKING
from tiphys.controllers.jobpolicy import FAILURES


def with_containers(**spec: object) -> Job:
    made = job(**spec)
    own = EnvVar(name="JOB_COMPLETION_INDEX", value="mine")
    made.spec.template.spec.containers = [Container(name="a"), Container(name="b", env=[own])]
    return made


def test_a_pod_without_an_index_is_only_tracked() -> None:
    pod = new_pod(with_containers(), None, 3)
    assert pod.metadata.finalizers == [TRACKING] and pod.metadata.generate_name == "j-"
    assert not pod.metadata.annotations and not pod.spec.hostname


def test_a_pod_says_its_index_wherever_it_is_looked_for() -> None:
    pod = new_pod(with_containers(backoff_limit_per_index=2), 7, 3)
    assert pod.metadata.annotations == {INDEX: "7", FAILURES: "3"}
    assert pod.metadata.labels[INDEX] == "7"
    assert (pod.metadata.generate_name, pod.spec.hostname) == ("j-7-", "j-7")
    first, second = (container.env for container in pod.spec.containers)
    assert first[0].value_from is not None and [each.value for each in second] == ["mine"]


def test_a_host_name_of_ones_own_stays_and_a_long_one_is_cut() -> None:
    named = with_containers()
    named.spec.template.spec.hostname = "own"
    assert new_pod(named, 1, 0).spec.hostname == "own"
    named.spec.template.spec.hostname = ""
    named.metadata.name = "x" * 70
    assert new_pod(named, 1, 0).spec.hostname == "x" * 63
    assert FAILURES not in new_pod(named, 1, 0).metadata.annotations
