"""Devices that are not ready yet when a pod is given them."""

from __future__ import annotations

import pytest

from tests.scheduler.device_builders import claim
from tiphys.api import resource_v1 as v1
from tiphys.api.meta_v1 import Condition
from tiphys.machinery import timestamps
from tiphys.scheduler.devices.binding_conditions import (
    TIMEOUT,
    BindingFailed,
    is_lost,
    is_overdue,
    is_ready,
    must_wait,
)

AT = 1_000_000.0


def allocated(*wanted: str, device: str = "d0", **conditions: str) -> v1.ResourceClaim:
    """A claim whose device has binding conditions, with what its driver says of them."""
    made = claim("c")
    made.status.allocation = v1.AllocationResult(allocation_timestamp=timestamps.rfc3339(AT))
    result = v1.DeviceRequestAllocationResult(
        request="r",
        driver="d",
        pool="p",
        device="d0",
        binding_conditions=list(wanted),
        binding_failure_conditions=["Broken"],
    )
    made.status.allocation.devices.results = [result]
    told = [
        Condition(type=kind, status=status, reason="Because", message="so")
        for kind, status in conditions.items()
    ]
    if told:
        status = v1.AllocatedDeviceStatus(driver="d", pool="p", device=device, conditions=told)
        made.status.devices = [status]
    return made


@pytest.mark.parametrize(
    ("one", "ready"),
    [
        (claim("c"), False),
        (allocated(), True),
        (allocated("Attached"), False),
        (allocated("Attached", Attached="False"), False),
        (allocated("Attached", Attached="True"), True),
        (allocated("Attached", device="other", Attached="True"), False),
        (allocated("Attached", "Warm", Attached="True"), False),
        (allocated("Attached", "Warm", Attached="True", Warm="True"), True),
        (allocated("Attached", Attached="True", Broken="False"), True),
        (allocated(Broken="True"), True),
    ],
)
def test_all_conditions_must_be_met(one: v1.ResourceClaim, ready: bool) -> None:
    assert is_ready(one) is ready


def test_a_driver_may_say_that_a_device_will_not_do() -> None:
    with pytest.raises(BindingFailed) as failed:
        is_ready(allocated("Attached", Attached="True", Broken="True"))
    assert str(failed.value) == ('device binding failed: claim=c, reason=Because, message="so"')


def test_devices_without_conditions_are_not_waited_for() -> None:
    assert not must_wait([claim("c"), allocated()])
    assert must_wait([allocated(), allocated("Attached")])


@pytest.mark.parametrize(
    ("one", "now", "overdue", "lost"),
    [
        (allocated("Attached"), AT + TIMEOUT, False, False),
        (allocated("Attached"), AT + TIMEOUT + 1, True, True),
        (allocated("Attached", Attached="True"), AT + TIMEOUT + 1, True, False),
        (allocated("Attached", Broken="True"), AT, False, True),
        (allocated(), AT + TIMEOUT + 1, False, False),
        (claim("c"), AT, False, False),
    ],
)
def test_who_has_to_look_for_other_devices(
    one: v1.ResourceClaim, now: float, overdue: bool, lost: bool
) -> None:
    assert (is_overdue(one, now), is_lost(one, now)) == (overdue, lost)
