"""Conversions between types, and the texts of numbers, times and spans."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

from tiphys.machinery import durations
from tiphys.machinery.cel.frames import Function
from tiphys.machinery.cel.values import (
    CIDR,
    IP,
    CelError,
    TypeValue,
    Uint,
    is_number,
    type_name,
)


def _size(value: Any) -> int:
    return len(value)


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise CelError("no such overload")
    if isinstance(value, datetime.datetime):
        return int(value.timestamp())
    if isinstance(value, datetime.timedelta):
        return value // datetime.timedelta(microseconds=1) * 1000
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?\d+", value):
            raise CelError(f'strconv.ParseInt: parsing "{value}": invalid syntax')
        number = int(value)
    elif isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            raise CelError("integer overflow")
        number = int(value)
    else:
        number = int(value)
    if not -(2**63) <= number < 2**63:
        raise CelError("integer overflow")
    return number


def _uint(value: Any) -> Uint:
    if isinstance(value, str) and not re.fullmatch(r"\d+", value):
        raise CelError(f'strconv.ParseUint: parsing "{value}": invalid syntax')
    if isinstance(value, float) and not 0 <= value < 2**64:
        raise CelError("unsigned integer overflow")
    number = int(value)
    if not 0 <= number < 2**64:
        raise CelError("unsigned integer overflow")
    return Uint(number)


def _double(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise CelError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None
    if is_number(value):
        return float(value)
    raise CelError("no such overload")


_EXPONENT = 6  # from which on Go writes a double with one


def _float_text(value: float) -> str:
    """A double as Go prints it in its shortest form."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    mantissa, _, power = f"{value:.17e}".partition("e")
    for precision in range(17):
        text = f"{value:.{precision}e}"
        if float(text) == value:
            mantissa, _, power = text.partition("e")
            break
    exponent = int(power)
    if -4 <= exponent < _EXPONENT:
        return f"{value:.{max(len(mantissa.lstrip('-').replace('.', '')) - 1 - exponent, 0)}f}"
    return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def string_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, datetime.datetime):
        text = value.isoformat().replace("+00:00", "Z")
        return re.sub(r"(\.\d*?)0+(?=[Z+-])", r"\1", text) if value.microsecond else text
    if isinstance(value, datetime.timedelta):
        seconds = value.total_seconds()
        return f"{int(seconds)}s" if seconds == int(seconds) else f"{seconds:g}s"
    if isinstance(value, IP):
        return str(value.address)
    if isinstance(value, CIDR):
        return value.text
    raise CelError("no such overload")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise CelError(f'strconv.ParseBool: parsing "{value}": invalid syntax')


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(memoryview(value))


def parse_duration(value: Any) -> datetime.timedelta:
    if isinstance(value, datetime.timedelta):
        return value
    try:
        return durations.parse(value)
    except durations.DurationError as error:
        raise CelError(str(error)) from None


def parse_timestamp(value: Any) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, int):
        if not -62135596800 <= value <= 253402300799:
            raise CelError("timestamp overflow")
        return datetime.datetime.fromtimestamp(value, datetime.UTC)
    try:
        timestamp = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise CelError(f'parsing time "{value}"') from None
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=datetime.UTC)


FUNCTIONS: dict[str, Function] = {
    "size": _size,
    "int": _int,
    "uint": _uint,
    "double": _double,
    "string": string_of,
    "bool": _bool,
    "bytes": _bytes,
    "duration": parse_duration,
    "timestamp": parse_timestamp,
    "dyn": lambda v: v,
    "type": lambda v: TypeValue(type_name(v)),
}
METHODS: dict[str, Function] = {"size": _size}
