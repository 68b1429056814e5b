"""What agents are told, and how much of what they say is kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.addons.training.builders import report
from tiphys.addons.training.protocol import (
    common_progress,
    count_of,
    read_status,
    reason_of,
    start_body,
    stop_body,
)


def progress(**entries: Any) -> dict[str, Any]:
    """What is kept of checkpoints that an agent names."""
    return read_status(msgspec.json.encode({"status": "ready", "progress": entries})).progress


def entry(count: Any = 5, path: Any = "/c") -> dict[str, Any]:
    return {"progressCount": count, "progressData": path}


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        (entry(), True),
        (entry(0), True),
        (entry(path=None), True),
        (entry(path="p" * 1024), True),
        (entry(path="p" * 1025), False),
        (entry(path=7), False),
        (entry(-1), False),
        (entry("5"), False),
        (entry(2**63 - 1), True),
        (entry(2**63), False),
        ({"progressCount": 5}, True),
        ({"progressData": "/c"}, False),
        ([], False),
        (7, False),
    ],
)
def test_a_checkpoint_is_a_number_of_steps_and_a_path(given: Any, is_kept: bool) -> None:
    assert bool(progress(p=given)) is is_kept


def test_prefixes_are_short_and_few() -> None:
    assert list(progress(**{"p" * 256: entry(), "q" * 257: entry()})) == ["p" * 256]
    many = progress(**{f"{number:03}": entry() for number in range(70)})
    assert list(many) == [f"{number:03}" for number in range(64)]


def test_more_than_is_known_of_a_checkpoint_is_left_out() -> None:
    assert progress(p={**entry(), "more": "x" * 9999}) == {"p": entry()}


@pytest.mark.parametrize(
    ("given", "count"),
    [(entry(3), 3), (entry(-1), -1), (entry(1.5), -1), ({}, -1), (None, -1), ([3], -1)],
)
def test_what_is_no_checkpoint_has_no_steps(given: Any, count: int) -> None:
    assert count_of(given) == count


def test_all_ranks_have_the_oldest_of_their_last_checkpoints() -> None:
    reports = [
        report(progress={"a": entry(5, "/5"), "b": entry(9)}),
        report(progress={"a": entry(3, "/3")}),
        report(progress={"a": entry(3, "/other")}),
    ]
    assert common_progress(reports) == {"a": entry(3, "/3"), "b": entry(9)}
    assert common_progress([]) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ""),
        ("WorkerCrash", "WorkerCrash"),
        ("Log_a rule: <x>", "Log_a_rule:_x"),
        ("_,:", ""),
        ("9th", "Agent_9th"),
        ("__9th__", "Agent_9th"),
        ("ä", ""),
    ],
)
def test_a_reason_is_one_that_conditions_may_have(text: str, reason: str) -> None:
    """meta/v1 Condition.reason begins with a letter, and has letters, digits, _ , and : alone."""
    assert reason_of(text) == reason


@pytest.mark.parametrize(
    ("body", "state", "rank"),
    [
        ({"status": "ready"}, "ready", -1),
        ({"status": "dancing"}, "other", -1),
        ({"status": "running", "assigned_rank": "7"}, "running", 7),
    ],
)
def test_a_word_that_is_new_is_some_other_state(
    body: dict[str, Any], state: str, rank: int
) -> None:
    said = read_status(msgspec.json.encode(body))
    assert (said.state.value, said.rank) == (state, rank)


def test_what_is_long_is_cut() -> None:
    body = {
        "status": "faulted",
        "ipversion": "e" * 99,
        "transitions": {"FAULTED": "t" * 99},
        "message": "m" * 1025,
    }
    said = read_status(msgspec.json.encode(body))
    assert (len(said.epoch), len(said.faulted_at), len(said.message)) == (64, 64, 1024)


def test_a_start_names_the_master_and_everybody() -> None:
    body = start_body(["10.0.0.1", "10.0.0.2"], 29500, 3, "3-2", [], {"p": entry()})
    assert body == {
        "nnodes": 2,
        "faultCount": 3,
        "master_addr": "10.0.0.1",
        "master_port": "29500",
        "ipVersion": "3-2",
        "rankIps": [{"rank": 0, "ip": "10.0.0.1"}, {"rank": 1, "ip": "10.0.0.2"}],
        "spare": False,
        "progress": {"p": entry()},
    }


@pytest.mark.parametrize(
    ("grace", "body"),
    [
        (0, {"restart_mode": "plr"}),
        (1, {"restart_mode": "plr", "is_graceful": True, "timeout": 1}),
    ],
)
def test_processes_may_save_what_they_have(grace: int, body: dict[str, Any]) -> None:
    assert stop_body(grace) == body
