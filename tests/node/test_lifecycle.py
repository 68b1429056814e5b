"""The pod life cycle's core: what to do, from what is seen."""

from __future__ import annotations

from typing import Any

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.apiserver.resources.printers import _pod_reason
from tiphys.node.lifecycle import Backoff, decide
from tiphys.node.runtime import CREATED, EXITED, RUNNING, ContainerState, PodState, SandboxState
from tiphys.node.status import pod_status, settle

C = {"name": "c", "image": "i"}


def state(*containers: ContainerState) -> PodState:
    return PodState(
        "u",
        sandbox=SandboxState("s", 0, True, "10.0.0.9", 1.0),
        containers={c.name: c for c in containers},
    )


def container(
    name: str = "c", what: str = RUNNING, code: int = 0, attempt: int = 0, finished: float = 0.0
) -> ContainerState:
    return ContainerState(f"id-{name}-{attempt}", name, attempt, what, 1.0, 1.0, finished, code)


def names(plan: Any) -> list[tuple[str, int]]:
    return [(c.name, attempt) for c, attempt in plan.start]


def test_a_new_pod_needs_a_sandbox_then_its_containers() -> None:
    fresh = pod(restartPolicy="Always")
    assert decide(fresh, PodState("u"), 0, set(), set(), {}).sandbox
    assert names(decide(fresh, state(), 0, set(), set(), {})) == [("c", 0)]


def test_init_containers_run_one_after_the_other() -> None:
    staged = pod(
        initContainers=[{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
        restartPolicy="Always",
    )
    assert names(decide(staged, state(), 0, set(), set(), {})) == [("a", 0)]
    assert names(decide(staged, state(container("a")), 0, set(), set(), {})) == []
    done = container("a", EXITED)
    assert names(decide(staged, state(done), 0, set(), set(), {})) == [("b", 0)]
    assert names(decide(staged, state(done, container("b", EXITED)), 0, set(), set(), {})) == [
        ("c", 0)
    ]


def test_a_sidecar_must_have_started_before_the_next() -> None:
    served = pod(
        initContainers=[{"name": "side", "image": "i", "restartPolicy": "Always"}],
        restartPolicy="Never",
    )
    assert names(decide(served, state(container("side")), 0, set(), set(), {})) == []
    assert names(decide(served, state(container("side")), 0, {"side"}, set(), {})) == [("c", 0)]


def test_restart_policies() -> None:
    for policy, code, again in (
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 1, False),
    ):
        plan = decide(
            pod(restartPolicy=policy),
            state(container(what=EXITED, code=code)),
            100,
            set(),
            set(),
            {},
        )
        assert bool(plan.start) is again and plan.finished is not again, (policy, code)


def test_a_crash_loop_waits_longer_each_time() -> None:
    backoff, waits = Backoff(), []
    now = 0.0
    for _ in range(7):
        waits.append(backoff.wait(now, now))
        now += waits[-1]
        backoff.started(now)
    assert waits == [0, 10, 20, 40, 80, 160, 300]
    plan = decide(
        pod(restartPolicy="Always"),
        state(container(what=EXITED, code=1, finished=now)),
        now,
        set(),
        set(),
        {"c": backoff},
    )
    assert plan.waiting["c"][0] == "CrashLoopBackOff" and not plan.start


def test_a_sick_container_is_killed_and_a_late_pod_ends() -> None:
    assert [
        c.name
        for c, _ in decide(
            pod(restartPolicy="Always"), state(container()), 0, set(), {"c": "liveness"}, {}
        ).kill
    ] == ["c"]
    late = pod(restartPolicy="Always", activeDeadlineSeconds=5)
    late.status.start_time = "1970-01-01T00:00:01Z"
    assert decide(late, state(container()), 7, set(), set(), {}).finished


def test_status_follows_the_containers() -> None:
    one = pod(restartPolicy="Never")
    running = pod_status(one, state(container()), {}, {"c"}, {"c"}, "containerd", "1.2.3.4", 5)
    conditions = {c.type: c.status for c in running.conditions}
    assert (running.phase, running.pod_ip, conditions["Ready"], conditions["Initialized"]) == (
        "Running",
        "10.0.0.9",
        "True",
        "True",
    )
    assert running.container_statuses[0].container_id == "containerd://id-c-0"
    for code, phase in ((0, "Succeeded"), (3, "Failed")):
        ended = pod_status(
            one, state(container(what=EXITED, code=code)), {}, set(), set(), "containerd", "", 5
        )
        assert ended.phase == phase and not ended.container_statuses[0].ready
    waiting = pod_status(
        one,
        state(container(what=CREATED)),
        {"c": ("ErrImagePull", "no")},
        set(),
        set(),
        "containerd",
        "",
        5,
    )
    assert (
        waiting.phase == "Pending"
        and waiting.container_statuses[0].state.waiting.reason == "ErrImagePull"
    )  # type: ignore[union-attr]


def test_a_new_sandbox_begins_with_the_init_containers_again() -> None:
    staged = pod(initContainers=[{"name": "a", "image": "i"}], restartPolicy="Always")
    before = [container("a", EXITED), container(what=EXITED, code=137)]
    for one in before:
        one.sandbox = "the one before"
    assert names(decide(staged, state(*before), 100, set(), {}, {})) == [("a", 1)]
    again = container("a", EXITED, attempt=1)
    again.sandbox = "s"
    assert names(decide(staged, state(again, before[1]), 100, set(), {}, {})) == [("c", 1)]
    before[1].exit_code = 0
    staged.spec.restart_policy = "OnFailure"
    assert decide(staged, state(*before), 100, set(), {}, {}).finished, (
        "all is done: nothing begins again"
    )


def settled(one: Any, shown: PodState) -> Any:
    status = pod_status(one, shown, {}, set(), set(), "containerd", "", 5)
    settle(one, status)
    return status


def test_a_pod_that_ends_before_its_containers_ran_has_failed() -> None:
    status = settled(pod(restartPolicy="Never"), state(container(what=CREATED)))
    [ended] = [s.state.terminated for s in status.container_statuses]
    assert (status.phase, ended.exit_code, ended.reason) == (
        "Failed",
        137,
        "ContainerStatusUnknown",
    )
    staged = pod(
        initContainers=[{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
        restartPolicy="Always",
    )
    status = settled(staged, PodState("u"))
    assert status.phase == "Failed" and status.container_statuses[0].state.waiting is not None
    assert [s.state.terminated is not None for s in status.init_container_statuses] == [True, False]
    assert settled(pod(restartPolicy="Always"), state(container(what=EXITED))).phase == "Succeeded"


def test_a_container_that_its_startup_probe_gives_up_is_told_so() -> None:
    [(_, why)] = decide(
        pod(restartPolicy="Always"), state(container()), 0, set(), {"c": "startup"}, {}
    ).kill
    assert why == "Container c failed startup probe, will be restarted"


def test_messages_of_a_pod_keep_within_a_bound() -> None:
    many = pod(
        containers=[{"name": f"c{n}", "image": "i"} for n in range(6)], restartPolicy="Never"
    )
    ended = [container(f"c{n}", EXITED) for n in range(6)]
    for one in ended:
        one.message = "ü" * 2048
    status = pod_status(many, state(*ended), {}, set(), set(), "containerd", "", 5)
    assert {len(s.state.terminated.message.encode()) for s in status.container_statuses} == {2048}  # type: ignore[union-attr]


def test_a_container_may_have_a_policy_and_rules_of_its_own() -> None:
    rules = [
        {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}},
        {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": list(range(50))}},
    ]
    own = {"restartPolicy": "Never", "restartPolicyRules": rules}
    for pods, more, code, again in (
        ("Always", {"restartPolicy": "Never"}, 1, False),
        ("Never", {"restartPolicy": "OnFailure"}, 1, True),
        ("Never", {"restartPolicy": "OnFailure"}, 0, False),
        ("Never", own, 42, True),
        ("Never", own, 99, True),
        ("Always", own, 7, False),
    ):
        one, ended = (
            pod(restartPolicy=pods, containers=[{**C, **more}]),
            state(container(what=EXITED, code=code)),
        )
        assert bool(decide(one, ended, 1e6, set(), set(), {}).start) == again, (pods, more, code)
        assert (pod_status(one, ended, {}, set(), set(), "r", "", 1.0).phase == "Running") == again
        inits = pod(
            restartPolicy=pods,
            initContainers=[{**C, "name": "c", **more}],
            containers=[{**C, "name": "d"}],
        )
        assert bool(names(decide(inits, ended, 1e6, set(), set(), {}))) == (again or code == 0)


def test_what_has_completed_is_initialized_although_a_sidecar_failed() -> None:
    one = pod(
        restartPolicy="Never",
        initContainers=[{"name": "side", "image": "i", "restartPolicy": "Always"}],
    )
    ended = state(container("c", EXITED), container("side", EXITED, 137))
    one.status = pod_status(one, ended, {}, set(), set(), "r", "", 1.0)
    told = {c.type: (c.status, c.reason) for c in one.status.conditions}
    assert one.status.phase == "Succeeded" and told["Initialized"] == ("True", "PodCompleted")
    assert _pod_reason(one) == "Completed"


def test_readiness_gates_say_what_keeps_them_shut() -> None:
    one = pod(readinessGates=[{"conditionType": "a"}, {"conditionType": "b"}])
    one.status.conditions = [core_v1.PodCondition(type="b", status="False")]
    [ready] = [
        c
        for c in pod_status(one, state(container()), {}, {"c"}, {"c"}, "r", "", 1.0).conditions
        if c.type == "Ready"
    ]
    assert ready.message == (
        'corresponding condition of pod readiness gate "a" does not exist., '
        'the status of pod readiness gate "b" is not "True", but False'
    )
