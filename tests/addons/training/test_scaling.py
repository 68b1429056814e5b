"""Elastic jobs: how many pods they may have, when they grow and when they shrink."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.training.builders import (
    NOW,
    after,
    done,
    job,
    member,
    policy,
    report,
    running,
    seen,
    started,
)
from tiphys.addons.training.actions import StartAgent, StopAgent
from tiphys.addons.training.deciding import decide
from tiphys.addons.training.sizes import Group, groups_of, sizes_of
from tiphys.addons.training.types import (
    ElasticPolicy,
    ElasticScalingStatus,
    HyperPodPyTorchJob,
    ReplicaSpec,
)
from tiphys.machinery import timestamps


def elastic(**fields: Any) -> HyperPodPyTorchJob:
    made = job(replicas=2, elasticPolicy={"minReplicas": 2, "maxReplicas": 6, **fields})
    return made


def test_an_elastic_job_grows_when_more_pods_are_ready() -> None:
    made = started(elastic(replicaIncrementStep=2, gracefulShutdownTimeoutInSeconds=9))
    assert not done(decide(seen(made, *running(2, "0-2"), member(2, report()))), StopAgent)
    more = [member(index, report()) for index in (2, 3, 4)]
    plan = decide(seen(made, *running(2, "0-2"), *more))
    assert [(one.member.index, one.grace) for one in done(plan, StopAgent)] == [(0, 9), (1, 9)]
    scaling = plan.status.elastic_scaling_status
    assert scaling is not None and scaling.target_replicas == {"pod": 4}
    ready = [member(index, report("ready", index, "0-2")) for index in range(2)]
    plan = decide(seen(after(made, plan), *ready, *more))
    assert {one.body["nnodes"] for one in done(plan, StartAgent)} == {4}
    assert plan.status.restart_count == 0


def test_it_does_not_grow_so_soon_after_a_restart() -> None:
    snooze = policy(scaleUpSnoozeTimeInSeconds=100)
    made = started(job(replicas=2, elasticPolicy={"minReplicas": 2, "maxReplicas": 3}, **snooze))
    members = (*running(2, "0-2"), member(2, report()))
    assert not done(decide(seen(made, *members, now=NOW + 99)), StopAgent)
    assert done(decide(seen(made, *members, now=NOW + 100)), StopAgent)


def test_it_shrinks_when_a_lost_pod_does_not_come_back() -> None:
    made = elastic(replicaDiscreteValues=[2, 4, 6], faultyScaleDownTimeoutInSeconds=30)
    made.spec.replica_specs[0].replicas = 4
    made = started(made)
    three = running(3)
    lost = member(3, None, last_rank=3, lost="node node-3 is gone", node_is_lost=True)
    made = after(made, decide(seen(made, *three, lost)))
    waiting = [member(index, report("ready", index, "0-4")) for index in range(3)]
    assert not done(decide(seen(made, *waiting, now=NOW + 29)), StartAgent)
    plan = decide(seen(made, *waiting, now=NOW + 30))
    scaling = plan.status.elastic_scaling_status
    assert scaling is not None
    assert (scaling.target_replicas, scaling.is_faulty_pod_scale_down) == ({"pod": 2}, True)
    plan = decide(seen(after(made, plan), *waiting, now=NOW + 31))
    assert {one.body["nnodes"] for one in done(plan, StartAgent)} == {2}


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ({}, (2, 3, 4, 5, 6)),
        ({"replicaIncrementStep": 2}, (2, 4, 6)),
        ({"replicaDiscreteValues": [8, 2, 5, 1]}, (2, 5)),
    ],
)
def test_sizes(fields: dict[str, Any], sizes: tuple[int, ...]) -> None:
    assert groups_of(elastic(**fields))[0].sizes == sizes


@pytest.mark.parametrize(
    ("replicas", "most", "fields", "sizes"),
    [
        (3, None, {}, (3,)),
        (3, None, {"min_replicas": 1}, (1, 2, 3)),
        (3, 5, {"min_replicas": 2, "max_replicas": 9}, (2, 3, 4, 5)),
        (3, None, {"min_replicas": 2, "max_replicas": 6, "replica_increment_step": 3}, (2, 3, 5)),
        (3, None, {"replica_discrete_values": [1, 2, 9]}, (3,)),
        (3, None, {"min_replicas": 1, "replica_discrete_values": [2, 1, 2]}, (1, 2)),
        (8, None, {"min_replicas": 2, "max_replicas": 4}, (2, 3, 4)),
    ],
)
def test_a_group_may_have_so_many_pods(
    replicas: int, most: int | None, fields: dict[str, Any], sizes: tuple[int, ...]
) -> None:
    spec = ReplicaSpec(name="pod", replicas=replicas, max_replicas=most)
    assert sizes_of(spec, ElasticPolicy(**fields)) == sizes


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (9, 4)])
def test_the_largest_size_within_what_there_is(count: int, size: int) -> None:
    [group] = groups_of(elastic(replicaDiscreteValues=[2, 4]))
    assert group.largest_within(count) == size


@pytest.mark.parametrize(("target", "expected"), [(None, 2), (3, 3), (6, 6), (7, 6), (1, 2)])
def test_a_size_that_may_not_be_any_more_becomes_the_next_smaller(
    target: int | None, expected: int
) -> None:
    made = elastic()
    if target is not None:
        made.status.elastic_scaling_status = ElasticScalingStatus(target_replicas={"pod": target})
    [group] = groups_of(made)
    assert group.target == expected and group.is_elastic
    assert group.pods == 6, "it tries to have as many as it may"


def groups(*specs: dict[str, Any]) -> list[Group]:
    made = elastic()
    template = made.spec.replica_specs[0].template
    made.spec.replica_specs = [ReplicaSpec(template=template, **spec) for spec in specs]
    return list(groups_of(made))


def test_the_group_with_a_maximum_of_its_own_is_the_elastic_one() -> None:
    one, two = {"name": "a", "replicas": 2}, {"name": "b", "replicas": 3}
    assert [group.is_elastic for group in groups(one, two)] == [True, False]
    found = groups(one, {**two, "max_replicas": 4})
    assert [group.is_elastic for group in found] == [False, True]
    assert [group.first_rank for group in found] == [0, 2]
    assert not groups_of(job())[0].is_elastic


def test_spares_are_no_reason_to_grow() -> None:
    made = started(elastic())
    made.spec.replica_specs[0].spares = 1
    ready = [member(index, report()) for index in (2, 3)]
    assert not done(decide(seen(made, *running(2, "0-2"), ready[0])), StopAgent)
    plan = decide(seen(made, *running(2, "0-2"), *ready))
    assert plan.status.elastic_scaling_status is not None
    assert plan.status.elastic_scaling_status.target_replicas == {"pod": 3}


def test_a_job_whose_bounds_were_lowered_shrinks_at_once() -> None:
    made = started(job(replicas=2, elasticPolicy={"minReplicas": 2, "maxReplicas": 3}), "0-3")
    made.status.elastic_scaling_status = ElasticScalingStatus(target_replicas={"pod": 5})
    plan = decide(seen(made, *running(3, "0-3")))
    assert plan.status.elastic_scaling_status is not None
    assert plan.status.elastic_scaling_status.target_replicas == {"pod": 3}


def test_what_has_changed_its_size_says_when() -> None:
    made = started(elastic())
    more = [member(index, report()) for index in (2, 3)]
    plan = decide(seen(made, *running(2, "0-2"), *more, now=NOW + 10))
    made = after(made, plan)
    scaling = plan.status.elastic_scaling_status
    assert scaling is not None and scaling.pods_scaled is False
    assert (scaling.last_updated, scaling.is_faulty_pod_scale_down) == (
        timestamps.rfc3339(NOW + 10),
        False,
    )
    plan = decide(seen(made, *running(4, "0-4"), now=NOW + 20))
    scaling = plan.status.elastic_scaling_status
    assert scaling is not None and scaling.pods_scaled
    assert scaling.last_scaling_time == scaling.last_restart_time == timestamps.rfc3339(NOW + 20)


@pytest.mark.parametrize(("fields", "seconds"), [({}, 60), ({"scalingTimeoutInSeconds": 5}, 5)])
def test_a_job_that_never_ran_shrinks_when_its_pods_do_not_come(
    fields: dict[str, Any], seconds: int
) -> None:
    made = elastic(**fields)
    made.spec.replica_specs[0].replicas = 4
    made.status.start_time = timestamps.rfc3339(NOW)
    waiting = [member(index, report()) for index in range(3)]
    early = decide(seen(made, *waiting, now=NOW + seconds - 1)).status.elastic_scaling_status
    assert early is None or early.target_replicas in ({}, {"pod": 4})
    late = decide(seen(made, *waiting, now=NOW + seconds)).status.elastic_scaling_status
    assert late is not None
    assert (late.target_replicas, late.is_faulty_pod_scale_down) == ({"pod": 3}, False)


def test_a_job_without_a_size_for_what_is_left_waits() -> None:
    made = elastic(scalingTimeoutInSeconds=5)
    made.status.start_time = timestamps.rfc3339(NOW)
    plan = decide(seen(made, member(0, report()), now=NOW + 500))
    assert plan.status.elastic_scaling_status is None and not done(plan, StopAgent)
