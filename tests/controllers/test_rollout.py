from __future__ import annotations

import pytest

from tests.builders import deployment
from tiphys.api import apps_v1
from tiphys.controllers import deployment as core


def rs(
    name: str, replicas: int, available: int | None = None, created: str = "1"
) -> apps_v1.ReplicaSet:
    made = apps_v1.ReplicaSet()
    made.metadata.name = made.metadata.uid = name
    made.metadata.creation_timestamp = created
    made.spec.replicas = replicas
    made.status.available_replicas = replicas if available is None else available
    return made


def wish(
    replicas: int, surge: int | str = "25%", unavailable: int | str = "25%"
) -> apps_v1.Deployment:
    made = deployment(replicas=replicas)
    made.spec.strategy = apps_v1.DeploymentStrategy(
        type="RollingUpdate",
        rolling_update=apps_v1.RollingUpdateDeployment(
            max_surge=surge, max_unavailable=unavailable
        ),
    )
    return made


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "bounds"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (4, 0, 0, (0, 1)),
        (3, 1, "50%", (1, 1)),
        (2, "100%", 5, (2, 2)),
    ],
)
def test_surge_rounds_up_and_unavailable_down(
    replicas: int, surge: int | str, unavailable: int | str, bounds: tuple[int, int]
) -> None:
    assert core.bounds(wish(replicas, surge, unavailable)) == bounds


def test_the_new_set_grows_into_the_surge() -> None:
    assert core.new_size(wish(10), rs("new", 0), [rs("new", 0), rs("old", 10)]) == 3
    assert core.new_size(wish(10), rs("new", 3), [rs("new", 3), rs("old", 10)]) == 3
    assert core.new_size(wish(10), rs("new", 3), [rs("new", 3), rs("old", 7)]) == 6


def test_old_sets_shrink_only_as_far_as_enough_is_available() -> None:
    assert core.shrink_old(wish(10), rs("new", 3, 0), [rs("old", 10)]) == {"old": 8}
    assert core.shrink_old(wish(10), rs("new", 3, 3), [rs("old", 8)]) == {"old": 5}
    assert core.shrink_old(wish(10, 0, 1), rs("new", 1, 0), [rs("old", 9)]) == {}


def test_broken_pods_go_first() -> None:
    assert core.shrink_old(wish(4), rs("new", 1, 1), [rs("old", 4, 2)]) == {"old": 2}


def test_a_scaled_deployment_shares_in_proportion() -> None:
    sizes = core.proportional(wish(20, 0, 0), [rs("new", 3, created="2"), rs("old", 7)])
    assert sizes == {"old": 14, "new": 6}


def test_the_hash_label_does_not_make_another_template() -> None:
    one, other = deployment(), deployment()
    other.spec.template.metadata.labels[core.HASH] = "x"
    assert core.same_template(one.spec.template, other.spec.template)
    other.spec.template.spec.containers[0].image = "img:2"
    assert not core.same_template(one.spec.template, other.spec.template)
