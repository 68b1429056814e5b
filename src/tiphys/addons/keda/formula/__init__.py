"""Formulas of scaling modifiers: the part of the language Expr (expr-lang.org) that makes one
number of several. Nothing in it reaches anything but the numbers that it is given, and what it may
take of time and memory is bounded. Pure.

`parsing` makes a tree of closures of a text, `operations` is what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tiphys.addons.keda.formula.operations import FormulaError, Scope
from tiphys.addons.keda.formula.parsing import Parser

__all__ = ["Formula", "FormulaError", "compiled"]

_LONGEST = 4096  # characters
_DUMMY = -1.0


@dataclass(frozen=True)
class Formula:
    """`text` as it was written."""

    text: str
    _run: Callable[[Scope], Any]

    def value(self, values: Mapping[str, float | None]) -> float | None:
        """What comes out; None only where the formula knows ``??``. Raises FormulaError."""
        result = self._run(Scope(dict(values)))
        if result is None and "??" in self.text:
            return None
        if isinstance(result, bool) or not isinstance(result, int | float | str):
            raise FormulaError(f"invalid argument for float (type {_kind(result)})")
        try:
            return float(result)
        except ValueError:
            raise FormulaError(
                f'invalid operation: float({result}): strconv.ParseFloat: parsing "{result}": '
                "invalid syntax"
            ) from None
        except OverflowError:
            raise FormulaError("the number is too large") from None


def compiled(text: str, names: Collection[str]) -> Formula:
    """A formula in which these names may stand. Raises FormulaError, also when it makes no number
    of -1 for each of them: that is how KEDA tries it."""
    if len(text) > _LONGEST:
        raise FormulaError(f"a formula has at most {_LONGEST} characters")
    formula = Formula(text, Parser(text, frozenset(names)).parsed())
    formula.value(dict.fromkeys(names, _DUMMY))
    return formula


def _kind(value: Any) -> str:
    return {type(None): "nil", bool: "bool", list: "[]interface {}"}.get(type(value), "unknown")
