"""What to do about a pod, from its spec and what the runtime shows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import actions, container, lasting_pod, records, starts, state
from tiphys.api import core_v1
from tiphys.node.containers.backoff import RestartBackoff
from tiphys.node.pod.lifecycle import deadline_exceeded
from tiphys.node.states import CREATED, EXITED, ContainerState, PodState

A, B = {"name": "a", "image": "i"}, {"name": "b", "image": "i"}
STAGED = {"initContainers": [A, B], "restartPolicy": "Always"}


def ended(name: str, code: int = 0, attempt: int = 0, sandbox: str = "s") -> ContainerState:
    one = container(name, EXITED, code, attempt)
    one.sandbox = sandbox
    return one


# --- sandboxes ---


def test_a_new_pod_needs_a_sandbox_then_its_containers() -> None:
    fresh = pod(restartPolicy="Always")
    computed = actions(fresh, PodState("u"))
    assert (computed.make_sandbox, computed.kill_pod, computed.start) == (True, False, [])
    computed = actions(fresh, state())
    assert (computed.make_sandbox, starts(computed)) == (False, [("c", 0)])


@pytest.mark.parametrize(
    ("what", "kill_pod"), [(EXITED, False), (CREATED, False), ("running", True)]
)
def test_what_runs_beside_a_broken_sandbox_is_ended_first(what: str, kill_pod: bool) -> None:
    shown = state(container(what=what))
    assert shown.sandbox is not None
    shown.sandbox.ready = False
    computed = actions(pod(restartPolicy="Always"), shown)
    assert (computed.make_sandbox, computed.kill_pod) == (True, kill_pod)


# --- init containers and sidecars ---


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([], [("a", 0)]),
        ([container("a")], []),
        ([container("a", CREATED)], [("a", 1)]),
        ([ended("a", 1)], [("a", 1)]),
        ([ended("a")], [("b", 0)]),
        ([ended("a"), container("b")], []),
        ([ended("a"), ended("b")], [("c", 0)]),
        ([ended("a"), ended("b"), container("c")], []),
    ],
)
def test_init_containers_run_one_after_the_other(
    shown: list[ContainerState], expected: list[tuple[str, int]]
) -> None:
    assert starts(actions(pod(**STAGED), state(*shown))) == expected


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_an_init_container_that_fails_for_good_ends_the_pod(policy: str) -> None:
    staged = pod(initContainers=[A], restartPolicy=policy)
    computed = actions(staged, state(ended("a", 1)))
    assert computed.finished is computed.kill_pod is (policy == "Never")


def test_init_containers_do_not_matter_once_a_main_one_was_created() -> None:
    staged = pod(initContainers=[A], restartPolicy="Always")
    computed = actions(staged, state(ended("a", 1), container("c")))
    assert starts(computed) == [] and not computed.finished


@pytest.mark.parametrize(
    ("shown", "started", "expected"),
    [
        ([], "", [("side", 0)]),
        ([container("side")], "", []),
        ([container("side")], "side", [("c", 0)]),
        ([ended("side")], "side", [("side", 1)]),
        ([container("side", CREATED)], "side", [("side", 1)]),
        # Once a main container was created, the others do not wait for a sidecar that restarts.
        ([ended("side"), ended("c", 1)], "", [("side", 1), ("c", 1)]),
    ],
)
def test_a_sidecar_must_have_started_before_the_next(
    shown: list[ContainerState], started: str, expected: list[tuple[str, int]]
) -> None:
    computed = actions(lasting_pod("side"), state(*shown), records(started=started))
    assert starts(computed) == expected


@pytest.mark.parametrize(
    ("policy", "own", "expected"),
    [
        ("Always", {}, [("a", 1)]),
        ("OnFailure", {}, [("a", 1)]),
        ("Never", {}, [("c", 1)]),
        ("Never", {"restartPolicy": "Always"}, [("a", 1)]),
    ],
)
def test_a_new_sandbox_repeats_init_containers_unless_they_never_restart(
    policy: str, own: dict[str, str], expected: list[tuple[str, int]]
) -> None:
    restarting = {"name": "c", "image": "i", "restartPolicy": "Always"}
    one = pod(initContainers=[{**A, **own}], containers=[restarting], restartPolicy=policy)
    shown = state(ended("a", sandbox="earlier"), ended("c", 137, sandbox="earlier"))
    assert starts(actions(one, shown)) == expected


def test_what_ran_again_in_the_new_sandbox_is_not_repeated() -> None:
    staged = pod(initContainers=[A], restartPolicy="Always")
    shown = state(ended("a", attempt=1), ended("c", 137, sandbox="earlier"))
    assert starts(actions(staged, shown)) == [("c", 1)]


def test_a_pod_that_has_completed_is_not_repeated_in_a_new_sandbox() -> None:
    staged = pod(initContainers=[A], restartPolicy="OnFailure")
    shown = state(ended("a", sandbox="earlier"), ended("c", sandbox="earlier"))
    assert actions(staged, shown).finished


# --- main and ephemeral containers ---


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policies(policy: str, code: int, again: bool) -> None:
    computed = actions(pod(restartPolicy=policy), state(container(what=EXITED, code=code)), now=99)
    assert starts(computed) == ([("c", 1)] if again else [])
    assert computed.finished is computed.kill_pod is (not again)


def test_a_pod_goes_on_while_one_of_its_containers_does() -> None:
    two = pod(containers=[A, B], restartPolicy="Never")
    computed = actions(two, state(ended("a"), container("b")))
    assert (computed.finished, starts(computed)) == (False, [])


def test_a_container_may_have_a_policy_of_its_own() -> None:
    own = {"name": "c", "image": "i", "restartPolicy": "OnFailure"}
    one = pod(restartPolicy="Never", containers=[own])
    assert starts(actions(one, state(ended("c", 1)))) == [("c", 1)]
    assert actions(one, state(ended("c"))).finished


def test_a_crash_loop_waits() -> None:
    one = pod(restartPolicy="Always")
    one.metadata.uid = "u"
    known = records()
    known["c"].restarts = RestartBackoff(delay=160.0, started_at=90.0)
    computed = actions(one, state(container(what=EXITED, code=1, finished=100.0)), known, now=110.0)
    reason, message = computed.waiting["c"]
    assert (reason, computed.start, computed.retry_after) == ("CrashLoopBackOff", [], 150.0)
    assert message == "back-off 2m40s restarting failed container=c pod=p_default(u)"


@pytest.mark.parametrize("probe", ["liveness", "startup"])
def test_a_container_whose_probe_failed_is_killed(probe: str) -> None:
    computed = actions(
        pod(restartPolicy="Always"), state(container()), records(failed={"c": probe})
    )
    [kill] = computed.kill
    assert kill.container.name == "c"
    assert kill.message == f"Container c failed {probe} probe, will be restarted"


@pytest.mark.parametrize("policy", ["Always", "Never"])
@pytest.mark.parametrize(("asked", "is_replaced"), [("img", False), ("", False), ("older", True)])
def test_a_container_is_replaced_when_its_pod_names_another_image(
    asked: str, is_replaced: bool, policy: str
) -> None:
    shown = container()
    shown.asked_image = asked
    computed = actions(pod(restartPolicy=policy), state(shown), records(failed={"c": "liveness"}))
    message = "Container c definition changed, will be restarted"
    replaced = [(kill.replaced, kill.message) for kill in computed.kill if kill.replaced]
    assert replaced == ([(True, message)] if is_replaced else [])
    assert len(computed.kill) == 1


def test_an_init_container_goes_on_though_its_pod_names_another_image() -> None:
    inits = [{"name": "a", "image": "i"}, {"name": "b", "image": "i", "restartPolicy": "Always"}]
    for first, replaced in (("a", []), ("b", ["b"])):
        shown = container(first)
        shown.asked_image = "older"
        one = pod(initContainers=[each for each in inits if each["name"] == first])
        assert [kill.container.name for kill in actions(one, state(shown)).kill] == replaced


def test_a_crash_loop_does_not_wait_for_another_image() -> None:
    known = records()
    known["c"].restarts = RestartBackoff(delay=160.0, started_at=90.0)
    last = container(what=EXITED, code=1, finished=100.0)
    last.asked_image = "older"
    computed = actions(pod(restartPolicy="Always"), state(last), known, now=101.0)
    assert starts(computed) == [("c", 1)] and not computed.waiting


def test_ephemeral_containers_start_once() -> None:
    one = pod(ephemeralContainers=[{"name": "e", "image": "i"}], restartPolicy="Always")
    assert starts(actions(one, state(container()))) == [("e", 0)]
    assert starts(actions(one, state(container(), ended("e", 1)))) == []


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_what_ended_to_be_resized_starts_at_once_whatever_its_policy(policy: str) -> None:
    shown = state(container(what=EXITED, finished=100.0))
    known = records(resized="c")
    known["c"].restarts = RestartBackoff(delay=300.0, started_at=99.0)
    computed = actions(pod(restartPolicy=policy), shown, known, now=100.0)
    assert starts(computed) == [("c", 1)] and not computed.finished


# --- the end ---


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_not_restarted(phase: str) -> None:
    one = pod(restartPolicy="Always")
    one.status.phase = phase
    computed = actions(one, PodState("u"))
    assert computed.finished and computed.kill_pod and not computed.make_sandbox


def limited(seconds: int, started: str = "1970-01-01T00:00:01Z") -> core_v1.Pod:
    one = pod(restartPolicy="Always", activeDeadlineSeconds=seconds)
    one.status.start_time = started
    return one


@pytest.mark.parametrize(
    ("one", "now", "exceeded"),
    [
        (limited(5), 5.9, False),
        (limited(5), 6.0, True),
        (limited(5), 9.0, True),
        (limited(5, started=""), 99.0, False),
        (pod(), 1e9, False),
    ],
)
def test_a_pod_is_late_from_its_deadline_on(one: core_v1.Pod, now: float, exceeded: bool) -> None:
    assert deadline_exceeded(one, now) is exceeded
    assert actions(one, state(container()), now=now).finished is exceeded


@pytest.mark.parametrize(("now", "again"), [(2.0, 9.0), (10.95, 0.1), (10.99, 0.1)])
def test_the_deadline_is_looked_at_when_it_is_due(now: float, again: float) -> None:
    computed = actions(limited(10), state(container()), now=now)
    assert computed.retry_after == pytest.approx(again)


def test_the_earliest_of_several_times_counts() -> None:
    computed: Any = actions(limited(10), state(container()), now=2.0)
    computed.retry(20.0)
    assert computed.retry_after == 9.0
    computed.retry(1.0)
    assert computed.retry_after == 1.0
