"""Conditions, set by one rule."""

from __future__ import annotations

import pytest

from tiphys.api.meta_v1 import Condition
from tiphys.machinery import conditions, timestamps

EARLIER = timestamps.rfc3339(100)
NOW = timestamps.rfc3339(200)


def ready(status: str, reason: str = "", since: str | None = None) -> Condition:
    return Condition(type="Ready", status=status, reason=reason, last_transition_time=since)


@pytest.mark.parametrize(
    ("standing", "wanted", "since"),
    [
        ([], ready("True"), NOW),
        ([ready("True", since=EARLIER)], ready("True", "Other"), EARLIER),
        ([ready("False", since=EARLIER)], ready("True"), NOW),
        ([ready("Unknown", since=EARLIER)], ready("False"), NOW),
        ([ready("True")], ready("True"), NOW),
    ],
)
def test_the_time_of_transition_moves_with_the_status_alone(
    standing: list[Condition], wanted: Condition, since: str
) -> None:
    [found] = conditions.updated(standing, wanted, 200)
    assert (found.status, found.reason) == (wanted.status, wanted.reason)
    assert found.last_transition_time == since


def test_a_condition_keeps_its_place_unless_it_is_to_be_the_last() -> None:
    standing = [ready("True", since=EARLIER), Condition(type="Other", status="True")]
    kept = conditions.updated(standing, ready("False"), 200)
    assert [c.type for c in kept] == ["Ready", "Other"]
    moved = conditions.updated(standing, ready("False"), 200, last=True)
    assert [c.type for c in moved] == ["Other", "Ready"]
    assert standing[0].status == "True", "the given list is not changed"


def test_only_the_status_true_is_true() -> None:
    assert conditions.is_true([ready("True")], "Ready")
    assert not conditions.is_true([ready("Unknown")], "Ready")
    assert not conditions.is_true([ready("True")], "Other")


@pytest.mark.parametrize(
    ("standing", "differs"),
    [
        (None, True),
        (ready("True", "Fine", EARLIER), False),
        (ready("False", "Fine"), True),
        (ready("True", "Else"), True),
    ],
)
def test_times_make_no_difference(standing: Condition | None, differs: bool) -> None:
    assert conditions.differs(standing, ready("True", "Fine", NOW)) is differs


@pytest.mark.parametrize(
    ("standing", "status", "since"),
    [
        (None, "True", NOW),
        (ready("True", since=EARLIER), "True", EARLIER),
        (ready("False", since=EARLIER), "True", NOW),
        (ready("True"), "True", NOW),
    ],
)
def test_when_a_condition_got_the_status_that_it_has_now(
    standing: Condition | None, status: str, since: str
) -> None:
    assert conditions.transition_time(standing, status, 200) == since


def test_a_condition_that_is_not_there_is_unknown_unless_another_word_is_given() -> None:
    standing = [ready("False"), Condition(type="Other", status="True")]
    assert conditions.state_of(standing, "Ready") == "False"
    assert conditions.state_of(standing, "None") == "Unknown"
    assert conditions.state_of(standing, "None", "False") == "False"
    assert (conditions.status_of(True), conditions.status_of(False)) == ("True", "False")
    assert conditions.find(standing, "Other") is standing[1]
    assert conditions.find(standing, "None") is None
    assert conditions.without(standing, "Ready") == [standing[1]]
