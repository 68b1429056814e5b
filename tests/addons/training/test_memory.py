"""What a job remembers when its pods and its operator are gone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.training.builders import job, member, policy, report, running, seen, started
from tiphys.addons.training.actions import CreatePod, StartAgent
from tiphys.addons.training.deciding import decide
from tiphys.addons.training.memory import (
    CHECKPOINTS,
    FAULTY_NODES,
    checkpoints_of,
    faulty_nodes_after,
    faulty_nodes_of,
    repeat_offenders,
    written,
)
from tiphys.addons.training.observation import Member
from tiphys.addons.training.protocol import read_status
from tiphys.addons.training.types import HyperPodPyTorchJob


def checkpoint(step: int) -> dict[str, Any]:
    return {"model": {"progressCount": step, "progressData": f"/checkpoints/{step}"}}


def trained_to(*steps: int) -> list[Member]:
    """Pods that run, each with its last checkpoint."""
    return [
        member(rank, report("running", rank, "0-2", progress=checkpoint(step)))
        for rank, step in enumerate(steps)
    ]


def remembering(made: HyperPodPyTorchJob, *members: Member) -> HyperPodPyTorchJob:
    """The job after it was looked at, as the operator writes it."""
    plan = decide(seen(made, *members))
    made.status = plan.status
    made.metadata.annotations |= plan.annotations
    return made


def test_the_newest_checkpoint_that_all_ranks_have_is_remembered() -> None:
    made = remembering(started(job(replicas=2)), *trained_to(10, 5))
    assert checkpoints_of(made) == checkpoint(5)
    assert checkpoints_of(remembering(made, *trained_to(10, 10))) == checkpoint(10)


def test_what_is_known_already_is_not_written_again() -> None:
    made = remembering(started(job(replicas=2)), *trained_to(5, 5))
    assert not decide(seen(made, *trained_to(5, 10))).annotations
    assert not decide(seen(started(job(replicas=2)), *running(2, "0-2"))).annotations


def test_a_rank_that_is_silent_may_have_less_than_the_others() -> None:
    made = remembering(started(job(replicas=2)), *trained_to(5, 5))
    silent = member(1, None, silent=3.0, last_rank=1)
    assert checkpoints_of(remembering(made, trained_to(10)[0], silent)) == checkpoint(5)


def test_new_pods_are_told_what_the_old_ones_had() -> None:
    made = remembering(started(job(replicas=2)), *trained_to(15, 15))
    plan = decide(seen(made))  # nobody is left, and the operator is a new one
    made.status = plan.status
    plan = decide(seen(made, member(0, report()), member(1, report())))
    told = [one.body["progress"] for one in plan.actions if isinstance(one, StartAgent)]
    assert told == [checkpoint(15), checkpoint(15)]


def test_what_somebody_wrote_into_the_annotations_does_no_harm() -> None:
    made = started(job(replicas=2, **policy(maxNumRepeatOffendersToAvoid=1)))
    made.metadata.annotations = {CHECKPOINTS: "[1", FAULTY_NODES: '{"a": "often"}'}
    assert checkpoints_of(remembering(made, *trained_to(5, 5))) == checkpoint(5)
    assert faulty_nodes_of(made) == {}


@pytest.mark.parametrize(
    "entry",
    ["x", {"progressCount": "9"}, {"progressCount": -1}, {"progressCount": 1, "progressData": 7}],
)
def test_what_is_no_checkpoint_is_not_handed_on(entry: Any) -> None:
    answer = {"status": "running", "progress": {"bad": entry, **checkpoint(3)}}
    assert read_status(written(answer).encode()).progress == checkpoint(3)


# --- nodes ---


def fault_on(made: HyperPodPyTorchJob, node: str) -> None:
    counts = faulty_nodes_after(made, [node])
    made.metadata.annotations[FAULTY_NODES] = written(counts)


def test_repeat_offenders_are_those_of_the_whole_history() -> None:
    made = job()
    for node in ("a", "b", "b", "c", "a", "d", "a"):
        fault_on(made, node)
    assert repeat_offenders(made, 2) == ("a", "b")
    assert repeat_offenders(made, 3) == ("a", "b", "d"), "of equal ones the latest"


def test_the_history_has_an_end() -> None:
    made = job()
    for node in (*("often",) * 3, *(f"node-{number}" for number in range(200))):
        fault_on(made, node)
    counts = faulty_nodes_of(made)
    assert len(counts) == 64 and counts["often"] == 3 and "node-199" in counts


def test_new_pods_stay_away_from_who_failed_before_the_last_fault() -> None:
    limits = policy(numRestartBeforeFullJobRestart=0, maxNumRepeatOffendersToAvoid=1)
    made = started(job(replicas=2, **limits))
    for node in ("node-9", "node-9"):
        fault_on(made, node)
    crashed = member(1, report("faulted", 1, "0-2"))
    made = remembering(made, running(1, "0-2")[0], crashed)
    assert faulty_nodes_of(made) == {"node-9": 2, "node-1": 1}
    created = [one for one in decide(seen(made)).actions if isinstance(one, CreatePod)]
    assert [one.avoided_nodes for one in created] == [("node-9",)] * 2
