"""How many pods a replica set creates or deletes, and what it counts."""

from __future__ import annotations

import pytest

from tests.controllers.builders import NOW, ended, leaving, running
from tiphys.api import apps_v1, core_v1
from tiphys.controllers import replicaset
from tiphys.controllers.expectations import BURST


@pytest.mark.parametrize(
    ("wanted", "present", "create", "delete"),
    [(3, 3, 0, 0), (5, 3, 2, 0), (1, 3, 0, 2), (0, 2, 0, 2), (BURST + 9, 0, BURST, 0)],
)
def test_the_difference_is_made_up_for(wanted: int, present: int, create: int, delete: int) -> None:
    pods = [running(f"p{number}") for number in range(present)]
    todo = replicaset.plan(wanted, pods, NOW)
    assert (todo.create, len(todo.delete)) == (create, delete)


def test_a_burst_of_deletions_has_an_end() -> None:
    pods = [running(f"p{number}") for number in range(BURST + 9)]
    assert len(replicaset.plan(0, pods, NOW).delete) == BURST


def test_the_pods_of_the_fullest_node_go_first() -> None:
    pods = [running("a", nodeName="one"), *(running(n, nodeName="two") for n in "bc")]
    assert [p.metadata.name for p in replicaset.plan(2, pods, NOW).delete] == ["b"]
    pending = core_v1.Pod()
    pending.metadata.name, pending.status.phase = "pending", "Pending"
    assert replicaset.plan(3, [*pods, pending], NOW).delete == [pending]


def test_pods_are_counted_by_what_they_are() -> None:
    owner = apps_v1.ReplicaSet()
    owner.spec.min_ready_seconds = 50
    owner.spec.template.metadata.labels = {"a": "b"}
    labels = {"a": "b", "c": "d"}
    pods = [
        running("available", labels=labels, ready_for=60),
        running("young", ready_for=20),
        running("younger", labels=labels, ready_for=10),
        running("unready", ready=False),
        leaving(running("leaving", labels=labels)),
        leaving(ended("left")),
        ended("failed"),
    ]
    counts = replicaset.count(owner, pods, NOW)
    assert (counts.replicas, counts.fully_labeled) == (4, 2)
    assert (counts.ready, counts.available, counts.terminating) == (3, 1, 1)
    assert counts.wake == pytest.approx(30.1)
