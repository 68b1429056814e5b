"""What several expressions may cost together: those of one policy about one object, or of the rules
in a schema."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.cel.compiler import compile_expression
from tiphys.machinery.cel.frames import COST_LIMIT
from tiphys.machinery.cel.values import CostExceeded

_WHOLE = 10_000_000  # units: upstream's RuntimeCELCostBudget


class OutOfBudget(CostExceeded):
    """Nothing is left, whatever one expression alone may cost."""

    def __init__(self) -> None:
        super().__init__(
            "validation failed due to running out of cost budget, no further validation rules "
            "will be run"
        )


class Budget:
    """`left` goes down with each expression that is run, the variables among them."""

    def __init__(self, left: int = _WHOLE) -> None:
        self.left = left

    def run(self, expression: str, variables: dict[str, Any]) -> Any:
        """The expression's value. Raises CelError, CostExceeded when it alone takes too much, and
        OutOfBudget."""
        limit = min(COST_LIMIT, self.left)
        try:
            value, cost = compile_expression(expression).measured(variables, limit)
        except OutOfBudget:
            raise
        except CostExceeded:
            self.left -= limit
            if limit < COST_LIMIT:
                raise OutOfBudget from None
            raise
        self.left -= cost
        return value
