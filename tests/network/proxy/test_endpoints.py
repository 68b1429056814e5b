"""Where a service port leads."""

from __future__ import annotations

import pytest

from tests.network.builders import endpoint, port, slice_of, slice_with
from tiphys.api import discovery_v1
from tiphys.network.proxy.endpoints import Place, Reachable, ServiceKey, endpoints, service_key

HTTP = port("http", 80)
ONE = "10.1.0.1"


def found(*rows: discovery_v1.Endpoint, node: str = "n1", zone: str = "") -> Reachable:
    return endpoints([slice_with("s", list(rows))], HTTP, Place(node, zone))


CONDITIONS = [
    # (ready, serving, terminating) → (is it used beside a ready one, is it used alone)
    ((True, True, False), (1, 1)),
    ((True, None, None), (1, 1)),
    ((None, None, None), (1, 1)),
    ((False, False, False), (0, 0)),
    ((False, True, False), (0, 0)),
    ((False, False, True), (0, 0)),
    ((False, True, True), (0, 1)),
    ((True, True, True), (1, 1)),
]


@pytest.mark.parametrize(("conditions", "expected"), CONDITIONS)
def test_an_endpoint_is_ready_or_ends_while_it_serves(
    conditions: tuple[bool | None, ...], expected: tuple[int, int]
) -> None:
    ready, serving, terminating = conditions
    one = endpoint(ONE)
    one.conditions = discovery_v1.EndpointConditions(
        ready=ready, serving=serving, terminating=terminating
    )
    beside = len(found(one, endpoint("10.1.0.2")).everywhere) - 1
    assert (beside, len(found(one).everywhere)) == expected


PORTS = [
    # the port of the slice, as (name, number, protocol), and the service's
    (("http", 8080, "TCP"), HTTP, [8080]),
    (("http", 8080, None), HTTP, [8080]),
    (("http", 8080, "UDP"), HTTP, []),
    (("http", 8080, None), port("http", 80, "UDP"), []),
    (("dns", 8080, "TCP"), HTTP, []),
    ((None, 8080, "TCP"), HTTP, []),
    ((None, 8080, "TCP"), port("", 80), [8080]),
    (("", 8080, "TCP"), port("", 80), [8080]),
    (("http", None, "TCP"), HTTP, []),
]


@pytest.mark.parametrize(("slice_port", "service_port", "numbers"), PORTS)
def test_ports_are_the_same_by_name_and_protocol(
    slice_port: tuple[str | None, int | None, str | None], service_port: object, numbers: list[int]
) -> None:
    rows = [slice_with("s", [endpoint(ONE)], (slice_port,))]
    reachable = endpoints(rows, service_port, Place("n1"))  # type: ignore[arg-type]
    assert [one.port for one in reachable.everywhere] == numbers


def test_endpoints_that_end_are_used_where_none_is_ready() -> None:
    ending = endpoint("10.1.0.2", ready=False, serving=True, terminating=True)
    both = found(endpoint(ONE), ending)
    assert [one.address for one in both.everywhere] == [ONE]
    assert [one.address for one in found(ending).everywhere] == ["10.1.0.2"]


def test_one_of_this_node_that_ends_is_better_than_a_ready_one_elsewhere() -> None:
    ending = endpoint("10.1.0.2", ready=False, serving=True, terminating=True)
    elsewhere = endpoint(ONE, node="n2")
    assert [one.address for one in found(elsewhere, ending).local] == ["10.1.0.2"]
    assert [one.address for one in found(endpoint(ONE), ending).local] == [ONE]
    assert found(elsewhere).local == ()


def test_an_address_that_two_slices_have_is_one_endpoint_and_all_are_in_order() -> None:
    slices = [slice_of("s", "10.1.0.2", ONE), slice_of("s", ONE)]
    reachable = endpoints(slices, HTTP, Place("n1"))
    assert [one.address for one in reachable.everywhere] == [ONE, "10.1.0.2"]


def test_a_slice_is_of_the_service_that_its_label_names() -> None:
    labelled, unlabelled = slice_of("s"), slice_of("s")
    unlabelled.metadata.labels = {}
    assert service_key(labelled) == ServiceKey("d", "s")
    assert service_key(unlabelled) == ServiceKey("d", "")


# --- hints ---


def hinted(address: str, node: str = "", zone: str = "") -> discovery_v1.Endpoint:
    one = endpoint(address, node="elsewhere")
    one.hints = discovery_v1.EndpointHints(
        for_zones=[discovery_v1.ForZone(name=zone)] if zone else [],
        for_nodes=[discovery_v1.ForNode(name=node)] if node else [],
    )
    return one


A = "10.1.0.11"
B = "10.1.0.12"
HINTS = [
    ([hinted(A, zone="z1"), hinted(B, zone="z2")], [A]),
    ([hinted(A, zone="z2"), hinted(B, zone="z2")], [A, B]),
    ([hinted(A, zone="z1"), endpoint(B)], [A, B]),
    ([hinted(A, node="n1", zone="z1"), hinted(B, node="n2", zone="z1")], [A]),
    ([hinted(A, node="n2", zone="z1"), hinted(B, node="n2", zone="z2")], [A]),
    ([hinted(A, node="n1"), hinted(B, zone="z1")], [A, B]),
]


@pytest.mark.parametrize(("rows", "expected"), HINTS)
def test_hints_keep_traffic_near_where_every_ready_endpoint_has_one(
    rows: list[discovery_v1.Endpoint], expected: list[str]
) -> None:
    """The node is n1 in z1: its own endpoints come first, then those of its zone, then all."""
    assert [one.address for one in found(*rows, zone="z1").everywhere] == expected
