"""What several expressions may cost together."""

from __future__ import annotations

import pytest

from tiphys.machinery.cel.budget import Budget, OutOfBudget
from tiphys.machinery.cel.frames import COST_LIMIT
from tiphys.machinery.cel.values import CostExceeded

EXPENSIVE = "texts.all(x, x.contains('x'))"  # a tenth of their length


def texts(count: int) -> dict[str, list[str]]:
    return {"texts": ["x" * 100_000] * count}


def test_an_expression_takes_what_it_costs() -> None:
    budget = Budget(100)
    assert budget.run("1 + 1", {}) == 2
    assert budget.left == 99


def test_one_that_takes_too_much_leaves_the_others_theirs() -> None:
    budget = Budget(3 * COST_LIMIT)
    with pytest.raises(CostExceeded) as refused:
        budget.run(EXPENSIVE, texts(COST_LIMIT // 10_000))
    assert not isinstance(refused.value, OutOfBudget) and budget.left == 2 * COST_LIMIT
    assert budget.run("1 + 1", {}) == 2


@pytest.mark.parametrize("left", [0, 50])
def test_nothing_runs_once_nothing_is_left(left: int) -> None:
    budget = Budget(left)
    with pytest.raises(OutOfBudget, match="no further validation rules will be run"):
        budget.run(EXPENSIVE, texts(1))
    assert budget.left == 0
