"""How large each replica set of a deployment may be."""

from __future__ import annotations

import pytest

from tests.builders import deployment
from tiphys.api.apps_v1 import (
    Deployment,
    DeploymentStatus,
    DeploymentStrategy,
    ReplicaSet,
    RollingUpdateDeployment,
)
from tiphys.controllers import rollout


def rs(
    name: str, replicas: int, available: int | None = None, created: str = "1", **annotations: str
) -> ReplicaSet:
    made = ReplicaSet()
    made.metadata.name = made.metadata.uid = name
    made.metadata.creation_timestamp = created
    made.metadata.annotations = annotations
    made.spec.replicas = replicas
    made.status.available_replicas = replicas if available is None else available
    return made


def wish(
    replicas: int, surge: int | str = "25%", unavailable: int | str = "25%", kind: str = ""
) -> Deployment:
    made = deployment(replicas=replicas)
    rolling = RollingUpdateDeployment(max_surge=surge, max_unavailable=unavailable)
    made.spec.strategy = DeploymentStrategy(type=kind or "RollingUpdate", rolling_update=rolling)
    return made


@pytest.mark.parametrize(
    ("asked", "bounds"),
    [
        (wish(10), (3, 2)),
        (wish(1), (1, 0)),
        (wish(4, 0, 0), (0, 1)),
        (wish(3, 1, "50%"), (1, 1)),
        (wish(2, "100%", 5), (2, 2)),
        (wish(0, 1, 3), (1, 3)),
        (wish(0, 0, 0), (0, 0)),
        (wish(5, kind="Recreate"), (0, 0)),
    ],
)
def test_surge_rounds_up_and_unavailable_down(asked: Deployment, bounds: tuple[int, int]) -> None:
    assert rollout.bounds(asked) == bounds


@pytest.mark.parametrize(
    ("asked", "current", "total", "size"),
    [
        (wish(10), 0, 10, 3),
        (wish(10), 3, 13, 3),
        (wish(10), 3, 10, 6),
        (wish(10), 9, 9, 10),
        (wish(10), 12, 12, 10),
        (wish(10), 0, 20, 0),
        (wish(10, kind="Recreate"), 0, 10, 10),
    ],
)
def test_the_new_set_grows_into_the_surge(
    asked: Deployment, current: int, total: int, size: int
) -> None:
    assert rollout.new_size(asked, current, total) == size


@pytest.mark.parametrize(
    ("asked", "new", "old", "sizes"),
    [
        (wish(10), rs("new", 3, 0), [rs("old", 10)], {"old": 8}),
        (wish(10), rs("new", 3, 3), [rs("old", 8)], {"old": 5}),
        (wish(10), rs("new", 5, 3), [rs("old", 8)], {"old": 5}),
        (wish(10, 0, 1), rs("new", 1, 0), [rs("old", 9)], {}),
        (wish(4), rs("new", 1, 1), [rs("old", 4, 2)], {"old": 2}),
        (wish(4, 1, 0), rs("new", 1, 1), [rs("b", 2, created="2"), rs("a", 2)], {"a": 1}),
        (wish(4, 1, 0), rs("new", 1, 0), [rs("old", 4, 0)], {}),
        (wish(0), rs("new", 0), [rs("old", 3)], {"old": 0}),
    ],
)
def test_old_sets_shrink_only_as_far_as_enough_is_available(
    asked: Deployment, new: ReplicaSet, old: list[ReplicaSet], sizes: dict[str, int]
) -> None:
    assert rollout.shrink_old(asked, new, old) == sizes


@pytest.mark.parametrize(
    ("asked", "sets", "sizes"),
    [
        (wish(20, 0, 0), [rs("new", 3, created="2"), rs("old", 7)], {"old": 14, "new": 6}),
        (wish(5, 0, 0), [rs("new", 3, created="2"), rs("old", 7)], {"old": 3, "new": 2}),
        (wish(11, 0, 0), [rs("new", 5, created="2"), rs("old", 5)], {"new": 6}),
        (wish(9, 0, 0), [rs("new", 5, created="2"), rs("old", 5)], {"old": 4}),
        (wish(0), [rs("new", 3, created="2"), rs("old", 7)], {"old": 0, "new": 0}),
        (wish(4), [rs("new", 3), rs("old", 0)], {"new": 4}),
        (wish(4), [rs("new", 0, created="2"), rs("old", 0)], {"new": 4}),
        (wish(3), [rs("new", 3)], {}),
    ],
)
def test_a_scaled_deployment_shares_in_proportion(
    asked: Deployment, sets: list[ReplicaSet], sizes: dict[str, int]
) -> None:
    assert rollout.proportional(asked, sets) == sizes


@pytest.mark.parametrize(
    ("replicas", "desired", "scaling"),
    [(3, "5", True), (3, "3", False), (0, "5", False), (3, "", True)],
)
def test_a_deployment_is_scaling_until_its_sets_know(
    replicas: int, desired: str, scaling: bool
) -> None:
    sets = [rs("a", replicas, **{rollout.DESIRED: desired})]
    assert rollout.is_scaling(wish(3), sets) is scaling
    assert not rollout.is_scaling(wish(3), [rs("a", 2)]), "a set of nobody says nothing"


def status(
    updated: int = 3, replicas: int = 3, available: int = 3, observed: int = 2
) -> DeploymentStatus:
    return DeploymentStatus(
        updated_replicas=updated,
        replicas=replicas,
        available_replicas=available,
        observed_generation=observed,
    )


@pytest.mark.parametrize(
    ("found", "complete"),
    [
        (status(), True),
        (status(updated=2), False),
        (status(replicas=4), False),
        (status(available=2), False),
        (status(observed=1), False),
        (status(observed=3), True),
    ],
)
def test_a_rollout_is_complete_when_all_is_new_and_available(
    found: DeploymentStatus, complete: bool
) -> None:
    asked = wish(3)
    asked.metadata.generation = 2
    assert rollout.is_complete(asked, found) is complete


@pytest.mark.parametrize(
    ("after", "moved"),
    [
        (status(1, 4, 3), False),
        (status(2, 5, 3), True),
        (status(1, 3, 3), True),
        (status(1, 4, 4), True),
        (status(1, 5, 3), False),
        (status(0, 3, 2), False),
    ],
)
def test_a_rollout_moves_with_what_is_new_or_less_that_is_old(
    after: DeploymentStatus, moved: bool
) -> None:
    before = status(1, 4, 3)
    assert rollout.has_progressed(before, after) is moved
    after.ready_replicas = before.ready_replicas + 1
    assert rollout.has_progressed(before, after)


def test_the_hash_label_does_not_make_another_template() -> None:
    one, other = deployment(), deployment()
    other.spec.template.metadata.labels[rollout.HASH] = "x"
    assert rollout.same_template(one.spec.template, other.spec.template)
    other.spec.template.spec.containers[0].image = "img:2"
    assert not rollout.same_template(one.spec.template, other.spec.template)
    assert rollout.template_hash(one) != rollout.template_hash(other)
    collided = deployment()
    collided.status.collision_count = 1
    assert rollout.template_hash(one) != rollout.template_hash(collided)


def test_beyond_the_history_the_oldest_empty_revisions_go() -> None:
    revision = rollout.REVISION
    old = [rs(f"r{number}", 0, **{revision: str(number)}) for number in (10, 9, 2, 1)]
    busy, leaving, full = rs("busy", 0), rs("leaving", 0), rs("full", 1)
    busy.status.replicas = 1
    leaving.metadata.deletion_timestamp = "x"
    asked = wish(3)
    asked.spec.revision_history_limit = 2
    found = rollout.beyond_history(asked, [*old, busy, leaving, full])
    assert [each.metadata.name for each in found] == ["r1", "r2"]
    asked.spec.revision_history_limit = None
    assert rollout.beyond_history(asked, old) == []
