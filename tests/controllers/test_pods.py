"""What controllers ask about pods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.controllers.builders import NOW, ago, ended, leaving, running
from tiphys.api import core_v1
from tiphys.controllers.pods import (
    FailureBackoff,
    available_after,
    deletion_rank,
    disruption_patch,
    is_active,
    rejection_wait,
)


@pytest.mark.parametrize(
    ("one", "active"),
    [
        (running("p"), True),
        (leaving(running("p")), False),
        (ended("p"), False),
        (ended("p", "Succeeded"), False),
    ],
)
def test_a_pod_is_active_until_it_ends_or_is_deleted(one: core_v1.Pod, active: bool) -> None:
    assert is_active(one) is active


@pytest.mark.parametrize(
    ("one", "min_ready", "seconds"),
    [
        (running("p", ready=False), 0, None),
        (running("p", ready=None), 0, None),
        (running("p"), 0, 0.0),
        (running("p", ready_for=-5), 0, 0.0),
        (running("p", ready_for=-5), 1, 6.0),
        (running("p", ready_for=60), 60, 0.0),
        (running("p", ready_for=60), 90, 30.0),
    ],
)
def test_a_pod_is_available_when_it_was_ready_for_long_enough(
    one: core_v1.Pod, min_ready: int, seconds: float | None
) -> None:
    assert available_after(one, min_ready, NOW) == seconds


def candidate(name: str = "p", **facts: Any) -> core_v1.Pod:
    """A pod that is ready for a minute, but for the one fact that is given."""
    made = running(name, facts.get("ready", True), facts.get("ready_for", 60))
    made.spec.node_name = facts.get("node", "n")
    made.status.phase = facts.get("phase", "Running")
    made.metadata.creation_timestamp = ago(facts.get("age", 500))
    restarts = facts.get("restarts", 0)
    made.status.container_statuses = [
        core_v1.ContainerStatus(name="a"),
        core_v1.ContainerStatus(name="b", restart_count=restarts),
    ]
    if "cost" in facts:
        key = "controller.kubernetes.io/pod-deletion-cost"
        made.metadata.annotations[key] = facts["cost"]
    return made


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"node": ""}, {}),
        ({"phase": "Pending"}, {"phase": "Unknown"}),
        ({"phase": "Unknown"}, {}),
        ({"ready": False}, {}),
        ({"cost": "-1"}, {}),
        ({}, {"cost": "1"}),
        ({"ready_for": 10}, {"ready_for": 20}),
        ({"restarts": 3}, {"restarts": 2}),
        ({"age": 100}, {"age": 200}),
        ({"phase": "Pending", "cost": "9"}, {"cost": "1"}),  # in this order
        ({"node": "", "ready": True}, {"ready": False}),
    ],
)
def test_the_pod_that_is_worth_least_is_deleted_first(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert deletion_rank(candidate(**first), 1, NOW) < deletion_rank(candidate(**second), 1, NOW)


def test_pods_on_a_crowded_node_are_deleted_first_and_odd_costs_are_none() -> None:
    assert deletion_rank(candidate(), 3, NOW) < deletion_rank(candidate(), 2, NOW)
    assert deletion_rank(candidate(cost="x"), 1, NOW) == deletion_rank(candidate(), 1, NOW)


def test_failures_in_one_place_wait_longer_each_time() -> None:
    now = 10_000.0
    backoff = FailureBackoff(lambda: now, 10.0)
    waited = []
    for _ in range(6):
        waited.append(wait := backoff.wait("set", "node"))
        if wait:
            now += wait
            assert backoff.wait("set", "node") == 0.0
    assert waited == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert backoff.wait("set", "other") == 0.0
    now += 1799
    assert backoff.wait("set", "node") == 0.0 and backoff.wait("set", "node") == 10.0
    now += 1800
    assert backoff.wait("set", "node") == 0.0
    assert backoff.wait("set", "node") == 1.0, "the count started over"


def test_the_first_failure_waits_for_nothing_even_when_the_clock_has_just_started() -> None:
    assert FailureBackoff(lambda: 0.0, 10.0).wait("set", "node") == 0.0


def test_only_so_many_places_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FailureBackoff, "PLACES", 2)
    backoff = FailureBackoff(lambda: 10_000.0, 10.0)
    assert [backoff.wait(place) for place in "abc"] == [0.0, 0.0, 0.0]
    assert backoff.wait("c") == 1.0 and backoff.wait("a") == 0.0


@pytest.mark.parametrize(
    ("reason", "count", "started", "seconds"),
    [
        ("Evicted", 1, 0, 0.0),
        ("OutOfcpu", 1, 0, 0.2),
        ("NodePorts", 4, 0, 1.6),
        ("NodeAffinity", 400, 0, 30.0),
        ("NodePorts", 4, 1, 0.6),
        ("NodePorts", 4, 2, 0.0),
    ],
)
def test_pods_that_nodes_reject_are_not_created_again_at_once(
    reason: str, count: int, started: float, seconds: float
) -> None:
    rejected = [ended("p", "Failed", reason, started)] * count
    assert rejection_wait(rejected, NOW) == pytest.approx(seconds)


def test_a_disruption_is_written_as_a_condition() -> None:
    patch = disruption_patch(pod(), "Why", "because", NOW)
    [condition] = patch["status"]["conditions"]
    assert condition == {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "Why",
        "message": "because",
        "lastTransitionTime": ago(0),
    }
