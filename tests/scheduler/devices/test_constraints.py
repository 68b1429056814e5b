"""Constraints over the devices of a claim."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scheduler.device_builders import DRIVER, ask, claim, class_of, device, slice_of
from tiphys.api import resource_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.scheduler.devices.constraints import Constraint
from tiphys.scheduler.devices.inventory import Offer
from tiphys.scheduler.devices.requests import RequestData, alternatives_of


def constraint(**fields: Any) -> Constraint:
    return Constraint(from_builtins(fields, v1.DeviceConstraint))


def request(name: str = "r") -> RequestData:
    made = claim("c", ask(name))
    return alternatives_of(made, made.spec.devices.requests[0], lambda name: class_of())[0]


def offer(value: Any) -> Offer:
    """A device with the attribute `x`."""
    slice_ = slice_of("a", device("d", attributes={"x": value}))
    return Offer(slice_, slice_.spec.devices[0])


X = f"{DRIVER}/x"


@pytest.mark.parametrize(
    ("rule", "values", "allowed"),
    [
        ("matchAttribute", [1, 1], [True, True]),
        ("matchAttribute", [1, 2], [True, False]),
        ("matchAttribute", [1, True], [True, False]),  # numbers are no truth values
        ("matchAttribute", [1, "1", 1], [True, False, True]),
        ("distinctAttribute", [1, 2], [True, True]),
        ("distinctAttribute", [1, 1], [True, False]),
        ("distinctAttribute", [1, 2, 1], [True, True, False]),
        ("distinctAttribute", [1, True], [True, True]),
    ],
)
def test_values_match_or_differ(rule: str, values: list[Any], allowed: list[bool]) -> None:
    rules = constraint(**{rule: X})
    assert [rules.add(request(), offer(value)) for value in values] == allowed


def test_a_device_that_is_removed_does_not_count() -> None:
    rules = constraint(matchAttribute=X)
    assert rules.add(request(), offer(1))
    rules.remove(request())
    assert rules.add(request(), offer(2))


def test_only_named_requests_are_constrained() -> None:
    rules = constraint(matchAttribute=X, requests=["a"])
    assert rules.add(request("a"), offer(1))
    assert rules.add(request("b"), offer(2))
    rules.remove(request("b"))
    assert not rules.add(request("a"), offer(2))
