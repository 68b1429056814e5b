"""The cores of stateful sets, daemon sets and cron jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import node
from tiphys.api import apps_v1, batch_v1, core_v1
from tiphys.api.base import encode, from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers import cronjob, daemonset, history, statefulset
from tiphys.machinery import timestamps

NOW = 1_700_000_000.0


def pod(name: str, revision: str = "new", ready: bool = True, **meta: Any) -> core_v1.Pod:
    made = core_v1.Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            uid=name,
            labels={"controller-revision-hash": revision},
            **meta,
        )
    )
    made.status.phase = "Running"
    made.status.conditions = [
        core_v1.PodCondition(
            type="Ready",
            status="True" if ready else "False",
            last_transition_time=timestamps.rfc3339(NOW - 60),
        )
    ]
    return made


def stateful(replicas: int = 3, **spec: Any) -> apps_v1.StatefulSet:
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    return apps_v1.StatefulSet(
        metadata=ObjectMeta(name="s", namespace="default"),
        spec=from_builtins({"replicas": replicas, **spec}, apps_v1.StatefulSetSpec),
    )


def step(owner: apps_v1.StatefulSet, *pods: core_v1.Pod) -> tuple[list[int], list[str]]:
    made = statefulset.plan(owner, list(pods), "old", "new", NOW)
    return [number for number, _ in made.create], [p.metadata.name for p in made.delete]


def test_a_stateful_set_grows_one_by_one() -> None:
    assert step(stateful()) == ([0], [])
    assert step(stateful(), pod("s-0", ready=False)) == ([], [])
    assert step(stateful(), pod("s-0")) == ([1], [])


def test_in_parallel_all_at_once() -> None:
    assert step(stateful(podManagementPolicy="Parallel")) == ([0, 1, 2], [])


def test_it_shrinks_from_the_end() -> None:
    assert step(stateful(1), pod("s-0"), pod("s-1"), pod("s-2")) == ([], ["s-2"])
    assert step(stateful(1), pod("s-0"), pod("s-1"), pod("s-2", deletion_timestamp="x")) == ([], [])


def test_it_does_not_shrink_past_a_pod_in_trouble() -> None:
    def shrink(*ready: bool) -> list[str]:
        return step(
            stateful(0), *(pod(f"s-{number}", ready=fine) for number, fine in enumerate(ready))
        )[1]

    assert shrink(True, True, False) == ["s-2"]
    assert shrink(False, True, False) == shrink(False, False, False) == []


def test_it_rolls_from_the_end_and_waits() -> None:
    assert step(stateful(), *(pod(f"s-{n}", "old") for n in range(3))) == ([], ["s-2"])
    assert step(stateful(), pod("s-0", "old"), pod("s-1", "old"), pod("s-2")) == ([], ["s-1"])
    assert step(stateful(), pod("s-0", "old"), pod("s-1", "old"), pod("s-2", ready=False)) == (
        [],
        [],
    )


def test_as_many_roll_at_once_as_may_be_unavailable() -> None:
    owner = stateful(
        4,
        updateStrategy={
            "type": "RollingUpdate",
            "rollingUpdate": {"partition": 0, "maxUnavailable": 2},
        },
    )
    assert step(owner, *(pod(f"s-{n}", "old") for n in range(4))) == ([], ["s-3", "s-2"])
    percent = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1, "maxUnavailable": "75%"}}
    owner = stateful(4, podManagementPolicy="Parallel", updateStrategy=percent)
    assert step(owner, *(pod(f"s-{n}", "old") for n in range(4))) == ([], ["s-3", "s-2", "s-1"])
    waiting = [
        pod("s-0", "old"),
        pod("s-1", "old"),
        pod("s-2", ready=False),
        pod("s-3", ready=False),
    ]
    assert step(owner, *waiting) == ([], ["s-1"])


def test_the_partition_keeps_what_is_below() -> None:
    owner = stateful(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    assert step(owner, pod("s-0", "old"), pod("s-1", "old"), pod("s-2")) == ([], [])
    made = statefulset.plan(owner, [pod("s-1", "old"), pod("s-2")], "old", "new", NOW)
    assert made.create == [(0, "old")]


def test_on_delete_nothing_rolls_by_itself() -> None:
    assert step(
        stateful(updateStrategy={"type": "OnDelete"}), *(pod(f"s-{n}", "old") for n in range(3))
    ) == ([], [])


def test_a_failed_pod_is_made_again() -> None:
    failed = pod("s-0")
    failed.status.phase = "Failed"
    assert step(stateful(), failed) == ([], ["s-0"])


def test_ordinals_may_start_elsewhere() -> None:
    owner = stateful(2, ordinals={"start": 5}, podManagementPolicy="Parallel")
    assert step(owner, pod("s-0")) == ([5, 6], ["s-0"])


def test_a_rollout_ends_with_one_revision() -> None:
    status = statefulset.plan(stateful(2), [pod("s-0"), pod("s-1")], "old", "new", NOW).status
    assert (status.current_revision, status.current_replicas, status.updated_replicas) == (
        "new",
        2,
        2,
    )


def test_a_pod_has_its_name_and_its_claims() -> None:
    owner = stateful(serviceName="svc", volumeClaimTemplates=[{"metadata": {"name": "data"}}])
    made = statefulset.new_pod(owner, owner.spec.template, 1, "r")
    assert (made.metadata.name, made.spec.hostname, made.spec.subdomain) == ("s-1", "s-1", "svc")
    assert made.metadata.labels["apps.kubernetes.io/pod-index"] == "1"
    assert made.spec.volumes[0].persistent_volume_claim.claim_name == "data-s-1"  # type: ignore[union-attr]


def daemon(**spec: Any) -> apps_v1.DaemonSet:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    spec.setdefault("updateStrategy", rolling)
    return apps_v1.DaemonSet(
        metadata=ObjectMeta(name="d", namespace="default"),
        spec=from_builtins(spec, apps_v1.DaemonSetSpec),
    )


def on(
    name: str, where: str, revision: str = "new", ready: bool = True, **meta: Any
) -> core_v1.Pod:
    made = pod(name, revision, ready, **meta)
    made.spec.node_name = where
    return made


def daemons(
    owner: apps_v1.DaemonSet, nodes: list[core_v1.Node], *pods: core_v1.Pod
) -> tuple[list[str], list[str]]:
    made = daemonset.plan(owner, nodes, list(pods), "new", NOW)
    return made.create, [p.metadata.name for p in made.delete]


def test_a_daemon_on_every_node_that_fits() -> None:
    tainted = node("c")
    tainted.spec.taints = [core_v1.Taint(key="x", effect="NoSchedule")]
    gone = on("p", "gone")
    assert daemons(daemon(), [node("a"), node("b"), tainted], on("q", "a"), gone) == (["b"], ["p"])
    picky = daemon(template={"spec": {"nodeSelector": {"disk": "ssd"}}})
    assert daemons(picky, [node("a"), node("b", disk="ssd")]) == (["b"], [])


def test_a_daemon_stays_on_a_node_in_trouble() -> None:
    troubled = node("a")
    troubled.spec.taints = [core_v1.Taint(key="node.kubernetes.io/unreachable", effect="NoExecute")]
    assert daemons(daemon(), [troubled]) == (["a"], [])
    troubled.spec.taints = [core_v1.Taint(key="mine", effect="NoExecute")]
    assert daemons(daemon(), [troubled], on("p", "a")) == ([], ["p"])


def test_daemons_roll_within_their_bounds() -> None:
    nodes = [node("a"), node("b"), node("c")]
    old = [on(f"p{n}", n, "old") for n in "abc"]
    assert len(daemons(daemon(), nodes, *old)[1]) == 1
    assert daemons(
        daemon(), nodes, on("pa", "a", "old"), on("pb", "b", "old"), on("pc", "c", ready=False)
    ) == ([], [])
    surge = daemon(
        updateStrategy={
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 2},
        }
    )
    assert daemons(surge, nodes, *old) == (["a", "b"], [])
    assert daemons(surge, nodes[:1], on("old", "a", "old"), on("new", "a")) == ([], ["old"])


def test_a_daemons_pod_has_one_node_to_go_to() -> None:
    affinity = daemonset.new_pod(daemon(), "n1", "r").spec.affinity
    assert (
        daemonset.node_of(daemonset.new_pod(daemon(), "n1", "r")) == "n1" and affinity is not None
    )


def cron(**spec: Any) -> batch_v1.CronJob:
    spec = {
        "schedule": "*/5 * * * *",
        "concurrencyPolicy": "Allow",
        "jobTemplate": {"spec": {}},
        **spec,
    }
    made = batch_v1.CronJob(
        metadata=ObjectMeta(name="c", namespace="default", uid="u"),
        spec=from_builtins(spec, batch_v1.CronJobSpec),
    )
    made.metadata.creation_timestamp = timestamps.rfc3339(NOW - 1000)
    return made


def job(name: str, done: str = "") -> batch_v1.Job:
    made = batch_v1.Job(metadata=ObjectMeta(name=name, namespace="default", uid=name))
    made.status.start_time = timestamps.rfc3339(NOW - 500)
    if done:
        made.status.conditions = [batch_v1.JobCondition(type=done, status="True")]
    return made


DUE = NOW - NOW % 300


def test_a_job_starts_for_the_last_time_that_came() -> None:
    made = cronjob.plan(cron(), [], NOW)
    assert made.start == DUE and made.wake == pytest.approx(DUE + 300 - NOW + 0.1)
    assert cronjob.plan(cron(), [job(cronjob.job_name(cron(), DUE))], NOW).start is None


@pytest.mark.parametrize(
    ("policy", "start", "replaced"), [("Allow", DUE, 0), ("Forbid", None, 0), ("Replace", DUE, 1)]
)
def test_the_concurrency_policy_decides(policy: str, start: float | None, replaced: int) -> None:
    made = cronjob.plan(cron(concurrencyPolicy=policy), [job("running")], NOW)
    assert (made.start, len(made.replace)) == (start, replaced)


def test_a_start_may_come_too_late() -> None:
    assert cronjob.plan(cron(startingDeadlineSeconds=1), [], NOW).start is None
    assert cronjob.plan(cron(suspend=True), [], NOW).start is None


def test_the_history_is_limited() -> None:
    jobs = [job(f"c-{n}", "Complete") for n in range(4)] + [job("c-f", "Failed")]
    made = cronjob.plan(cron(successfulJobsHistoryLimit=3, failedJobsHistoryLimit=0), jobs, NOW)
    assert [j.metadata.name for j in made.expire] == ["c-0", "c-f"]


def test_a_revision_keeps_the_template_in_the_order_of_its_names() -> None:
    """kubectl and client-go compare it byte by byte."""
    made = history.new_revision(daemon(), 1, 0, "controller-revision-hash")
    assert (
        made.metadata.name
        == f"{daemon().metadata.name}-{made.metadata.labels['controller-revision-hash']}"
    )
    text = encode(made.data).decode()
    assert json.loads(text)["spec"]["template"]["$patch"] == "replace"
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    ("spec", "reason", "said"),
    [
        (
            {"schedule": "59 23 31 2 *"},
            "InvalidSchedule",
            "59 23 31 2 * : time difference between two schedules is less",
        ),
        (
            {"schedule": "61 * * * *"},
            "UnparseableSchedule",
            '"61 * * * *" : end of range (61) above maximum (59): 61',
        ),
        (
            {"timeZone": "Moon/Sea"},
            "UnknownTimeZone",
            'invalid timeZone: "Moon/Sea": unknown time zone Moon/Sea',
        ),
    ],
)
def test_a_schedule_that_never_comes_is_told(spec: dict[str, Any], reason: str, said: str) -> None:
    made = cronjob.plan(cron(**spec), [], NOW)
    assert [event[:2] for event in made.events] == [("Warning", reason)] and said in made.events[0][
        2
    ]
    assert made.start is None and made.wake is None


def test_an_active_job_that_nobody_sees_is_looked_for() -> None:
    owner = cron()
    owner.status.active = [cronjob.reference(job("lost"))]
    assert [ref.name for ref in cronjob.plan(owner, [], NOW).missing] == ["lost"]
    assert not cronjob.plan(owner, [job("lost")], NOW).missing
