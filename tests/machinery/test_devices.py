"""What a selector sees of a device, and whether it chooses it."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.machinery import devices
from tiphys.machinery.cel import CelError
from tiphys.machinery.devices import NotMade, chooses, variables


def device(**attributes: v1.DeviceAttribute) -> dict[str, Any]:
    made = v1.Device(name="d", attributes=dict(attributes))
    made.attributes["other.com/x"] = v1.DeviceAttribute(string="y")
    made.capacity = {"memory": v1.DeviceCapacity(value="1Gi")}
    return variables(made, "gpu.com")


@pytest.fixture
def one() -> dict[str, Any]:
    return device(
        model=v1.DeviceAttribute(string="a"),
        count=v1.DeviceAttribute(int_=3),
        fast=v1.DeviceAttribute(bool_=False),
        driver=v1.DeviceAttribute(version="1.2.3"),
        nothing=v1.DeviceAttribute(),
        empty=v1.DeviceAttribute(ints=[]),
        sizes=v1.DeviceAttribute(ints=[1, 2]),
        releases=v1.DeviceAttribute(versions=["1.0.0", "2.0.0"]),
        alone=v1.DeviceAttribute(strings=["a"]),
        flags=v1.DeviceAttribute(bools=[True]),
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
        ("2 in device.attributes['gpu.com'].sizes", True),
        ("device.attributes['gpu.com'].alone == ['a']", True),  # a list of one is a list
        ("device.attributes['gpu.com'].flags == [true]", True),
        ("device.attributes['gpu.com'].releases[1].isGreaterThan(semver('1.5.0'))", True),
        ("device.attributes['gpu.com'].nothing == null", True),
        ("device.attributes['gpu.com'].empty == null", True),
    ],
)
def test_a_selector_chooses_by_attributes_and_capacity(
    one: dict[str, Any], expression: str, chosen: bool
) -> None:
    assert chooses(expression, one) is chosen


@pytest.mark.parametrize("expression", ["1", "'true'", "device.attributes['gpu.com'].absent", "x"])
def test_what_is_no_answer_is_an_error(one: dict[str, Any], expression: str) -> None:
    with pytest.raises(CelError):
        chooses(expression, one)


def test_a_device_that_several_may_have_says_so() -> None:
    shared = v1.Device(name="d", allow_multiple_allocations=True)
    assert variables(shared, "gpu.com")["device"]["allowMultipleAllocations"] is True


@pytest.mark.parametrize(
    ("attribute", "kind", "values"),
    [
        (v1.DeviceAttribute(int_=0), "int", [0]),
        (v1.DeviceAttribute(bool_=False), "bool", [False]),
        (v1.DeviceAttribute(string=""), "string", [""]),
        (v1.DeviceAttribute(version="1.0.0"), "version", ["1.0.0"]),
        (v1.DeviceAttribute(ints=[1, 2]), "int", [1, 2]),
        (v1.DeviceAttribute(strings=["a"]), "string", ["a"]),
        (v1.DeviceAttribute(), "", []),
    ],
)
def test_an_attribute_has_a_type_and_values(
    attribute: v1.DeviceAttribute, kind: str, values: list[Any]
) -> None:
    assert devices.values_of(attribute) == (kind, values)


@pytest.mark.parametrize(
    ("name", "full"), [("model", "gpu.com/model"), ("other.com/model", "other.com/model")]
)
def test_a_name_without_a_domain_is_of_the_drivers(name: str, full: str) -> None:
    assert devices.qualified(name, "gpu.com") == full


# --- claims ---


def pod(*entries: core_v1.PodResourceClaim, **made: str) -> core_v1.Pod:
    """A pod with claims, and what was made for those that are made from templates."""
    wanted = core_v1.Pod(metadata=ObjectMeta(name="p", uid="u"))
    wanted.spec.resource_claims = list(entries)
    wanted.status.resource_claim_statuses = [
        core_v1.PodResourceClaimStatus(name=name, resource_claim_name=claim)
        for name, claim in made.items()
    ]
    return wanted


NAMED = core_v1.PodResourceClaim(name="a", resource_claim_name="shared")
TEMPLATED = core_v1.PodResourceClaim(name="b", resource_claim_template_name="t")


def test_a_pod_names_its_claims_or_has_them_made() -> None:
    assert list(devices.claims_of(pod())) == []
    made = pod(NAMED, TEMPLATED, b="p-b-x")
    assert list(devices.claims_of(made)) == [("a", "shared"), ("b", "p-b-x")]
    assert list(devices.claims_of(pod(TEMPLATED, b=""))) == [], "it turned out to need none"
    with pytest.raises(NotMade, match="b"):
        list(devices.claims_of(pod(NAMED, TEMPLATED)))


@pytest.mark.parametrize(
    ("toleration", "is_of_use"),
    [
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "key": "k"}, True),
        ({"operator": "Exists", "key": "other"}, False),
        ({"operator": "Exists", "effect": "NoExecute"}, True),
        ({"operator": "Exists", "effect": "NoSchedule"}, False),
        ({"operator": "Equal", "key": "k", "value": "v"}, True),
        ({"operator": "Equal", "key": "k", "value": "w"}, False),
        ({"operator": "Equal", "key": "other", "value": "v"}, False),
    ],
)
def test_a_taint_is_put_up_with(toleration: dict[str, str], is_of_use: bool) -> None:
    taint = v1.DeviceTaint(key="k", value="v", effect="NoExecute")
    others = v1.DeviceToleration(operator="Exists", key="nobody")
    given = v1.DeviceToleration(**toleration)
    assert list(devices.tolerations_of(taint, [others, given])) == ([given] if is_of_use else [])


def test_the_claim_for_extended_resources_is_named_in_the_pods_status() -> None:
    made = pod()
    assert devices.special_claim_of(made) == ""
    made.status.extended_resource_claim_status = core_v1.PodExtendedResourceClaimStatus(
        resource_claim_name="c"
    )
    assert devices.special_claim_of(made) == "c"


@pytest.mark.parametrize(
    ("uid", "controller", "belongs"), [("u", True, True), ("u", False, False), ("w", True, False)]
)
def test_a_claim_belongs_to_the_pod_that_controls_it(
    uid: str, controller: bool, belongs: bool
) -> None:
    owner = OwnerReference(uid=uid, controller=controller, kind="Pod", name="p")
    claim = v1.ResourceClaim(metadata=ObjectMeta(name="c", owner_references=[owner]))
    assert devices.belongs_to(claim, pod()) is belongs
    assert not devices.belongs_to(v1.ResourceClaim(), pod())


def test_a_claim_is_reserved_for_pods_by_uid() -> None:
    claim = v1.ResourceClaim()
    assert not devices.is_reserved_for(claim, pod())
    consumer = devices.consumer(pod())
    assert (consumer.resource, consumer.name, consumer.uid) == ("pods", "p", "u")
    claim.status.reserved_for = [consumer]
    assert devices.is_reserved_for(claim, pod())
    claim.status.reserved_for[0].uid = "another of that name"
    assert not devices.is_reserved_for(claim, pod())
