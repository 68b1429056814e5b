"""A pod's status, from what the runtime shows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import container, lasting_pod, records, state, status_of
from tiphys.api import core_v1
from tiphys.apiserver.resources.pods.columns import pod_reason
from tiphys.node.containers.records import WaitingReason
from tiphys.node.resources.admission import Rejection
from tiphys.node.states import CREATED, EXITED, ContainerState, PodState
from tiphys.node.status.podstatus import phase, settle

A, B = {"name": "a", "image": "i"}, {"name": "b", "image": "i"}
LOST = "ContainerStatusUnknown"


def pod_of(policy: str, before: str = "", **spec: Any) -> core_v1.Pod:
    """A pod of two containers whose status has a phase."""
    one = pod(restartPolicy=policy, containers=[A, B], **spec)
    one.status.phase = before
    return one


RUNS, DONE, FAILED, MADE = (
    {"what": "running"},
    {"what": EXITED},
    {"what": EXITED, "code": 1},
    {"what": CREATED},
)


@pytest.mark.parametrize(
    ("policy", "before", "a", "b", "expected"),
    [
        ("Always", "", None, None, "Pending"),
        ("Always", "Running", None, None, "Pending"),
        ("Always", "Pending", RUNS, None, "Pending"),
        ("Always", "Running", RUNS, None, "Running"),
        ("Always", "Pending", RUNS, MADE, "Pending"),
        ("Always", "Running", RUNS, MADE, "Running"),
        ("Always", "", RUNS, RUNS, "Running"),
        ("Always", "Running", DONE, FAILED, "Running"),
        ("OnFailure", "Running", DONE, FAILED, "Running"),
        ("OnFailure", "Running", DONE, DONE, "Succeeded"),
        ("Never", "Running", DONE, RUNS, "Running"),
        ("Never", "Running", DONE, FAILED, "Failed"),
        ("Never", "Running", DONE, DONE, "Succeeded"),
    ],
)
def test_phases(
    policy: str, before: str, a: dict[str, Any], b: dict[str, Any], expected: str
) -> None:
    shown = [container(name, **what) for name, what in (("a", a), ("b", b)) if what]
    assert phase(pod_of(policy, before), state(*shown)) == expected


@pytest.mark.parametrize(
    ("policy", "own", "code", "expected"),
    [
        ("Never", {}, 1, "Failed"),
        ("Never", {}, 0, "Pending"),
        ("OnFailure", {}, 1, "Pending"),
        ("Always", {}, 1, "Pending"),
        ("Always", {"restartPolicy": "Never"}, 1, "Failed"),
        ("Never", {"restartPolicy": "Always"}, 1, "Pending"),
    ],
)
def test_an_init_container_that_fails_for_good_fails_the_pod(
    policy: str, own: dict[str, str], code: int, expected: str
) -> None:
    one = pod_of(policy, initContainers=[{"name": "init", "image": "i", **own}])
    assert phase(one, state(container("init", EXITED, code))) == expected


def test_a_running_pod() -> None:
    one = pod(restartPolicy="Never")
    one.metadata.generation = 3
    status = status_of(one, state(container()), records("c", "c"))
    assert (status.phase, status.pod_ip, status.host_ip) == ("Running", "10.0.0.9", "1.2.3.4")
    assert [ip.ip for ip in status.pod_ips] == ["10.0.0.9"]
    assert (status.start_time, status.observed_generation) == ("1970-01-01T00:00:05Z", 3)
    [main] = status.container_statuses
    assert (main.ready, main.started, main.container_id) == (True, True, "containerd://id-c-0")


def test_a_start_time_stays() -> None:
    one = pod()
    one.status.start_time = "2020-01-01T00:00:00Z"
    assert status_of(one, state()).start_time == "2020-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("host_network", "sandbox", "known", "expected"),
    [
        (False, "10.0.0.9", "", "10.0.0.9"),
        (False, "", "10.0.0.8", "10.0.0.8"),
        (False, "", "", ""),
        (True, "10.0.0.9", "", "1.2.3.4"),
    ],
)
def test_addresses(host_network: bool, sandbox: str, known: str, expected: str) -> None:
    one = pod(hostNetwork=host_network)
    one.status.pod_ip = known
    shown = state()
    assert shown.sandbox is not None
    shown.sandbox.ip = sandbox
    assert status_of(one, shown).pod_ip == expected


@pytest.mark.parametrize(("code", "expected"), [(0, "Succeeded"), (3, "Failed")])
def test_containers_of_a_pod_that_has_ended_are_not_ready(code: int, expected: str) -> None:
    two = pod_of("Never")
    status = status_of(two, state(container("a", EXITED, code), container("b", EXITED)))
    assert (status.phase, [one.ready for one in status.container_statuses]) == (
        expected,
        [False, False],
    )


def test_a_node_fails_a_pod_whatever_its_containers_do() -> None:
    evicted = Rejection("Evicted", "too much")
    status = status_of(pod(), state(container()), records("c", "c"), failure=evicted)
    assert (status.phase, status.reason, status.message) == ("Failed", "Evicted", "too much")
    assert not status.container_statuses[0].ready


@pytest.mark.parametrize("reason", ["DeadlineExceeded", "Evicted"])
def test_an_earlier_failure_stays(reason: str) -> None:
    one = pod()
    one.status.reason, one.status.message = reason, "why"
    status = status_of(one, state(container()))
    assert (status.phase, status.reason, status.message) == ("Failed", reason, "why")


def test_other_reasons_do_not_fail_a_pod() -> None:
    one = pod()
    one.status.reason = "Other"
    assert status_of(one, state(container())).phase == "Running"


@pytest.mark.parametrize(("code", "ready"), [(0, True), (1, False)])
def test_an_init_container_that_succeeded_is_ready(code: int, ready: bool) -> None:
    one = pod(initContainers=[A])
    [init] = status_of(one, state(container("a", EXITED, code))).init_container_statuses
    assert init.ready is ready


def test_a_sidecar_that_ended_is_not_ready() -> None:
    [side] = status_of(lasting_pod("s"), state(container("s", EXITED))).init_container_statuses
    assert not side.ready


def test_a_pod_whose_last_container_is_replaced_goes_on() -> None:
    one = pod(restartPolicy="Never")
    known = records()
    for is_replaced, expected in ((False, "Failed"), (True, "Running")):
        known["c"].is_replaced = is_replaced
        assert status_of(one, state(container(what=EXITED, code=137)), known).phase == expected


@pytest.mark.parametrize(
    ("spec", "reason"), [({}, "ContainerCreating"), ({"initContainers": [A]}, "PodInitializing")]
)
def test_why_a_container_waits_of_which_nothing_is_known(spec: dict[str, Any], reason: str) -> None:
    [main] = status_of(pod(**spec), state()).container_statuses
    assert main.state.waiting is not None and main.state.waiting.reason == reason


def test_restarts_are_remembered_while_the_runtime_shows_nothing() -> None:
    one = pod()
    one.status.container_statuses = [core_v1.ContainerStatus(name="c", restart_count=4)]
    assert status_of(one, PodState("u")).container_statuses[0].restart_count == 4
    shown = state(container(attempt=5))
    assert status_of(one, shown).container_statuses[0].restart_count == 5


def test_termination_messages_of_a_pod_keep_within_a_bound() -> None:
    containers = [{"name": f"c{n}", "image": "i"} for n in range(6)]
    many = pod(containers=containers, restartPolicy="Never")
    ended = [container(f"c{n}", EXITED) for n in range(6)]
    for one in ended:
        one.message = "ü" * 2048
    status = status_of(many, state(*ended))
    sizes = set()
    for main in status.container_statuses:
        assert main.state.terminated is not None
        sizes.add(len(main.state.terminated.message.encode()))
    assert sizes == {2048}


def test_a_completed_pod_is_shown_as_completed_although_a_sidecar_failed() -> None:
    one = lasting_pod("side")
    one.spec.restart_policy = "Never"
    one.status = status_of(one, state(container("c", EXITED), container("side", EXITED, 137)))
    assert pod_reason(one) == "Completed"


# --- the final status ---


def settled(one: core_v1.Pod, *shown: ContainerState, started: str = "") -> core_v1.PodStatus:
    status = status_of(one, state(*shown), records(started=started), is_final=True)
    settle(one, status)
    return status


def lost(statuses: list[core_v1.ContainerStatus]) -> list[bool]:
    """Which of the containers are reported as lost."""
    return [
        one.state.terminated is not None and one.state.terminated.reason == LOST for one in statuses
    ]


def test_a_pod_that_ends_before_its_containers_ran_has_failed() -> None:
    status = settled(pod(restartPolicy="Never"), container(what=CREATED))
    assert status.phase == "Failed" and lost(status.container_statuses) == [True]
    assert status.container_statuses[0].state.terminated is not None
    assert status.container_statuses[0].state.terminated.exit_code == 137


@pytest.mark.parametrize(
    ("shown", "lost_inits", "lost_mains"),
    [
        ([], [True, False], [False]),
        ([container("a", EXITED)], [False, False], [False]),
        ([container("a", EXITED), container("b")], [False, True], [False]),
        ([container("a", EXITED), container("b", EXITED, 1)], [False, False], [False]),
        ([container("a", EXITED), container("b", EXITED)], [False, False], [True]),
        ([container("a", EXITED), container("c")], [False, False], [True]),
    ],
)
def test_containers_that_were_created_and_not_seen_to_end_are_lost(
    shown: list[ContainerState], lost_inits: list[bool], lost_mains: list[bool]
) -> None:
    status = settled(pod(initContainers=[A, B], restartPolicy="Always"), *shown)
    assert status.phase == "Failed"
    assert lost(status.init_container_statuses) == lost_inits
    assert lost(status.container_statuses) == lost_mains


def test_a_container_that_waits_for_its_restart_was_created() -> None:
    known = records()
    known["c"].waiting = WaitingReason("CrashLoopBackOff", "")
    one = pod(initContainers=[A], restartPolicy="Always")
    status = status_of(one, state(container("c", EXITED, 1)), known, is_final=True)
    settle(one, status)
    assert lost(status.container_statuses) == [True]


@pytest.mark.parametrize(("started", "lost_mains"), [("side", [True]), ("", [False])])
def test_main_containers_wait_for_a_sidecar_to_start(started: str, lost_mains: list[bool]) -> None:
    status = settled(lasting_pod("side"), container("side"), started=started)
    assert lost(status.container_statuses) == lost_mains


def test_a_pod_whose_containers_succeeded_has_succeeded() -> None:
    assert settled(pod(restartPolicy="Always"), container(what=EXITED)).phase == "Succeeded"
    assert settled(pod(restartPolicy="Always"), container(what=EXITED, code=1)).phase == "Failed"


def test_a_settled_phase_stays() -> None:
    one = pod(restartPolicy="Never")
    status = settled(one, container(what=EXITED))
    status.container_statuses[0].state = core_v1.ContainerState()
    settle(one, status)
    assert status.phase == "Succeeded" and lost(status.container_statuses) == [False]
