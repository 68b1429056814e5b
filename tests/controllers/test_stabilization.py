"""How fast an autoscaler's number of replicas may change."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import autoscaling_v2
from tiphys.api.base import from_builtins
from tiphys.controllers.stabilization import (
    FAST_DOWN,
    FAST_UP,
    READY,
    STABLE_DOWN,
    STABLE_UP,
    TOO_FEW,
    TOO_MANY,
    WITHIN,
    Cause,
    Record,
    bounded,
    bounds,
)


def hpa(**spec: Any) -> autoscaling_v2.HorizontalPodAutoscaler:
    target = {"kind": "Deployment", "name": "x"}
    body = {"minReplicas": 1, "maxReplicas": 100, "scaleTargetRef": target, **spec}
    return autoscaling_v2.HorizontalPodAutoscaler(
        spec=from_builtins(body, autoscaling_v2.HorizontalPodAutoscalerSpec)
    )


def by(kind: str, value: int, period: int = 60) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": period}


def up(*policies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"behavior": {"scaleUp": {"policies": list(policies), **more}}}


def down(*policies: dict[str, Any], window: int = 0, **more: Any) -> dict[str, Any]:
    rules = {"stabilizationWindowSeconds": window, "policies": list(policies), **more}
    return {"behavior": {"scaleDown": rules}}


def test_the_bounds_have_a_default() -> None:
    assert bounds(hpa()) == (1, 100) and bounds(hpa(minReplicas=0)) == (0, 100)
    unset = hpa()
    unset.spec.min_replicas = None
    assert bounds(unset) == (1, 100)


@pytest.mark.parametrize(
    ("spec", "current", "proposed", "replicas", "limit"),
    [
        ({}, 1, 50, 4, FAST_UP),
        ({}, 2, 4, 4, WITHIN),
        ({}, 20, 50, 40, FAST_UP),
        ({"maxReplicas": 3}, 2, 50, 3, TOO_MANY),
        ({"minReplicas": 3}, 5, 1, 3, TOO_FEW),
        (up(by("Pods", 2)), 2, 50, 4, FAST_UP),
        (up(by("Percent", 50)), 3, 50, 5, FAST_UP),
        (up(by("Pods", 2), by("Percent", 100)), 10, 50, 20, FAST_UP),
        (up(by("Pods", 2), by("Percent", 100), selectPolicy="Min"), 10, 50, 12, FAST_UP),
        (up(by("Pods", 2), selectPolicy="Disabled"), 10, 50, 10, FAST_UP),
        ({**up(by("Pods", 9)), "maxReplicas": 12}, 10, 50, 12, TOO_MANY),
        (down(by("Pods", 2)), 10, 1, 8, FAST_DOWN),
        (down(by("Percent", 25)), 10, 1, 7, FAST_DOWN),
        (down(by("Pods", 2), by("Percent", 50)), 10, 1, 5, FAST_DOWN),
        (down(by("Pods", 2), by("Percent", 50), selectPolicy="Min"), 10, 1, 8, FAST_DOWN),
        (down(selectPolicy="Disabled"), 10, 2, 10, FAST_DOWN),
        ({**down(by("Pods", 9)), "minReplicas": 4}, 10, 1, 4, TOO_FEW),
        (down(), 10, 0, 1, TOO_FEW),
        (down(), 10, 6, 6, WITHIN),
    ],
)
def test_it_changes_no_faster_than_the_policies_and_bounds_allow(
    spec: dict[str, Any], current: int, proposed: int, replicas: int, limit: Cause
) -> None:
    found = bounded(hpa(**spec), current, proposed, Record(), 0)
    assert (found.replicas, found.limit) == (replicas, limit)
    assert found.limited is (limit is not WITHIN)


@pytest.mark.parametrize(("now", "replicas"), [(30, 4), (59, 4), (60, 6), (61, 6)])
def test_a_policy_looks_back_over_its_period(now: float, replicas: int) -> None:
    record = Record()
    record.scaled(2, 0)
    assert bounded(hpa(**up(by("Pods", 2))), 4, 50, record, now).replicas == replicas


def test_what_was_taken_away_may_come_back_within_the_period() -> None:
    record = Record()
    record.scaled(-3, 0)
    assert bounded(hpa(**up(by("Pods", 2))), 4, 50, record, 30).replicas == 9
    record = Record()
    record.scaled(3, 0)
    assert bounded(hpa(**down(by("Pods", 2))), 10, 1, record, 30).replicas == 5


@pytest.mark.parametrize(("now", "replicas", "able"), [(60, 10, STABLE_DOWN), (301, 2, READY)])
def test_it_shrinks_only_when_five_minutes_agree(now: float, replicas: int, able: Cause) -> None:
    record = Record()
    record.note_initial(10, 0)
    record.note_initial(99, 1)  # only the first that is found counts
    assert bounded(hpa(), 10, 2, record, now) == (replicas, WITHIN, able)


@pytest.mark.parametrize(("now", "replicas", "able"), [(50, 3, STABLE_UP), (120, 6, READY)])
def test_it_grows_only_when_the_window_agrees(now: float, replicas: int, able: Cause) -> None:
    record = Record()
    record.note_initial(3, 0)
    slow = hpa(behavior={"scaleUp": {"stabilizationWindowSeconds": 100}})
    found = bounded(slow, 3, 6, record, now)
    assert (found.replicas, found.able) == (replicas, able)


def test_the_highest_recommendation_within_the_window_holds() -> None:
    record = Record()
    slow = hpa(**down(window=100))
    assert [
        bounded(slow, 10, count, record, now).replicas
        for now, count in ((0, 8), (50, 6), (99, 2), (120, 2), (160, 2))
    ] == [8, 8, 8, 6, 2]


def test_what_is_long_past_is_forgotten() -> None:
    record = Record()
    record.scaled(1, 0)
    record.scaled(-1, 10)
    record.scaled(1, 3605)
    assert [len(record.ups), len(record.downs)] == [1, 1]
    record.recommend(1, 0, 0)
    record.recommend(2, 400, 100)
    assert [moment.replicas for moment in record.recommended] == [2]
