"""Text and numbers as Go prints them: upstream's messages quote values, and clients compare
messages."""

from __future__ import annotations

import math
from decimal import Decimal


def quoted(text: str) -> str:
    """Text between quotes, as ``%q`` prints it."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    if text.isprintable():
        return f'"{text}"'
    escaped = (c if c.isprintable() else repr(c)[1:-1] for c in text)
    return f'"{"".join(escaped)}"'


def shortest(value: float) -> str:
    """A number as ``%v`` prints it: the fewest digits that read back as the number.

    It has an exponent from a million on and below 0.0001.
    """
    if not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    sign, digit_tuple, exponent = Decimal(repr(value)).normalize().as_tuple()
    minus = "-" if sign else ""
    if value == 0:
        return f"{minus}0"
    digits = "".join(map(str, digit_tuple))
    power = len(digits) - 1 + int(exponent)  # of ten, of the first digit
    if power < -4 or power >= 6:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        exponent_sign = "-" if power < 0 else "+"
        return f"{minus}{digits[0]}{fraction}e{exponent_sign}{abs(power):02d}"
    if power < 0:
        zeros = "0" * (-power - 1)
        return f"{minus}0.{zeros}{digits}"
    integer = digits[: power + 1].ljust(power + 1, "0")
    rest = digits[power + 1 :]
    return f"{minus}{integer}.{rest}" if rest else f"{minus}{integer}"
