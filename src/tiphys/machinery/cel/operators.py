"""Operators: functions of compiled operands. Logic absorbs an operand's error where the other
decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.machinery.cel.actual import comparison_cost, joining_cost, search_cost
from tiphys.machinery.cel.arithmetic import divide, modulo, plus
from tiphys.machinery.cel.frames import Evaluate, Frame, as_bool, spend
from tiphys.machinery.cel.values import CelError, CostExceeded, Uint, equal, is_number, less


def _and(left: Evaluate, right: Evaluate) -> Evaluate:
    return _logic(left, right, False)


def _or(left: Evaluate, right: Evaluate) -> Evaluate:
    return _logic(left, right, True)


def _logic(left: Evaluate, right: Evaluate, decisive: bool) -> Evaluate:
    def run(frame: Frame) -> bool:
        try:
            if as_bool(left(frame)) is decisive:
                return decisive
            failure: CelError | None = None
        except CostExceeded:
            raise
        except CelError as error:
            failure = error
        if as_bool(right(frame)) is decisive:
            return decisive
        if failure is not None:
            raise failure
        return not decisive

    return run


def _choose(test: Evaluate, yes: Evaluate, no: Evaluate) -> Evaluate:
    return lambda frame: yes(frame) if as_bool(test(frame)) else no(frame)


def _least_size(a: Any, b: Any) -> int:
    return min(len(a), len(b)) // 10 if isinstance(a, str) and isinstance(b, str) else 0


def _simple(
    function: Callable[..., Any], cost: Callable[[Any, Any], int] = _least_size
) -> Callable[..., Evaluate]:
    def make(*args: Evaluate) -> Evaluate:
        if len(args) == 1:
            [only] = args
            return lambda frame: function(only(frame))
        left, right = args

        def run(frame: Frame) -> Any:
            a = left(frame)
            b = right(frame)
            spend(frame, 1 + cost(a, b))
            return function(a, b)

        return run

    return make


def _in(item: Any, container: Any) -> bool:
    if isinstance(container, dict):
        return not isinstance(item, list | dict) and item in container
    if isinstance(container, list):
        return any(equal(item, other) for other in container)
    raise CelError("no such overload")


def ranged(value: int, unsigned: bool = False) -> int:
    low, high = (0, 2**64) if unsigned else (-(2**63), 2**63)
    if not low <= value < high:
        raise CelError("unsigned integer overflow" if unsigned else "integer overflow")
    return Uint(value) if unsigned else value


def _arithmetic(operator: str) -> Callable[[Any, Any], Any]:
    def run(a: Any, b: Any) -> Any:
        if is_number(a) and is_number(b):
            if isinstance(a, float) and isinstance(b, float):
                if operator == "%":
                    raise CelError("no such overload")
                return _float(operator, a, b)
            if (
                isinstance(a, float)
                or isinstance(b, float)
                or isinstance(a, Uint) is not isinstance(b, Uint)
            ):
                raise CelError("no such overload")
            operations = {
                "+": lambda: a + b,
                "-": lambda: a - b,
                "*": lambda: a * b,
                "/": lambda: divide(a, b),
                "%": lambda: modulo(a, b),
            }
            return ranged(int(operations[operator]()), isinstance(a, Uint))  # type: ignore[no-untyped-call]
        return plus(operator, a, b)

    return run


def _float(operator: str, a: float, b: float) -> float:
    if operator == "/":
        if b == 0:
            return _divided_by_zero(a, b)
        return a / b
    if operator == "+":
        return a + b
    return a - b if operator == "-" else a * b


def _divided_by_zero(a: float, zero: float) -> float:
    """As in IEEE 754: zero has a sign, too."""
    if a == 0 or a != a:
        return float("nan")
    zero_is_positive = str(zero)[0] != "-"
    return float("inf") if (a > 0) == zero_is_positive else float("-inf")


def _negate(value: Any) -> Any:
    if isinstance(value, Uint) or not is_number(value):
        raise CelError("no such overload")
    return -value if isinstance(value, float) else ranged(-value)


OPERATORS: dict[str, Callable[..., Evaluate]] = {
    "_&&_": _and,
    "_||_": _or,
    "_?_:_": _choose,
    "_==_": _simple(equal, comparison_cost),
    "_!=_": _simple(lambda a, b: not equal(a, b), comparison_cost),
    "_<_": _simple(less),
    "_>_": _simple(lambda a, b: less(b, a)),
    "_<=_": _simple(lambda a, b: less(a, b) or equal(a, b)),
    "_>=_": _simple(lambda a, b: less(b, a) or equal(a, b)),
    "_in_": _simple(_in, search_cost),
    "!_": _simple(lambda v: not as_bool(v)),
    "-_": _simple(_negate),
    "_+_": _simple(_arithmetic("+"), joining_cost),
    **{f"_{op}_": _simple(_arithmetic(op)) for op in "-*/%"},
}
