"""The definitions, beside Kueue's own; and objects of the older version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.kueue.originals import DIGESTS, digests
from tiphys.addons.kueue.types.conversion import convert
from tiphys.addons.kueue.types.definitions import definitions
from tiphys.addons.reviews import Refused
from tiphys.api.base import to_builtins

OLD, NEW = "kueue.x-k8s.io/v1beta1", "kueue.x-k8s.io/v1beta2"


def test_the_definitions_are_the_published_ones() -> None:
    ours: dict[str, str] = {}
    for definition in definitions():
        ours.update(digests(to_builtins(definition)))
    assert {key for key in DIGESTS if ours.get(key) != DIGESTS[key]} == set()
    assert ours.keys() == DIGESTS.keys()


def test_both_versions_are_served_and_the_newer_is_stored() -> None:
    for definition in definitions():
        found = {one.name: (one.storage, one.deprecated) for one in definition.spec.versions}
        assert found == {"v1beta2": (True, False), "v1beta1": (False, True)}, definition.metadata


def old(kind: str, **parts: Any) -> dict[str, Any]:
    return {"apiVersion": OLD, "kind": kind, "metadata": {"name": "x"}, **parts}


@pytest.mark.parametrize(
    "before, after",
    [
        (old("ClusterQueue", spec={"cohort": "c"}), {"cohortName": "c"}),
        (
            old("ClusterQueue", spec={"admissionChecks": ["a", "b"]}),
            {"admissionChecksStrategy": {"admissionChecks": [{"name": "a"}, {"name": "b"}]}},
        ),
        (
            old("ClusterQueue", spec={"flavorFungibility": {"whenCanBorrow": "Borrow"}}),
            {"flavorFungibility": {"whenCanBorrow": "MayStopSearch"}},
        ),
        (
            old("AdmissionCheck", spec={"controllerName": "c", "retryDelayMinutes": 15}),
            {"controllerName": "c"},
        ),
        (
            old(
                "Workload",
                spec={
                    "priorityClassName": "p",
                    "priorityClassSource": "kueue.x-k8s.io/workloadpriorityclass",
                    "priority": 3,
                },
            ),
            {
                "priority": 3,
                "priorityClassRef": {
                    "group": "kueue.x-k8s.io",
                    "kind": "WorkloadPriorityClass",
                    "name": "p",
                },
            },
        ),
    ],
)
def test_an_older_object_is_read_as_a_newer_one(before: Any, after: Any) -> None:
    assert convert(before, NEW)["spec"] == after


def test_what_both_versions_have_survives_both_ways() -> None:
    queue = old("ClusterQueue", spec={"cohort": "c", "stopPolicy": "Hold"}, status={})
    assert convert(convert(queue, NEW), OLD) == queue
    workload = old(
        "Workload",
        spec={
            "priorityClassName": "p",
            "priorityClassSource": "scheduling.k8s.io/priorityclass",
        },
        status={"accumulatedPastExexcutionTimeSeconds": 7},
    )
    assert convert(convert(workload, NEW), OLD) == workload


def test_there_is_no_other_version() -> None:
    with pytest.raises(Refused):
        convert(old("Cohort"), "kueue.x-k8s.io/v1")
