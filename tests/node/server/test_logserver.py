"""Logs as kubectl asks for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import container, state
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.node.containers.logs import LogOptions
from tiphys.node.server.logserver import ContainerLog, attempt_of, log_options, waiting_reason
from tiphys.node.states import EXITED, PodIdentity, PodState


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({}, LogOptions()),
        ({"follow": "true", "timestamps": "1"}, LogOptions(follow=True, timestamps=True)),
        ({"tailLines": "0", "limitBytes": "9"}, LogOptions(tail=0, limit=9)),
        ({"sinceSeconds": "10"}, LogOptions(since=90.0)),
        ({"sinceTime": "1970-01-01T00:00:07Z"}, LogOptions(since=7.0)),
        ({"sinceTime": "1970-01-01T00:00:07Z", "sinceSeconds": "1"}, LogOptions(since=7.0)),
    ],
)
def test_options(query: dict[str, str], options: LogOptions) -> None:
    assert log_options(query, now=100.0) == options


@pytest.mark.parametrize(("previous", "attempt"), [("", 1), ("false", 1), ("true", 0)])
def test_the_attempt_that_is_asked_for(previous: str, attempt: int) -> None:
    shown = state(container(attempt=1))
    shown.previous["c"] = container(what=EXITED)
    wanted = attempt_of(shown, "c", {"previous": previous} if previous else {})
    assert wanted is not None and wanted.attempt == attempt


def test_why_there_is_no_log() -> None:
    one = pod()
    assert waiting_reason(one, "c") == "ContainerCreating"
    waiting = {"name": "c", "state": {"waiting": {"reason": "ErrImagePull"}}}
    one.status = from_builtins({"containerStatuses": [waiting]}, core_v1.PodStatus)
    assert waiting_reason(one, "c") == "ErrImagePull"
    assert waiting_reason(one, "d") == "ContainerCreating"


class Node:
    """Shows one pod."""

    def __init__(self, shown: PodState | None) -> None:
        self.shown = shown

    def find(self, namespace: str, name: str) -> Any:
        return (pod(), self.shown) if self.shown is not None else None


@pytest.mark.parametrize(
    ("shown", "written"),
    [
        (state(container()), True),
        (state(container(what=EXITED)), False),
        (state(container(attempt=1)), False),
        (state(), False),
        (None, False),
    ],
)
def test_a_log_is_written_while_its_attempt_runs(shown: PodState | None, written: bool) -> None:
    node: Any = Node(shown)
    assert ContainerLog(node, PodIdentity("default", "p", "u"), container()).is_written() is written
