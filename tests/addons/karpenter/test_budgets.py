"""How many nodes may go at once."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.addons.karpenter.budgets import (
    UNLIMITED,
    Count,
    allowed,
    is_active,
    left,
    mistakes,
    share,
)
from tiphys.addons.karpenter.types import Budget, NodePool
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import cron

OFFICE = {"schedule": "0 9 * * mon-fri", "duration": "8h"}


def pool(*budgets: Budget) -> NodePool:
    made = NodePool(metadata=ObjectMeta(name="default"))
    made.spec.disruption.budgets = list(budgets)
    return made


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    ("nodes", "total", "expected"),
    [
        ("20%", 19, 4),
        ("10%", 19, 2),
        ("5%", 10, 1),
        ("100%", 7, 7),
        ("0%", 7, 0),
        ("3", 1, 3),
        ("0", 9, 0),
        ("20%", 0, 0),
    ],
)
def test_a_share_is_rounded_up(nodes: str, total: int, expected: int) -> None:
    assert share(nodes, total) == expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-11-27T08:59:59", 4),
        ("2026-11-27T09:00:00", 0),
        ("2026-11-27T16:59:59", 0),
        ("2026-11-27T17:00:00", 4),
    ],
)
def test_none_in_office_hours(when: str, expected: int) -> None:
    budgets = pool(Budget(nodes="20%"), Budget(nodes="0", **OFFICE))
    assert allowed(budgets, "Drifted", 19, at(when)).nodes == expected


def test_the_stricter_of_two_budgets_is_named() -> None:
    allowance = allowed(pool(Budget(nodes="5"), Budget(nodes="10%")), "Empty", 19, 0)
    assert allowance.nodes == 2 and allowance.text == "nodes 10%"


def test_reasons_are_counted_apart() -> None:
    apart = pool(Budget(nodes="100%", reasons=["Empty"]), Budget(nodes="1", reasons=["Drifted"]))
    numbers = [
        allowed(apart, reason, 19, 0).nodes for reason in ("Empty", "Drifted", "Underutilized")
    ]
    assert numbers == [19, 1, UNLIMITED]


def test_what_cannot_be_understood_allows_nothing_and_is_named() -> None:
    bad = pool(Budget(nodes="20%"), Budget(nodes="100%", schedule="61 9 * * *", duration="8h"))
    assert allowed(bad, "Empty", 19, 0).nodes == 0
    bad.spec.disruption.budgets[1].reasons = ["Drifted"]
    assert allowed(bad, "Empty", 19, 0).nodes == 0  # whatever its reasons are
    assert list(mistakes(bad)) == [
        "spec.disruption.budgets[1]: end of range (61) above maximum (59): 61"
    ]


GOLDENS = Path(__file__).parent / "goldens" / "budgets.jsonl"
"""Budgets (nodes, reasons, schedule, duration), reason, nodes, moment, and how many Karpenter's own
function lets go."""


def test_karpenters_own_function_says_the_same() -> None:
    for line in GOLDENS.read_text().splitlines():
        rows, reason, total, now, expected = json.loads(line)
        budgets = [
            Budget(nodes=nodes, reasons=reasons or [], schedule=schedule, duration=duration)
            for nodes, reasons, schedule, duration in rows
        ]
        assert allowed(pool(*budgets), reason, total, now).nodes == expected, line


def test_nodes_that_go_or_are_not_ready_use_the_budget_up() -> None:
    more, _ = left({"default": pool(Budget(nodes="20%"))}, {"default": Count(19, 3)}, "Drifted", 0)
    assert more == {"default": 1}
    more, _ = left({"default": pool(Budget(nodes="20%"))}, {"default": Count(19, 9)}, "Drifted", 0)
    assert more == {"default": 0}


BUDGETS = st.builds(
    Budget,
    nodes=st.one_of(st.integers(0, 30).map(str), st.integers(0, 100).map(lambda n: f"{n}%")),
    reasons=st.lists(
        st.sampled_from(["Empty", "Drifted", "Underutilized"]), max_size=2, unique=True
    ),
    schedule=st.sampled_from(
        ["0 9 * * mon-fri", "@daily", "*/5 * * * *", "nonsense in five words here"]
    ),
    duration=st.sampled_from(["8h", "30m", "1h30m"]),
) | st.builds(Budget, nodes=st.integers(0, 30).map(str))


@given(st.lists(BUDGETS, max_size=5), st.integers(0, 50), st.integers(0, 10**9))
def test_no_budget_that_is_active_is_exceeded(budgets: list[Budget], total: int, now: int) -> None:
    found = allowed(pool(*budgets), "Drifted", total, now).nodes
    for budget in budgets:
        if budget.reasons and "Drifted" not in budget.reasons:
            continue
        try:
            active = is_active(budget, now)
        except cron.ScheduleError:
            assert found == 0
            continue
        assert not active or found <= share(budget.nodes, total)
