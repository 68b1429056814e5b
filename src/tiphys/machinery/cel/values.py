"""CEL's values in Python's terms, and what can be said of any two of them.

int, float, str, bytes, bool, None, list and dict are themselves; a uint is `Uint`, a duration a
`timedelta`, a timestamp an aware `datetime`. The rest are the small classes below.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from tiphys.api.base import format_quantity, parse_quantity


class CelError(Exception):
    """The expression cannot be compiled or evaluated; the text is for the user."""


class CostExceeded(CelError):
    """The expression did more work than it may. Nothing absorbs this one."""


class Uint(int):
    """An unsigned 64 bit integer."""


@dataclass(frozen=True, slots=True)
class TypeValue:
    """What `type(x)` gives, and the names of types."""

    name: str


class Optional:
    """An optional value: `NONE`, or one with something in it."""

    __slots__ = ("present", "value")

    def __init__(self, present: bool, value: Any = None) -> None:
        self.present = present
        self.value = value


NONE = Optional(False)


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """A resource quantity, as a number of nano units."""

    nano: int

    @classmethod
    def parse(cls, text: str) -> QuantityValue:
        try:
            return cls(parse_quantity(text)[0])
        except ValueError as error:
            raise CelError(str(error)) from None

    def __str__(self) -> str:
        return str(format_quantity(self.nano))


@dataclass(frozen=True, slots=True)
class IP:
    address: ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class CIDR:
    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    text: str


@dataclass(frozen=True, slots=True)
class URL:
    scheme: str
    host: str
    path: str
    query: str


@dataclass(frozen=True, slots=True)
class Semver:
    parts: tuple[int, int, int]
    pre: tuple[Any, ...]

    def key(self) -> tuple[Any, ...]:
        """Sort key: a pre-release comes before its release, numbers before words."""
        return (
            *self.parts,
            0 if self.pre else 1,
            tuple((0, p, "") if isinstance(p, int) else (1, 0, p) for p in self.pre),
        )


_SEMVER = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


def parse_semver(text: str, normalize: bool = False) -> Semver:
    if normalize:
        text = text.removeprefix("v")
        head, dash, tail = text.partition("-")
        text = (
            ".".join(
                [str(int(p)) if p.isascii() and p.isdigit() else p for p in head.split(".")]
                + ["0"] * (2 - head.count("."))
            )
            + dash
            + tail
        )
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise CelError(f"invalid semantic version {text!r}")
    parts = match[4].split(".") if match[4] else []
    pre = tuple(int(part) if part.isascii() and part.isdigit() else part for part in parts)
    return Semver((int(match[1]), int(match[2]), int(match[3])), pre)


_TYPES: list[tuple[type, str]] = [
    (bool, "bool"),
    (Uint, "uint"),
    (int, "int"),
    (float, "double"),
    (str, "string"),
    (bytes, "bytes"),
    (list, "list"),
    (dict, "map"),
    (datetime.timedelta, "google.protobuf.Duration"),
    (datetime.datetime, "google.protobuf.Timestamp"),
    (TypeValue, "type"),
    (Optional, "optional_type"),
    (QuantityValue, "kubernetes.Quantity"),
    (IP, "net.IP"),
    (CIDR, "net.CIDR"),
    (URL, "kubernetes.URL"),
    (Semver, "kubernetes.Semver"),
]


PYTHON_TYPES: dict[str, type] = {
    **{name: kind for kind, name in _TYPES},
    "duration": datetime.timedelta,
    "timestamp": datetime.datetime,
}


def type_name(value: Any) -> str:
    if value is None:
        return "null_type"
    return next((name for kind, name in _TYPES if isinstance(value, kind)), type(value).__name__)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool:
    """CEL's ==: numbers by value whatever their type, everything else only within its own type."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if is_number(left) and is_number(right):
        return bool(left == right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            equal(a, b) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, dict) and isinstance(right, dict):
        return len(left) == len(right) and all(
            key in right and equal(value, right[key]) for key, value in left.items()
        )
    if isinstance(left, Optional) and isinstance(right, Optional):
        return left.present == right.present and (
            not left.present or equal(left.value, right.value)
        )
    return type(left) is type(right) and bool(left == right)


_ORDERED = (str, bytes, datetime.timedelta, datetime.datetime)


def less(left: Any, right: Any) -> bool:
    """CEL's <. Raises CelError for what has no order."""
    if is_number(left) and is_number(right):
        return bool(left < right)
    for kind in _ORDERED:
        if isinstance(left, kind) and isinstance(right, kind):
            return bool(left < right)  # type: ignore[operator]
    if isinstance(left, bool) and isinstance(right, bool):
        return not left and right
    raise CelError("no such overload")
