"""What a share takes of a device."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scheduler.device_builders import DRIVER, ask, claim, class_of, device, slice_of
from tiphys.machinery.quantity import nano
from tiphys.scheduler.devices.requests import RequestData, alternatives_of
from tiphys.scheduler.devices.sharing import consumption, has_capacity


def request(**capacity: str) -> RequestData:
    entry = ask(capacity={"requests": capacity}) if capacity else ask()
    made = claim("c", entry)
    return alternatives_of(made, made.spec.devices.requests[0], lambda name: class_of())[0]


def consumed(policy: dict[str, Any] | None, amount: str = "") -> str | int | None:
    """How much a request of `amount` takes of 10Gi of memory; None: it may not."""
    memory: dict[str, Any] = {"value": "10Gi"}
    if policy is not None:
        memory["requestPolicy"] = policy
    slice_ = slice_of("a", device("d", capacity={"memory": memory}))
    amounts = consumption(
        request(memory=amount) if amount else request(), slice_.spec.devices[0], DRIVER
    )
    return None if amounts is None else amounts["memory"]


RANGE = {"default": "2Gi", "validRange": {"min": "1Gi", "max": "8Gi", "step": "2Gi"}}
VALUES = {"default": "2Gi", "validValues": ["2Gi", "4Gi"]}


@pytest.mark.parametrize(
    ("policy", "amount", "taken"),
    [
        (None, "3Gi", "3Gi"),
        (None, "", "10Gi"),
        (RANGE, "", "3Gi"),  # the default, rounded up to a step
        (RANGE, "1", "1Gi"),
        (RANGE, "1Gi", "1Gi"),
        (RANGE, "4Gi", "5Gi"),
        (RANGE, "7Gi", "7Gi"),
        (RANGE, "8Gi", None),  # the next step is over the maximum
        ({"validRange": {"min": "1Gi", "max": "8Gi"}}, "8Gi", "8Gi"),
        ({"validRange": {"min": "1Gi", "max": "8Gi"}}, "9Gi", None),
        (VALUES, "", "2Gi"),
        (VALUES, "1Gi", "2Gi"),
        (VALUES, "4Gi", "4Gi"),
        (VALUES, "5Gi", None),
    ],
)
def test_shares_are_rounded_by_the_policy(
    policy: dict[str, Any] | None, amount: str, taken: str | None
) -> None:
    assert consumed(policy, amount) == (None if taken is None else nano(taken))


def test_a_device_has_what_is_asked_by_either_name() -> None:
    slice_ = slice_of("a", device("d", capacity={"memory": "4Gi"}))
    [only] = slice_.spec.devices
    assert has_capacity(request(memory="4Gi"), only, DRIVER)
    assert has_capacity(request(**{f"{DRIVER}/memory": "4Gi"}), only, DRIVER)
    assert not has_capacity(request(memory="5Gi"), only, DRIVER)
    assert not has_capacity(request(**{"other.example.com/memory": "1Gi"}), only, DRIVER)
