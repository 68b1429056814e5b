"""What is a fault, what is none yet, and which came first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.training.builders import job, member, report, running, seen, started
from tiphys.addons.training.faults import Fault, failures_before_the_start, faults_of
from tiphys.addons.training.observation import Member
from tiphys.addons.training.sizes import groups_of

EPOCH = "0-2"


def faults(*members: Member, replicas: int = 2) -> list[tuple[int, str]]:
    made = started(job(replicas=replicas))
    found = faults_of(seen(made, *members), groups_of(made), EPOCH)
    return [(fault.rank, fault.reason) for fault in found]


def beside(one: Member) -> list[tuple[int, str]]:
    """Of a member at rank 1, beside one that runs."""
    return faults(running(1, EPOCH)[0], one)


AGENT: dict[str, tuple[Any, str]] = {
    "runs": (report("running", 1, EPOCH), ""),
    "is done": (report("completed", 1, EPOCH), ""),
    "stops": (report("stopping", 1, EPOCH), ""),
    "says a word that is new": (report("other", 1, EPOCH), ""),
    "ran before": (report("running", 1, "9-2"), "AgentRestarted"),
    "was done before": (report("completed", 1, "9-2"), "AgentRestarted"),
    "is ready again": (report("ready", 1, EPOCH), "AgentRestarted"),
    "has begun anew": (report("init", 1, EPOCH), "AgentRestarted"),
    "has shut down": (report("shutdown", 1, EPOCH), "AgentRestarted"),
    "had a crash": (report("faulted", 1, EPOCH, reason="WorkerCrash"), "WorkerCrash"),
    "had something": (report("faulted", 1, EPOCH), "WorkerFault"),
    "had it before": (report("faulted", 1, "9-2"), "WorkerFault"),
}


@pytest.mark.parametrize("case", AGENT)
def test_an_agent_says_how_its_processes_are(case: str) -> None:
    agent, reason = AGENT[case]
    assert beside(member(1, agent)) == ([(1, reason)] if reason else [])


POD: dict[str, tuple[dict[str, Any], str]] = {
    "is lost with its node": ({"lost": "node n is gone", "node_is_lost": True}, "NodeLost"),
    "failed": ({"lost": "it failed: x"}, "PodFailed"),
    "is being deleted": ({"is_going": True}, "PodDeleted"),
    "is lost and being deleted": ({"lost": "it failed: x", "is_going": True}, "PodFailed"),
    "is silent": ({"agent": None, "silent": 30.1}, "AgentSilent"),
    "is silent, not yet for long": ({"agent": None, "silent": 30.0}, ""),
}


@pytest.mark.parametrize("case", POD)
def test_a_pod_can_be_lost(case: str) -> None:
    parts, reason = POD[case]
    one = member(1, **{"agent": report("running", 1, EPOCH), "last_rank": 1, **parts})
    assert beside(one) == ([(1, reason)] if reason else [])


def test_a_rank_without_a_pod_is_lost() -> None:
    assert faults(running(1, EPOCH)[0]) == [(1, "PodLost")]
    assert faults() == [(0, "PodLost"), (1, "PodLost")]


@pytest.mark.parametrize(
    ("parts", "is_waited_for"),
    [
        ({"silent": 0.0}, True),
        ({"silent": 30.0}, True),
        ({"silent": 30.1}, False),
        ({"silent": 0.0, "runs": False}, False),
        ({"silent": 0.0, "lost": "it failed: x"}, False),
        ({"silent": 0.0, "is_going": True}, False),
        ({"agent": report("ready")}, False),
        ({"last_rank": 7}, False),
    ],
)
def test_an_agent_that_was_never_heard_of_may_have_the_rank(
    parts: dict[str, Any], is_waited_for: bool
) -> None:
    """After a restart of the operator."""
    found = beside(member(5, **parts))
    assert found == ([] if is_waited_for else [(1, "PodLost")])


def test_one_agent_may_have_one_rank() -> None:
    assert faults(member(5, silent=1.0)) == [(1, "PodLost")]


def test_of_two_with_a_rank_the_usable_one_counts() -> None:
    lost = member(1, report("running", 1, EPOCH), lost="it failed: x")
    assert faults(*running(2, EPOCH), lost) == []
    assert faults(lost, *running(2, EPOCH)) == []


def test_what_is_lost_explains_the_crashes_and_of_crashes_the_first() -> None:
    late = member(0, report("faulted", 0, EPOCH, faulted_at="2026-01-01T00:00:02"))
    soon = member(2, report("faulted", 2, EPOCH, faulted_at="2026-01-01T00:00:01"))
    lost = member(3, report("running", 3, EPOCH), lost="it failed: x")
    assert faults(late, member(1, report("running", 1, EPOCH)), soon, lost, replicas=4) == [
        (3, "PodFailed"),
        (2, "WorkerFault"),
        (0, "WorkerFault"),
    ]


def test_a_message_is_the_agents_own_or_says_that_there_is_none() -> None:
    made = started(job(replicas=1))

    def message(**parts: Any) -> str:
        one = member(0, report("faulted", 0, EPOCH, **parts))
        [fault] = faults_of(seen(made, one), groups_of(made), EPOCH)
        return fault.message

    assert message(message="out of memory") == "out of memory"
    assert message() == "Pod train-pod-0: its agent gave no message"


# --- before it runs ---


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({}, ""),
        ({"lost": "it failed: x"}, "PodFailed"),
        ({"lost": "it failed: x", "is_going": True}, ""),
        ({"lost": "node n is gone", "node_is_lost": True}, ""),
        ({"agent": report("faulted", 0, EPOCH, reason="WorkerCrash")}, "WorkerCrash"),
        ({"agent": report("faulted", 0, "9-2")}, ""),
        ({"agent": report("ready")}, ""),
    ],
)
def test_what_fails_before_all_have_begun_counts(parts: dict[str, Any], reason: str) -> None:
    made = job(replicas=2)
    found: list[Fault] = failures_before_the_start(seen(made, member(0, **parts)), EPOCH)
    assert [fault.reason for fault in found] == ([reason] if reason else [])
