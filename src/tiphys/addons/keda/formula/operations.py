"""What a formula's operators and functions do."""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_STEPS = 20_000  # evaluations that one run may take: about 10 ms
_MOST = 10_000  # members of an array
_LONGEST = 10_000  # characters of a string
_LARGEST = 2**63


class FormulaError(ValueError):
    """The text is where and why a formula is invalid, or gives no number."""


@dataclass
class Scope:
    """The values of names while a formula runs. `member` is what ``#`` stands for."""

    names: dict[str, Any]
    member: Any = None
    steps: list[int] = field(default_factory=lambda: [_STEPS])

    def step(self) -> None:
        """Raises FormulaError when the run takes too long."""
        self.steps[0] -= 1
        if self.steps[0] < 0:
            raise FormulaError("the formula takes too many steps")

    def within(self, member: Any) -> Scope:
        return Scope(self.names, member, self.steps)

    def with_name(self, name: str, value: Any) -> Scope:
        return Scope({**self.names, name: value}, self.member, self.steps)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _arithmetic(sign: str, do: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        if sign == "+" and isinstance(left, str) and isinstance(right, str):
            return bounded(left + right)
        if not (is_number(left) and is_number(right)):
            raise FormulaError(f"invalid operation: {kind_of(left)} {sign} {kind_of(right)}")
        try:
            return bounded(do(left, right))
        except FormulaError:
            raise
        except (ZeroDivisionError, OverflowError, ValueError):
            raise FormulaError(f"invalid operation: {left} {sign} {right}") from None

    return apply


def bounded(value: Any) -> Any:
    """Raises FormulaError for what is too large."""
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return float(value)
    if isinstance(value, str) and len(value) > _LONGEST:
        raise FormulaError("a string is too long")
    return value


def _divide(left: float, right: float) -> float:
    """As floating point has it: by nothing comes infinity, or no number."""
    if right:
        return left / right
    return math.nan if not left else math.copysign(math.inf, left)


def _modulo(left: Any, right: Any) -> Any:
    """With the sign of the first, and of whole numbers alone."""
    if not (isinstance(left, int) and isinstance(right, int)):
        raise FormulaError(
            f"invalid operation: % (mismatched types {kind_of(left)} and {kind_of(right)})"
        )
    return int(math.fmod(left, right))


def _power(left: float, right: float) -> float:
    return math.pow(left, right)


def _compare(sign: str, do: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def apply(left: Any, right: Any) -> bool:
        both_text = isinstance(left, str) and isinstance(right, str)
        if not both_text and not (is_number(left) and is_number(right)):
            raise FormulaError(f"invalid operation: {kind_of(left)} {sign} {kind_of(right)}")
        return do(left, right)

    return apply


def _contains(left: Any, right: Any) -> bool:
    if isinstance(right, list):
        return left in right
    raise FormulaError(f'operator "in" not defined on {kind_of(right)}')


def _range(left: Any, right: Any) -> list[int]:
    if not (isinstance(left, int) and isinstance(right, int)) or right - left >= _MOST:
        raise FormulaError(f"invalid operation: {left} .. {right}")
    return list(range(left, right + 1))


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": _arithmetic("+", operator.add),
    "-": _arithmetic("-", operator.sub),
    "*": _arithmetic("*", operator.mul),
    "/": _arithmetic("/", _divide),
    "%": _arithmetic("%", _modulo),
    "**": _arithmetic("**", _power),
    "^": _arithmetic("^", _power),
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": _compare("<", operator.lt),
    "<=": _compare("<=", operator.le),
    ">": _compare(">", operator.gt),
    ">=": _compare(">=", operator.ge),
    "in": _contains,
    "not in": lambda left, right: not _contains(left, right),
    "..": _range,
}


def truth(value: Any, sign: str) -> bool:
    if not isinstance(value, bool):
        raise FormulaError(f"invalid operation: {sign} (mismatched type {kind_of(value)})")
    return value


def negated(value: Any) -> Any:
    if not is_number(value):
        raise FormulaError(f"invalid operation: - (mismatched type {kind_of(value)})")
    return -value


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    kinds = {int: "int", float: "float64", str: "string", list: "[]interface {}"}
    return kinds.get(type(value), "<nil>")


# --- functions ---


def _numbers(values: tuple[Any, ...], name: str) -> list[float]:
    """Of arguments and of arrays among them."""
    flat: list[float] = []
    for value in values:
        for item in value if isinstance(value, list) else [value]:
            if not is_number(item):
                raise FormulaError(f"invalid argument for {name} (type {kind_of(item)})")
            flat.append(item)
    return flat


def _of_numbers(name: str, do: Callable[[list[float]], float]) -> Callable[..., Any]:
    def apply(*values: Any) -> Any:
        numbers = _numbers(values, name)
        if not numbers:
            if name in ("sum", "mean", "median"):
                return 0
            raise FormulaError(f"not enough arguments to call {name}")
        return bounded(do(numbers))

    return apply


def _of_one(name: str, do: Callable[[float], float]) -> Callable[..., Any]:
    def apply(*values: Any) -> Any:
        if len(values) != 1 or not is_number(values[0]):
            kinds = ", ".join(map(kind_of, values))
            raise FormulaError(f"invalid argument for {name} (type {kinds})")
        try:
            return bounded(do(values[0]))
        except (OverflowError, ValueError):
            return values[0]

    return apply


def _round(value: float) -> float:
    """Halves go away from nothing, as Go's math.Round has it."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def _length(*values: Any) -> int:
    if len(values) != 1 or not isinstance(values[0], list | str):
        raise FormulaError(f"invalid argument for len (type {', '.join(map(kind_of, values))})")
    return len(values[0])


def _cast(name: str, kind: Callable[[Any], Any]) -> Callable[..., Any]:
    def apply(*values: Any) -> Any:
        try:
            (value,) = values
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError(value)
            return bounded(kind(value))
        except (ValueError, OverflowError):
            kinds = ", ".join(map(kind_of, values))
            raise FormulaError(f"invalid argument for {name} (type {kinds})") from None

    return apply


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "max": _of_numbers("max", max),
    "min": _of_numbers("min", min),
    "sum": _of_numbers("sum", sum),
    "mean": _of_numbers("mean", statistics.fmean),
    "median": _of_numbers("median", statistics.median),
    "abs": _of_one("abs", abs),
    "ceil": _of_one("ceil", lambda value: float(math.ceil(value))),
    "floor": _of_one("floor", lambda value: float(math.floor(value))),
    "round": _of_one("round", _round),
    "len": _length,
    "int": _cast("int", int),
    "float": _cast("float", float),
}

Predicate = Callable[[Any], Any]


def _true(values: list[Any], holds: Predicate, name: str) -> list[Any]:
    return [value for value in values if truth(holds(value), name)]


def _first(values: list[Any], holds: Predicate) -> Any:
    matching = _true(values, holds, "find")
    return matching[0] if matching else None


PREDICATES: dict[str, Callable[[list[Any], Predicate], Any]] = {
    "all": lambda values, holds: len(_true(values, holds, "all")) == len(values),
    "any": lambda values, holds: bool(_true(values, holds, "any")),
    "none": lambda values, holds: not _true(values, holds, "none"),
    "one": lambda values, holds: len(_true(values, holds, "one")) == 1,
    "filter": lambda values, holds: _true(values, holds, "filter"),
    "map": lambda values, transform: [transform(value) for value in values],
    "count": lambda values, holds: len(_true(values, holds, "count")),
    "sum": lambda values, transform: FUNCTIONS["sum"]([transform(value) for value in values]),
    "find": _first,
}
"""Functions whose second argument is a predicate: ``count(values, {# > 1})``."""
