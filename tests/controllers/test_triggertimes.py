"""Slices say when what they tell of has changed."""

from __future__ import annotations

from tests.builders import pod as build_pod
from tiphys.api.core_v1 import Pod, PodCondition, Service
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.triggertimes import TriggerTimes

MADE = "2026-01-01T00:00:00Z"


def service() -> Service:
    return Service(metadata=ObjectMeta(name="s", namespace="d", creation_timestamp=MADE))


def pod(name: str, ready: str = "") -> Pod:
    made = build_pod(name)
    if ready:
        condition = PodCondition(type="Ready", status="True", last_transition_time=ready)
        made.status.conditions = [condition]
    return made


def test_a_new_service_is_as_old_as_itself() -> None:
    times = TriggerTimes()
    assert times.triggered("d/s", service(), [pod("a", "2026-01-01T00:00:09Z")]) == MADE


def test_of_several_changes_since_the_last_look_the_first_counts() -> None:
    times = TriggerTimes()
    times.triggered("d/s", service(), [pod("a", "2026-01-01T00:00:01Z"), pod("b")])
    now = [pod("a", "2026-01-01T00:00:07Z"), pod("b", "2026-01-01T00:00:05Z"), pod("c")]
    assert times.triggered("d/s", service(), now) == "2026-01-01T00:00:05Z"
    assert times.triggered("d/s", service(), now) == ""


def test_a_service_that_was_forgotten_is_new_again() -> None:
    times = TriggerTimes()
    times.triggered("d/s", service(), [])
    assert times.triggered("d/s", service(), []) == ""
    times.forget("d/s")
    assert times.triggered("d/s", service(), []) == MADE
