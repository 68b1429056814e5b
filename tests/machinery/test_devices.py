"""What a selector sees of a device, and whether it chooses it."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import resource_v1 as v1
from tiphys.machinery.cel import CelError
from tiphys.machinery.devices import chooses, variables


def device(**attributes: v1.DeviceAttribute) -> dict[str, Any]:
    made = v1.Device(name="d", attributes=dict(attributes))
    made.attributes["other.com/x"] = v1.DeviceAttribute(string="y")
    made.capacity = {"memory": v1.DeviceCapacity(value="1Gi")}
    return variables(made, "gpu.com")


ONE = device(
    model=v1.DeviceAttribute(string="a"),
    count=v1.DeviceAttribute(int_=3),
    fast=v1.DeviceAttribute(bool_=False),
    driver=v1.DeviceAttribute(version="1.2.3"),
)


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("true", True),
        ("false", False),
        ("device.driver == 'gpu.com'", True),
        ("device.attributes['gpu.com'].model == 'a'", True),
        ("device.attributes['gpu.com'].count > 3", False),
        ("device.attributes['gpu.com'].fast == false", True),
        ("device.attributes['gpu.com'].driver.isLessThan(semver('1.3.0'))", True),
        ("device.attributes['other.com'].x == 'y'", True),
        ("'x' in device.attributes['nobody.com']", False),
        ("device.capacity['gpu.com'].memory.isGreaterThan(quantity('1Mi'))", True),
        ("device.allowMultipleAllocations", False),
    ],
)
def test_a_selector_chooses_by_attributes_and_capacity(expression: str, chosen: bool) -> None:
    assert chooses(expression, ONE) is chosen


@pytest.mark.parametrize("expression", ["1", "'true'", "device.attributes['gpu.com'].nothing", "x"])
def test_what_is_no_answer_is_an_error(expression: str) -> None:
    with pytest.raises(CelError):
        chooses(expression, ONE)
