"""Endpoint slices of Endpoints that are kept by hand."""

from __future__ import annotations

import pytest

from tiphys.api.core_v1 import EndpointAddress, EndpointPort, Endpoints, EndpointSubset
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers import mirroring


def by_hand(ready: list[str], not_ready: list[str]) -> Endpoints:
    subset = EndpointSubset(
        addresses=[EndpointAddress(ip=ip) for ip in ready],
        not_ready_addresses=[EndpointAddress(ip=ip) for ip in not_ready],
        ports=[EndpointPort(name="http", port=80, protocol="TCP")],
    )
    return Endpoints(subsets=[subset])


def test_each_family_of_addresses_has_a_slice() -> None:
    slices = mirroring.mirrored(by_hand(["10.0.0.1", "fd00::1"], ["10.0.0.2"]))
    said = {
        wanted.address_type: [(e.addresses[0], e.conditions.ready) for e in wanted.endpoints]
        for wanted in slices
    }
    assert said == {"IPv4": [("10.0.0.1", True), ("10.0.0.2", False)], "IPv6": [("fd00::1", True)]}
    assert all(wanted.ports[0].port == 80 for wanted in slices)


def test_a_thousand_addresses_of_a_subset_are_mirrored() -> None:
    many = [f"10.0.{number // 250}.{number % 250}" for number in range(1001)]
    [wanted] = mirroring.mirrored(by_hand(many, []))
    assert len(wanted.endpoints) == 1000
    assert mirroring.mirrored(by_hand([], [])) == []


@pytest.mark.parametrize(
    ("meta", "wanted"),
    [
        (ObjectMeta(), True),
        (ObjectMeta(labels={mirroring.SKIP: "true"}), False),
        (ObjectMeta(labels={mirroring.SKIP: "false"}), True),
        (ObjectMeta(annotations={"control-plane.alpha.kubernetes.io/leader": ""}), False),
    ],
)
def test_some_endpoints_are_not_mirrored(meta: ObjectMeta, wanted: bool) -> None:
    assert mirroring.is_mirrored(Endpoints(metadata=meta)) is wanted
