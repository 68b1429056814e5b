"""Writes whose events have not come back yet."""

from __future__ import annotations

import pytest

from tests.controllers.builders import leaving, running
from tiphys.api.core_v1 import Pod
from tiphys.controllers.expectations import Expectations


def test_creations_are_met_one_by_one() -> None:
    expected = Expectations()
    assert expected.met("k")
    expected.expect("k", creations=2)
    expected.observe("k", None, running("a"))
    expected.observe("k", running("a"), running("a"))
    assert not expected.met("k") and expected.met("other")
    expected.created("k")
    assert expected.met("k")
    expected.observe("k", None, running("b"))
    expected.expect("k", creations=1)
    assert not expected.met("k"), "one too many is not kept for later"


@pytest.mark.parametrize(
    ("old", "new", "met"),
    [
        (running("a"), None, True),
        (running("a"), leaving(running("a")), True),
        (running("a"), running("a"), False),
        (running("b"), None, False),
    ],
)
def test_a_deletion_is_met_when_it_has_begun(old: Pod, new: Pod | None, met: bool) -> None:
    expected = Expectations()
    expected.expect("k", deletions={"a"})
    expected.observe("k", old, new)
    assert expected.met("k") is met


def test_an_event_that_never_comes_is_given_up_on() -> None:
    now = 0.0
    expected = Expectations(lambda: now)
    expected.expect("k", creations=1)
    now = 300.0
    assert not expected.met("k")
    now = 301.0
    assert expected.met("k")


def test_an_owner_that_is_gone_is_forgotten() -> None:
    expected = Expectations()
    expected.expect("k", 1, {"a"})
    expected.forget("k")
    assert expected.met("k")
