"""The conditions of a pod."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import container, lasting_pod, records, state, status_of
from tiphys.api import core_v1
from tiphys.node.resources.admission import Rejection
from tiphys.node.resources.resize import Resources
from tiphys.node.states import EXITED, ContainerState, PodState

INIT = {"name": "a", "image": "i"}
NOT_READY = "ContainersNotReady"


def held(status: core_v1.PodStatus, kind: str) -> tuple[str, str, str]:
    """(status, reason, message) of a condition."""
    [condition] = [one for one in status.conditions if one.type == kind]
    return condition.status, condition.reason, condition.message


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        ("side c", ("True", "", "")),
        ("side", ("False", NOT_READY, "containers with unready status: [c]")),
        ("c", ("False", NOT_READY, "containers with unready status: [side]")),
        ("", ("False", NOT_READY, "containers with unready status: [side c]")),
    ],
)
def test_a_pod_is_ready_when_its_containers_and_sidecars_are(
    ready: str, expected: tuple[str, str, str]
) -> None:
    shown = state(container("side"), container("c"))
    status = status_of(lasting_pod("side"), shown, records(ready, started="side c"))
    assert held(status, "Ready") == held(status, "ContainersReady") == expected


@pytest.mark.parametrize(
    ("code", "phase", "reason"), [(0, "Succeeded", "PodCompleted"), (3, "Failed", "PodFailed")]
)
def test_a_pod_that_has_ended_is_not_ready(code: int, phase: str, reason: str) -> None:
    shown = state(container(what=EXITED, code=code))
    status = status_of(pod(restartPolicy="Never"), shown)
    assert status.phase == phase
    assert held(status, "Ready") == held(status, "ContainersReady") == ("False", reason, "")


def gated(*gates: tuple[str, str]) -> core_v1.Pod:
    """A pod with a readiness gate for each condition, whose status is "" if it does not exist."""
    one = pod(readinessGates=[{"conditionType": name} for name, _ in gates])
    one.status.conditions = [
        core_v1.PodCondition(type=name, status=value) for name, value in gates if value
    ]
    return one


ABSENT = 'corresponding condition of pod readiness gate "a" does not exist.'
CLOSED = 'the status of pod readiness gate "b" is not "True", but False'


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        ([("a", "True")], ("True", "", "")),
        ([("a", "")], ("False", "ReadinessGatesNotReady", ABSENT)),
        ([("b", "False")], ("False", "ReadinessGatesNotReady", CLOSED)),
        ([("a", ""), ("b", "False")], ("False", "ReadinessGatesNotReady", f"{ABSENT}, {CLOSED}")),
    ],
)
def test_readiness_gates_say_what_keeps_them_closed(
    gates: list[tuple[str, str]], expected: tuple[str, str, str]
) -> None:
    status = status_of(gated(*gates), state(container()), records("c", "c"))
    assert held(status, "Ready") == expected
    assert held(status, "ContainersReady")[0] == "True"


def test_unready_containers_count_before_readiness_gates() -> None:
    status = status_of(gated(("a", "")), state(container()))
    assert held(status, "Ready")[1] == NOT_READY


@pytest.mark.parametrize(
    ("shown", "started", "expected"),
    [
        (
            [],
            "",
            ("False", "ContainersNotInitialized", "containers with incomplete status: [a side]"),
        ),
        (
            [container("a", EXITED, 1)],
            "",
            ("False", "ContainersNotInitialized", "containers with incomplete status: [a side]"),
        ),
        (
            [container("a", EXITED), container("side")],
            "",
            ("False", "ContainersNotInitialized", "containers with incomplete status: [side]"),
        ),
        ([container("a", EXITED), container("side")], "side", ("True", "", "")),
        ([container("c")], "", ("True", "", "")),
    ],
)
def test_a_pod_is_initialized_after_its_init_containers(
    shown: list[ContainerState], started: str, expected: tuple[str, str, str]
) -> None:
    side = {"name": "side", "image": "i", "restartPolicy": "Always"}
    one = pod(initContainers=[INIT, side], restartPolicy="Always")
    assert held(status_of(one, state(*shown), records(started=started)), "Initialized") == expected


def test_what_has_completed_is_initialized_although_a_sidecar_failed() -> None:
    side = {"name": "side", "image": "i", "restartPolicy": "Always"}
    one = pod(restartPolicy="Never", initContainers=[side])
    status = status_of(one, state(container("c", EXITED), container("side", EXITED, 137)))
    assert held(status, "Initialized") == ("True", "PodCompleted", "")


@pytest.mark.parametrize(("ready", "value"), [(True, "True"), (False, "False")])
def test_a_ready_sandbox_lets_containers_start(ready: bool, value: str) -> None:
    shown = state()
    assert shown.sandbox is not None
    shown.sandbox.ready = ready
    assert held(status_of(pod(), shown), "PodReadyToStartContainers")[0] == value
    assert held(status_of(pod(), PodState("u")), "PodReadyToStartContainers")[0] == "False"


@pytest.mark.parametrize(
    ("before", "since"),
    [
        (("Ready", "True", "2020-01-01T00:00:00Z"), "2020-01-01T00:00:00Z"),
        (("Ready", "False", "2020-01-01T00:00:00Z"), "1970-01-01T00:00:05Z"),
        (("Ready", "True", ""), "1970-01-01T00:00:05Z"),
        (("Other", "True", "2020-01-01T00:00:00Z"), "1970-01-01T00:00:05Z"),
    ],
)
def test_a_transition_time_changes_with_the_value_alone(
    before: tuple[str, str, str], since: str
) -> None:
    one = pod()
    one.metadata.generation = 7
    kind, value, time = before
    one.status.conditions = [
        core_v1.PodCondition(type=kind, status=value, last_transition_time=time)
    ]
    status = status_of(one, state(container()), records("c", "c"), now=5.0)
    [ready] = [condition for condition in status.conditions if condition.type == "Ready"]
    assert (ready.last_transition_time, ready.observed_generation) == (since, 7)


def test_a_resize_that_waits_is_a_condition() -> None:
    one: Any = pod()
    known = records()
    resources = Resources(one, known)
    resources.pending = Rejection("Deferred", "no room")
    status = status_of(one, state(container()), known, resources=resources)
    assert held(status, "PodResizePending") == ("True", "Deferred", "no room")
