"""What is due when, and what becomes of applications: pure."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.loadtest.acceptance import rival
from tiphys.addons.loadtest.changes import Original, for_test, missing, original_of
from tiphys.addons.loadtest.conducting import Tick, gives_up, length, rate, target_at, tick
from tiphys.addons.loadtest.measuring import NotMeasured, total
from tiphys.addons.loadtest.types import (
    Application,
    Generator,
    LoadTest,
    LoadTestSpec,
    LoadTestStatus,
    Orders,
    Reading,
)
from tiphys.api.meta_v1 import ObjectMeta


def spec(**more: Any) -> LoadTestSpec:
    return LoadTestSpec(
        target_orders_per_minute=600,
        applications=[Application(name="shop")],
        orders=Orders(url="http://shop/metrics"),
        generator=Generator(locustfile="shop", host="http://shop"),
        ramp_up_minutes=10,
        plateau_minutes=20,
        **more,
    )


def test_the_target_grows_evenly_and_stays() -> None:
    found = [target_at(spec(), 60 * minute) for minute in (0, 5, 10, 29)]
    assert found == [0, 300, 600, 600]
    assert length(spec()) == 1800


@pytest.mark.parametrize(
    "now, watched_since, is_starting, fails",
    [
        (1300, 1000, False, False),
        (1301, 1000, False, True),
        (1301, 1290, False, False),  # whoever conducted before was killed
        (1591, 1290, False, True),
        (1301, 1000, True, False),  # locust starts again
        (1901, 1000, True, True),
    ],
)
def test_what_is_not_measured_for_five_periods_fails(
    now: float, watched_since: float, is_starting: bool, fails: bool
) -> None:
    status = LoadTestStatus(phase="Loading", phase_started_at=900, changed_at=1000)
    of = spec(ready_timeout_minutes=15)
    assert gives_up(of, status, watched_since, now, is_starting) is fails


def at(now: float, changed: float = 0, read: float | None = None) -> Tick:
    """Ticks of a period of a minute, of a load that began at 1000."""
    status = LoadTestStatus(phase="Loading", phase_started_at=1000, changed_at=changed)
    status.reading = Reading(seconds=read, orders={"a": 1}) if read is not None else None
    return tick(spec(), status, now)


@pytest.mark.parametrize(
    "found, wanted",
    [
        (at(1000), Tick(after=30)),  # new users are on their way
        (at(1030), Tick(reads=True)),
        (at(1031, read=1030), Tick(after=29)),
        (at(1060, read=1030), Tick(controls=True)),
        (at(1060, changed=1060, read=1030), Tick(after=30)),  # a reading of the period before
        (at(1100, read=1090), Tick(after=5)),  # late: half as long is measured, and not a moment
        (at(2800, read=2790), Tick(ends=True)),
    ],
)
def test_a_period_reads_in_its_middle_and_thinks_at_its_end(found: Tick, wanted: Tick) -> None:
    assert found == wanted


def test_a_counter_that_began_anew_counts_from_nothing() -> None:
    assert rate({"a": 100}, {"a": 400}, 30) == 600
    assert rate({"a": 10_000}, {"a": 50}, 30) == 100


def test_pods_come_and_go_between_readings() -> None:
    before, after = {"stays": 100, "goes": 5000}, {"stays": 130, "comes": 20}
    assert rate(before, after, 30) == 100


PAGE = """# TYPE orders_total counter
orders_total{pod="a",path="/x y"} 12
orders_total{pod="b"} 3.5e1 1700000000
orders_total_failed 7
other 1
"""


def test_all_series_of_a_metric_are_added_up() -> None:
    assert total(PAGE, "orders_total") == 47
    assert total(PAGE, "other") == 1
    with pytest.raises(NotMeasured, match="no orders"):
        total(PAGE, "orders")


def deployment(**more: Any) -> dict[str, Any]:
    container = {"name": "web", "image": "shop:2", "resources": {"requests": {"cpu": "1"}}}
    pod = {"containers": [container, {"name": "side", "image": "side:1"}], **more}
    return {"replicas": 2, "selector": {}, "template": {"metadata": {}, "spec": pod}}


def test_images_and_replicas_are_those_of_production() -> None:
    before = deployment()
    production = Original(9, {"web": "shop:1", "other": "x"})
    made = for_test(before, Application(name="shop"), production, {"pool": "system"})
    pod = made["template"]["spec"]
    assert made["replicas"] == 9 and before == deployment(), "what was is not touched"
    assert [one["image"] for one in pod["containers"]] == ["shop:1", "side:1"]
    assert pod["nodeSelector"] == {"pool": "system"}
    assert {one["effect"] for one in pod["tolerations"]} == {"NoSchedule", "NoExecute"}


def test_what_is_asked_for_comes_before_production() -> None:
    made = for_test(deployment(), Application(name="shop", replicas=4), Original(9), {})
    assert made["replicas"] == 4 and "nodeSelector" not in made["template"]["spec"]
    assert for_test(deployment(), Application(name="shop"), None, {}) == deployment()


def test_an_original_has_all_its_containers() -> None:
    plain = deployment(initContainers=[{"name": "wait", "image": "wait:3"}])
    assert original_of(plain) == Original(2, {"wait": "wait:3", "web": "shop:2", "side": "side:1"})


@pytest.mark.parametrize(
    "status, words",
    [
        ({}, "has not been looked at"),
        ({"observedGeneration": 3, "updatedReplicas": 2, "availableReplicas": 1}, "1 of 2"),
        (
            {
                "observedGeneration": 3,
                "updatedReplicas": 2,
                "availableReplicas": 2,
                "replicas": 3,
            },
            "older form",
        ),
        (
            {
                "observedGeneration": 3,
                "updatedReplicas": 2,
                "availableReplicas": 2,
                "replicas": 2,
            },
            "",
        ),
    ],
)
def test_what_a_deployment_lacks_is_said(status: dict[str, Any], words: str) -> None:
    obj = {
        "metadata": {"name": "shop", "generation": 3},
        "spec": {"replicas": 2},
        "status": status,
    }
    found = missing(obj)
    assert words in found and bool(words) == bool(found)


def a_test(
    name: str, *applications: Application, namespace: str = "a", phase: Any = "Loading"
) -> LoadTest:
    made = LoadTest(metadata=ObjectMeta(name=name, namespace=namespace, uid=name))
    made.spec.applications = list(applications)
    made.status.phase = phase
    return made


def test_two_tests_are_not_at_work_on_one_application() -> None:
    shop, local = Application(name="shop"), Application(name="shop", substrate="Process")
    test = a_test("new", shop, local, phase=None)
    assert rival(test, [a_test("other", shop)]) == "other is at work on shop"
    assert rival(test, [a_test("other", local, namespace="b")]) == "other is at work on shop"
    free = [
        test,
        a_test("elsewhere", shop, namespace="b"),
        a_test("over", shop, phase="Completed"),
        a_test("undecided", shop, phase=None),
        a_test("of others", Application(name="till")),
    ]
    assert not rival(test, free)
