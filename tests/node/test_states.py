"""What a runtime shows of pods, compared."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.node.builders import container, state
from tiphys.node.states import EXITED, PodIdentity, PodState, SandboxState, Usage


def not_ready() -> PodState:
    shown = state(container())
    assert shown.sandbox is not None
    shown.sandbox.ready = False
    return shown


def other_sandbox() -> PodState:
    shown = state(container())
    shown.sandbox = SandboxState("t", 1, True)
    return shown


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (lambda: state(container()), False),
        (lambda: state(container(what=EXITED)), True),
        (lambda: state(container(attempt=1)), True),
        (lambda: state(container(), container("d")), True),
        (lambda: state(), True),
        (not_ready, True),
        (other_sandbox, True),
        (lambda: PodState("u", containers={"c": container()}), True),
        (lambda: None, True),
    ],
)
def test_a_pod_differs_in_its_containers_or_its_sandbox(
    other: Callable[[], PodState | None], differs: bool
) -> None:
    assert state(container()).differs_from(other()) is differs


def test_a_pod_that_has_nothing_yet_differs_in_containers_alone() -> None:
    assert not PodState("u").differs_from(None)
    assert not PodState("u").differs_from(state())
    assert PodState("u").differs_from(state(container()))


def test_attempts_move_back_when_a_newer_one_comes() -> None:
    shown = PodState("u")
    for attempt in range(4):
        shown.add(container(attempt=attempt))
    assert shown.containers["c"].attempt == 3 and shown.previous["c"].attempt == 2


def test_only_what_runs_is_running() -> None:
    shown = state(container("a"), container("b", EXITED), container("c", "created"))
    assert [one.name for one in shown.running()] == ["a"]


def test_names_of_pods_are_shown_as_upstream_shows_them() -> None:
    assert str(PodIdentity("ns", "p", "u")) == "p_ns(u)"


def test_usage_falls_back_on_the_working_set() -> None:
    assert Usage(cpu=1, working_set=2).counts() == (1, 2, 2, 0, 0, 0)
    assert Usage(working_set=2, usage=3).counts()[2] == 3
