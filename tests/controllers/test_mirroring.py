"""Endpoint slices of Endpoints that are kept by hand."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.builders import service
from tests.controllers.bench import Bench
from tiphys.api.core_v1 import EndpointAddress, EndpointPort, Endpoints, EndpointSubset
from tiphys.api.discovery_v1 import EndpointSlice
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers import mirroring
from tiphys.controllers.mirroring import EndpointSliceMirroringController


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


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def mirror(bench: Bench) -> EndpointSliceMirroringController:
    return bench.start(EndpointSliceMirroringController)


def endpoints(*addresses: str, **labels: str) -> Endpoints:
    made = by_hand(list(addresses), [])
    last = "kubectl.kubernetes.io/last-applied-configuration"
    made.metadata = ObjectMeta(name="web", labels=labels, annotations={"k": "v", last: "x"})
    return made


@together
async def test_endpoints_of_a_service_without_a_selector_are_mirrored(
    bench: Bench, mirror: EndpointSliceMirroringController
) -> None:
    made = await bench.add(service())
    theirs = await bench.add(endpoints("10.0.0.1", "fd00::1", team="a"))
    await bench.step(mirror, "web")
    slices = await bench.all(EndpointSlice)
    assert sorted(each.address_type for each in slices) == ["IPv4", "IPv6"]
    for each in slices:
        assert each.metadata.annotations == {"k": "v"}
        assert each.metadata.labels["team"] == "a"
        assert each.metadata.labels["kubernetes.io/service-name"] == "web"
        assert each.metadata.owner_references[0].uid == theirs.metadata.uid
    await bench.step(mirror, "web")
    assert await bench.all(EndpointSlice) == slices, "nothing is written again"
    await bench.change(
        theirs, subsets=[{"addresses": [{"ip": "10.0.0.9"}], "ports": [{"port": 1}]}]
    )
    await bench.step(mirror, "web")
    [one] = await bench.all(EndpointSlice)
    assert one.endpoints[0].addresses == ["10.0.0.9"]
    await bench.change(theirs, metadata={"annotations": {"k": "w"}})
    await bench.step(mirror, "web")
    [one] = await bench.all(EndpointSlice)
    assert one.metadata.annotations["k"] == "w"
    await bench.remove(made)
    await bench.step(mirror, "web")
    assert await bench.all(EndpointSlice) == []


@pytest.mark.parametrize("reason", ["selector", "label", "no service", "no endpoints"])
@together
async def test_what_is_not_mirrored(
    bench: Bench, mirror: EndpointSliceMirroringController, reason: str
) -> None:
    one = service()
    if reason == "selector":
        one.spec.selector = {"a": "b"}
    if reason != "no service":
        await bench.add(one)
    skip = {"endpointslice.kubernetes.io/skip-mirror": "true"} if reason == "label" else {}
    if reason != "no endpoints":
        await bench.add(endpoints("10.0.0.1", **skip))
    await bench.step(mirror, "web")
    assert await bench.all(EndpointSlice) == []
