"""Which pods a job keeps, which it replaces, and which ranks they have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.training.builders import done, job, member, report, running, seen, started
from tiphys.addons.training.actions import CreatePod, DeletePod, StopAgent
from tiphys.addons.training.deciding import decide
from tiphys.addons.training.observation import Member
from tiphys.addons.training.ranks import is_available, ranking_of
from tiphys.addons.training.sizes import groups_of

LOST = {"lost": "node n is gone", "node_is_lost": True}
FAILED = {"lost": "it failed: x"}


def deleted(one: Member, replicas: int = 2) -> bool | None:
    """Whether a pod of a job that runs is deleted, and at once; None: it is kept."""
    made = started(job(replicas=replicas), f"0-{replicas}")
    others = [each for each in running(2, "0-2") if each.index != one.index]
    found = done(decide(seen(made, *others, one)), DeletePod)
    return found[0].at_once if found and found[0].member == one else None


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"agent": report("running", 1, "0-2")}, None),
        ({**FAILED}, False),
        ({**LOST}, True),
        ({**FAILED, "is_going": True}, None),
        ({**LOST, "is_going": True}, True),  # nobody there would end it
        ({"last_rank": 1, "silent": 60.0}, None),
        ({"last_rank": 1, "silent": 60.1}, False),
        ({"last_rank": 1, "silent": 60.1, "is_going": True}, None),
        ({"last_rank": 0, "silent": 60.1}, False),
        ({"last_rank": -1, "silent": 999.0}, None),
    ],
)
def test_a_pod_of_a_place_is_kept_or_replaced(parts: dict[str, Any], expected: bool | None) -> None:
    assert deleted(member(1, **parts)) is expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"agent": report("ready")}, False),
        ({"agent": report("running", 1, "0-2")}, None),  # it trains, until the next start
        ({"agent": report("running", 2, "0-2")}, False),
        ({"agent": report("running", 1, "0-2"), **FAILED}, False),
        ({"is_going": True}, None),
        ({"group": "other", "agent": report("running", 1, "0-2")}, False),
    ],
)
def test_a_pod_too_many_goes_unless_it_trains(parts: dict[str, Any], expected: bool | None) -> None:
    assert deleted(member(7, **parts)) is expected


def test_every_place_has_a_pod() -> None:
    made = job(replicas=3, spares=1)
    there = [member(1, report()), member(3, runs=False)]
    assert done(decide(seen(made, *there)), CreatePod) == [CreatePod("pod", 0), CreatePod("pod", 2)]
    going = member(0, is_going=True)
    assert done(decide(seen(made, going, *there)), CreatePod) == [CreatePod("pod", 2)]


# --- ranks ---


def ranks(*members: Member, replicas: int = 2) -> tuple[dict[int, int], tuple[int, ...], list[int]]:
    """Index by rank, missing ranks, and the indices of those that are waited for."""
    made = job(replicas=replicas)
    found = ranking_of(seen(made, *members), groups_of(made), "0-2")
    waiting = [one.index for one in found.waiting]
    return {rank: one.index for rank, one in found.members.items()}, found.missing, waiting


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([], ({}, (0, 1), [])),
        ([member(0, report()), member(1, report())], ({0: 0, 1: 1}, (), [])),
        ([member(5, report()), member(3, report())], ({0: 3, 1: 5}, (), [])),
        # Who had a rank keeps it, and waits where its agent is not ready.
        ([member(0, report()), member(1, report("ready", 0))], ({0: 1, 1: 0}, (), [])),
        ([member(0, report("init", 1)), member(1, report())], ({0: 1, 1: 0}, (), [0])),
        # Who has none waits for one until it is ready.
        ([member(0, report()), member(1, report("init"))], ({0: 0}, (1,), [])),
        ([member(0, report()), member(1)], ({0: 0}, (1,), [])),
        # A rank outside of the job's counts for nothing.
        ([member(0, report("ready", 9)), member(1, report("ready", 2))], ({0: 0, 1: 1}, (), [])),
        # Who is lost or going has no rank.
        ([member(0, report("ready", 0), **FAILED), member(1, report())], ({0: 1}, (1,), [])),
        ([member(0, report("ready", 0), is_going=True)], ({}, (0, 1), [])),
        # Of two with one rank the later one has it, and the other may have the next.
        ([member(0, report("ready", 0)), member(1, report("ready", 0))], ({0: 1, 1: 0}, (), [])),
    ],
)
def test_who_has_which_rank(members: list[Member], expected: Any) -> None:
    assert ranks(*members) == expected


@pytest.mark.parametrize(
    ("agent", "available"),
    [
        (report("ready"), True),
        (report("running", 0, "0-2"), True),
        (report("completed", 0, "0-2"), True),
        (report("running", 0, "1-2"), False),
        (report("completed", 0, ""), False),
        (report("faulted", 0, "0-2"), False),
        (None, False),
    ],
)
def test_who_can_be_started_or_is_already(agent: Any, available: bool) -> None:
    assert is_available(member(0, agent), "0-2") is available


@pytest.mark.parametrize(
    ("agent", "stops"),
    [
        (report("running", 0, "9-2"), True),
        (report("running", 0, "0-2"), False),
        (report("completed", 0, "9-2"), True),
        (report("stopping", 0, "9-2"), False),
        (report("ready", 0), False),
        (report("init"), False),
    ],
)
def test_what_runs_from_before_is_stopped_before_a_start(agent: Any, stops: bool) -> None:
    plan = decide(seen(job(replicas=2), member(0, agent), member(1, report())))
    assert [one.member.index for one in done(plan, StopAgent)] == ([0] if stops else [])
