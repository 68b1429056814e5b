"""What a job is worth: by its own class, by that of its pods, or by the cluster's default."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.addons.pretended import Pretended
from tiphys.addons.kueue.jobs.kinds import KINDS
from tiphys.addons.kueue.jobs.parts import AnyJob
from tiphys.addons.kueue.jobs.workloads import Priority
from tiphys.addons.kueue.leaderworkersets import groups_of
from tiphys.addons.kueue.priorities import Priorities
from tiphys.addons.kueue.served import is_served
from tiphys.addons.kueue.types.quotas import WorkloadPriorityClass
from tiphys.addons.kueue.types.workloads import PodSet
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import from_builtins
from tiphys.api.scheduling_v1 import PriorityClass

LABEL = "kueue.x-k8s.io/priority-class"
OWN = "kueue.x-k8s.io WorkloadPriorityClass"
PODS = "scheduling.k8s.io PriorityClass"


def of_class(name: str) -> PodSet:
    return PodSet(name="main", template={"spec": {"priorityClassName": name}} if name else {})


@pytest.mark.parametrize(
    ("labels", "sets", "default", "found"),
    [
        ({}, [], False, (0, "", "")),
        ({}, [], True, (5, PODS, "usual")),
        ({LABEL: "high"}, [], True, (9, OWN, "high")),
        ({LABEL: "high"}, [of_class("pods")], False, (9, OWN, "high")),
        ({LABEL: "gone"}, [of_class("pods")], True, "gone"),
        ({LABEL: ""}, [of_class("pods")], True, (7, PODS, "pods")),
        ({}, [of_class(""), of_class("pods")], True, (7, PODS, "pods")),
        ({}, [of_class("gone"), of_class("pods")], False, (7, PODS, "pods")),
        ({}, [of_class("gone")], False, (0, "", "")),
        ({}, [PodSet(name="m", template={"spec": {"priorityClassName": 5}})], False, (0, "", "")),
        ({}, [PodSet(name="m", template={"spec": []})], False, (0, "", "")),
        ({}, [PodSet(name="m", template="odd")], False, (0, "", "")),
    ],
)
async def test_a_job_is_worth_what_its_class_says(
    labels: dict[str, str], sets: list[PodSet], default: bool, found: Any
) -> None:
    server = Pretended()
    row = {"metadata": {"name": "high"}, "value": 9}
    server.put(from_builtins(row, WorkloadPriorityClass))
    server.put(from_builtins({"metadata": {"name": "pods"}, "value": 7}, PriorityClass))
    usual = {"metadata": {"name": "usual"}, "value": 5, "globalDefault": default}
    server.put(from_builtins(usual, PriorityClass))
    made = Priorities(cast(Any, server)).of(labels, sets)
    if isinstance(found, str):
        assert made == found
        return
    assert isinstance(made, Priority)
    reference = made.reference
    shown = (f"{reference.group} {reference.kind}", reference.name) if reference else ("", "")
    assert (made.value, *shown) == found


# --- kinds that are served ---


def definition(group: str, kind: str, version: str, served: bool, established: str) -> Any:
    row = {
        "metadata": {"name": f"{kind.lower()}s.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": "jobsets"},
            "versions": [{"name": version, "served": served}],
        },
        "status": {"conditions": [{"type": "Established", "status": established}]},
    }
    return from_builtins(row, CustomResourceDefinition)


JOB_SET = KINDS[1].resource


@pytest.mark.parametrize(
    ("of", "served"),
    [
        (None, False),
        (definition("jobset.x-k8s.io", "JobSet", "v1alpha2", True, "True"), True),
        (definition("jobset.x-k8s.io", "JobSet", "v1alpha2", False, "True"), False),
        (definition("jobset.x-k8s.io", "JobSet", "v1alpha2", True, "False"), False),
        (definition("jobset.x-k8s.io", "JobSet", "v1", True, "True"), False),
        (definition("jobset.x-k8s.io", "Other", "v1alpha2", True, "True"), False),
        (definition("example.com", "JobSet", "v1alpha2", True, "True"), False),
    ],
)
def test_a_kind_is_served_once_its_definition_is_established(of: Any, served: bool) -> None:
    assert is_served(JOB_SET, of) is served


# --- groups of LeaderWorkerSets ---


@pytest.mark.parametrize(
    ("surge", "groups"),
    [(1, 3), (0, 2), ("1", 3), ("0", 2), ("50%", 2), ("x", 2), ("1" * 10, 2), (None, 2), ("٣", 2)],
)
def test_a_rolling_update_adds_groups_by_a_number_alone(surge: Any, groups: int) -> None:
    """A percentage counts as none: upstream's IntValue."""
    rollout = {"rollingUpdateConfiguration": {"maxSurge": surge}}
    spec = {"replicas": 2, "rolloutStrategy": rollout}
    job = from_builtins({"spec": spec, "status": {"replicas": 3, "updatedReplicas": 1}}, AnyJob)
    assert groups_of(job) == groups
