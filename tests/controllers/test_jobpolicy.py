"""Failure and success policies of jobs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controllers.builders import job as wish
from tests.controllers.builders import worker
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.api.batch_v1 import Job, PodFailurePolicy, SuccessPolicy
from tiphys.controllers import jobplan as core
from tiphys.controllers import jobpolicy


def failed(uid: str, code: int = 1, index: int | None = None, failures: int = 0) -> core_v1.Pod:
    made = worker(uid, "Failed", index)
    ended = core_v1.ContainerState(terminated=core_v1.ContainerStateTerminated(exit_code=code))
    made.status.container_statuses = [core_v1.ContainerStatus(name="c", state=ended)]
    made.metadata.annotations["batch.kubernetes.io/job-index-failure-count"] = str(failures)
    return made


def policy(*rules: dict[str, Any]) -> Job:
    return wish(
        pod_failure_policy=from_builtins({"rules": list(rules)}, PodFailurePolicy),
        pod_replacement_policy="Failed",
    )


EXIT = {"operator": "In", "values": [42]}


def test_an_exit_code_may_fail_the_job() -> None:
    made = core.plan(policy({"action": "FailJob", "onExitCodes": EXIT}), [failed("a", 42)], 0)
    [herald] = made.status.conditions
    assert (herald.type, herald.reason) == ("FailureTarget", "PodFailurePolicy")
    assert (
        herald.message
        == "Container c for pod default/a failed with exit code 42 matching FailJob rule at index 0"
    )


def test_a_disruption_may_be_ignored() -> None:
    job = policy(
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    )
    pod = failed("a")
    pod.status.conditions = [core_v1.PodCondition(type="DisruptionTarget", status="True")]
    made = core.plan(job, [pod], 0)
    assert made.release == [pod] and not made.status.conditions and len(made.create) == 1
    assert not made.status.uncounted_terminated_pods.failed  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rule", "code", "action"),
    [
        ({"operator": "In", "values": [42, 43]}, 43, "FailJob"),
        ({"operator": "In", "values": [42]}, 1, "Count"),
        ({"operator": "NotIn", "values": [42]}, 1, "FailJob"),
        ({"operator": "NotIn", "values": [42]}, 42, "Count"),
        ({"operator": "NotIn", "values": [42]}, 0, "Count"),
        ({"operator": "In", "values": [1], "containerName": "c"}, 1, "FailJob"),
        ({"operator": "In", "values": [1], "containerName": "d"}, 1, "Count"),
    ],
)
def test_rules_are_about_exit_codes_of_containers(
    rule: dict[str, Any], code: int, action: str
) -> None:
    job = policy({"action": "FailJob", "onExitCodes": rule})
    assert jobpolicy.judge(job, failed("a", code)).action == action


@pytest.mark.parametrize(
    ("wanted", "status", "action"),
    [(None, "True", "Ignore"), ("False", "False", "Ignore"), ("True", "False", "Count")],
)
def test_rules_are_about_conditions(wanted: str | None, status: str, action: str) -> None:
    pattern = {"type": "Mine", **({"status": wanted} if wanted else {})}
    job = policy({"action": "Ignore", "onPodConditions": [pattern]})
    pod = failed("a")
    pod.status.conditions = [core_v1.PodCondition(type="Mine", status=status)]
    assert jobpolicy.judge(job, pod).action == action


@pytest.mark.parametrize(
    ("action", "limit", "failures", "over"),
    [
        ("Count", None, 9, False),
        ("Count", 1, 0, False),
        ("Count", 1, 1, True),
        ("Ignore", 0, 1, False),
        ("FailIndex", None, 0, True),
    ],
)
def test_an_index_fails_by_rule_or_by_count(
    action: str, limit: int | None, failures: int, over: bool
) -> None:
    job, judgement = wish(backoff_limit_per_index=limit), jobpolicy.Judgement(action)
    assert jobpolicy.index_has_failed(job, failed("a", failures=failures), judgement) is over


def test_an_index_has_a_limit_of_its_own() -> None:
    job = wish(
        completions=2,
        parallelism=2,
        completion_mode="Indexed",
        backoff_limit_per_index=1,
        backoff_limit=None,
    )
    again = core.plan(job, [failed("a", index=0), worker("b", index=1)], 0)
    assert again.create == [0] and again.failures == {0: 1}
    over = core.plan(job, [failed("a", index=0, failures=1), worker("b", index=1)], 0)
    assert over.create == [] and over.status.failed_indexes == "0"
    job.status.failed_indexes = "0"
    ended = core.plan(job, [worker("b", "Succeeded", 1)], 0)
    assert [c.reason for c in ended.status.conditions] == ["FailedIndexes"]


@pytest.mark.parametrize(
    ("rule", "done", "enough"),
    [
        ({"succeededIndexes": "0-1"}, [0], False),
        ({"succeededIndexes": "0-1"}, [0, 1], True),
        ({"succeededCount": 2}, [1, 3], True),
        ({"succeededIndexes": "0,2", "succeededCount": 1}, [2], True),
    ],
)
def test_some_successes_may_be_enough(rule: dict[str, Any], done: list[int], enough: bool) -> None:
    success = from_builtins({"rules": [rule]}, SuccessPolicy)
    job = wish(completions=4, parallelism=4, completion_mode="Indexed", success_policy=success)
    made = core.plan(
        job, [worker(f"p{i}", "Succeeded" if i in done else "Running", i) for i in range(4)], 0
    )
    assert [c.reason for c in made.status.conditions] == (["SuccessPolicy"] if enough else [])
    assert len(made.delete) == (4 - len(done) if enough else 0)
