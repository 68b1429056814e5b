"""The status of one container."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import container, observation, records, state
from tiphys.api import core_v1
from tiphys.node.containers.records import WaitingReason
from tiphys.node.states import CREATED, EXITED, PodState
from tiphys.node.status.containerstatus import container_status

PULL = WaitingReason("ErrImagePull", "no")
CRASH = WaitingReason("CrashLoopBackOff", "later")


def status(
    shown: PodState, waiting: WaitingReason | None = None, ready: str = "", **more: Any
) -> core_v1.ContainerStatus:
    one = pod()
    known = records(ready, started=ready)
    known["c"].waiting = waiting
    return container_status(observation(one, shown, known, **more), one.spec.containers[0], "Why")


def waiting_reason(of: core_v1.ContainerStatus) -> str:
    return of.state.waiting.reason if of.state.waiting is not None else ""


@pytest.mark.parametrize(
    ("what", "waiting", "reason"),
    [
        (None, None, "Why"),
        (None, PULL, "ErrImagePull"),
        (CREATED, None, "ContainerCreating"),
        (CREATED, PULL, "ErrImagePull"),
        (EXITED, CRASH, "CrashLoopBackOff"),
        (EXITED, None, ""),
        ("running", PULL, ""),
    ],
)
def test_why_a_container_waits(what: str | None, waiting: WaitingReason, reason: str) -> None:
    shown = state(container(what=what)) if what else PodState("u")
    assert waiting_reason(status(shown, waiting)) == reason


@pytest.mark.parametrize(
    ("code", "told", "reason"),
    [
        (0, "", "Completed"),
        (1, "", "Error"),
        (0, "Unknown", "Completed"),
        (137, "OOMKilled", "OOMKilled"),
    ],
)
def test_why_a_container_ended(code: int, told: str, reason: str) -> None:
    ended = container(what=EXITED, code=code, finished=3.0)
    ended.reason, ended.message = told, "bye"
    terminated = status(state(ended)).state.terminated
    assert terminated is not None
    assert (terminated.reason, terminated.exit_code, terminated.message) == (reason, code, "bye")
    assert (terminated.started_at, terminated.finished_at) == (
        "1970-01-01T00:00:01Z",
        "1970-01-01T00:00:03Z",
    )


def test_the_last_state_is_the_attempt_before() -> None:
    shown = state(container(attempt=1))
    shown.previous["c"] = container(what=EXITED, code=7)
    shown_status = status(shown)
    assert shown_status.restart_count == 1
    assert shown_status.last_state.terminated is not None
    assert shown_status.last_state.terminated.exit_code == 7


def test_the_last_state_of_a_container_that_waits_for_its_restart_is_its_end() -> None:
    shown = state(container(what=EXITED, code=8, attempt=1))
    shown.previous["c"] = container(what=EXITED, code=7)
    last = status(shown, CRASH).last_state.terminated
    assert last is not None and last.exit_code == 8


def test_an_attempt_before_that_never_ended_is_no_last_state() -> None:
    shown = state(container(attempt=1))
    shown.previous["c"] = container(what=CREATED)
    assert status(shown).last_state.terminated is None


@pytest.mark.parametrize(
    ("ready", "is_final", "expected"), [("c", False, True), ("c", True, False), ("", False, False)]
)
def test_nothing_is_ready_in_the_final_status(ready: str, is_final: bool, expected: bool) -> None:
    assert status(state(container()), ready=ready, is_final=is_final).ready is expected


def test_images_are_those_of_the_runtime() -> None:
    running = container()
    running.image, running.image_ref = "docker.io/library/img:latest", "sha256:1"
    shown = status(state(running))
    assert (shown.image, shown.image_id) == ("docker.io/library/img:latest", "sha256:1")
    assert status(PodState("u")).image == "img"
