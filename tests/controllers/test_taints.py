"""Taints that follow a node's conditions, and when pods leave because of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.controllers.builders import NOW, ago, node_that_is
from tiphys.api import core_v1
from tiphys.controllers import taints
from tiphys.controllers.taints import NOT_READY, UNREACHABLE, Sighting

K8S = "node.kubernetes.io/"
NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "NoExecute"


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        (node_that_is("True"), []),
        (node_that_is(None), [(NOT_READY, NO_SCHEDULE)]),
        (node_that_is("False"), [(NOT_READY, NO_SCHEDULE), (NOT_READY, NO_EXECUTE)]),
        (node_that_is("Unknown"), [(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)]),
        (node_that_is("True", DiskPressure="True"), [(f"{K8S}disk-pressure", NO_SCHEDULE)]),
        (node_that_is("True", DiskPressure="Unknown"), []),
    ],
)
def test_conditions_call_for_taints(node: core_v1.Node, wanted: list[tuple[str, str]]) -> None:
    assert taints.wanted_taints(node) == wanted
    without = [taint for taint in wanted if taint[1] != NO_EXECUTE]
    assert taints.wanted_taints(node, evicting=False) == without


def test_taints_of_others_stay_and_ours_follow() -> None:
    node = node_that_is("False")
    node.spec.unschedulable = True
    node.spec.taints = [
        core_v1.Taint(key="theirs", effect=NO_EXECUTE),
        core_v1.Taint(key=UNREACHABLE, effect=NO_EXECUTE),
        core_v1.Taint(key=NOT_READY, effect=NO_SCHEDULE),
    ]
    found = taints.retaint(node, "now")
    assert found is not None
    assert [(taint.key, taint.effect, taint.time_added) for taint in found] == [
        ("theirs", NO_EXECUTE, None),
        (NOT_READY, NO_SCHEDULE, None),
        (NOT_READY, NO_EXECUTE, "now"),
        (f"{K8S}unschedulable", NO_SCHEDULE, None),
    ]
    node.spec.taints = found
    assert taints.retaint(node, "later") is None


def zone(*states: str, times: int = 1) -> list[core_v1.Node]:
    return [node_that_is(state) for state in states] * times


ELSEWHERE = zone("True")


@pytest.mark.parametrize(
    ("nodes", "others", "rate"),
    [
        (zone("True", "True", "Unknown"), ELSEWHERE, 0.1),
        (zone("True", "Unknown", "Unknown"), ELSEWHERE, 0.1),  # two may happen to anybody
        (zone("True", "Unknown", "Unknown", "Unknown"), ELSEWHERE, 0.0),
        (zone("True", "True", "True", "Unknown", "Unknown", "Unknown"), ELSEWHERE, 0.1),
        (zone("True", "Unknown", "Unknown", "Unknown", times=12), ELSEWHERE, 0.0),
        (zone("True", "Unknown", times=25), ELSEWHERE, 0.1),
        (zone("True", "Unknown", "Unknown", "Unknown", "False", times=10), ELSEWHERE, 0.0),
        (zone("True", "Unknown", "Unknown", "Unknown", times=13), ELSEWHERE, 0.01),
        (zone("Unknown"), [], 0.0),  # when nobody is heard of, it may be us
        (zone("Unknown"), zone("Unknown"), 0.0),
        (zone("Unknown"), ELSEWHERE, 0.1),
    ],
)
def test_a_zone_is_emptied_as_slowly_as_it_is_unwell(
    nodes: list[core_v1.Node], others: list[core_v1.Node], rate: float
) -> None:
    assert taints.eviction_rate(nodes, others) == rate


def tolerating(*seconds: int | None, created: float = 1000) -> core_v1.Pod:
    """A pod that puts up with the taint ``bad`` for so long (None: forever)."""
    rows: list[dict[str, Any]] = [
        {"key": "bad", "operator": "Exists", "effect": NO_EXECUTE, "tolerationSeconds": limit}
        for limit in seconds
    ]
    made = pod(tolerations=rows)
    made.metadata.creation_timestamp = ago(created)
    return made


def bad(added: float | None = None, effect: str = NO_EXECUTE) -> core_v1.Taint:
    since = None if added is None else ago(added)
    return core_v1.Taint(key="bad", value="y", effect=effect, time_added=since)


@pytest.mark.parametrize(
    ("patient", "taint", "leaves"),
    [
        (tolerating(), bad(10), 0),
        (tolerating(None), bad(10), None),
        (tolerating(30), bad(10), 20),
        (tolerating(-5), bad(0), 0),
        (tolerating(30), bad(), 30 - 100),  # since it was first seen
        (tolerating(30, created=5), bad(10), 25),  # it came later than the taint
        (tolerating(), bad(10, NO_SCHEDULE), None),
    ],
)
def test_a_pod_leaves_when_its_patience_ends(
    patient: core_v1.Pod, taint: core_v1.Taint, leaves: float | None
) -> None:
    seen = {Sighting("bad", "y"): NOW - 100}
    found = taints.eviction_time(patient, [taint], NOW, seen)
    assert found == (None if leaves is None else NOW + leaves)


def test_the_shortest_patience_counts_from_when_the_pod_was_bound() -> None:
    patient = tolerating(60)
    bound = core_v1.PodCondition(type="PodScheduled", status="True", last_transition_time=ago(20))
    patient.status.conditions = [bound]
    other = core_v1.Taint(key="bad", value="z", effect=NO_EXECUTE, time_added=ago(3))
    assert taints.eviction_time(patient, [other, bad(50)], NOW) == NOW + 40
