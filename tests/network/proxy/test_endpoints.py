"""Where a service port leads."""

from __future__ import annotations

import pytest

from tests.network.builders import endpoint, port, slice_of, slice_with
from tiphys.api import discovery_v1
from tiphys.network.proxy.endpoints import Reachable, ServiceKey, endpoints, service_key

HTTP = port("http", 80)
ONE = "10.1.0.1"


def found(*rows: discovery_v1.Endpoint, node: str = "n1") -> Reachable:
    return endpoints([slice_with("s", list(rows))], HTTP, node)


CONDITIONS = [
    # (ready, serving, terminating) → (is it ready, is it terminating)
    ((True, True, False), (1, 0)),
    ((True, None, None), (1, 0)),
    ((None, None, None), (1, 0)),
    ((False, False, False), (0, 0)),
    ((False, True, False), (0, 0)),
    ((False, False, True), (0, 0)),
    ((False, True, True), (0, 1)),
    ((True, True, True), (1, 0)),
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
    reachable = found(one)
    assert (len(reachable.ready), len(reachable.terminating)) == expected


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
    reachable = endpoints(rows, service_port, "n1")  # type: ignore[arg-type]
    assert [one.port for one in reachable.ready] == numbers


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
    assert found(elsewhere).local == []


def test_an_address_that_two_slices_have_is_one_endpoint_and_all_are_in_order() -> None:
    slices = [slice_of("s", "10.1.0.2", ONE), slice_of("s", ONE)]
    assert [one.address for one in endpoints(slices, HTTP, "n1").ready] == [ONE, "10.1.0.2"]


def test_a_slice_is_of_the_service_that_its_label_names() -> None:
    labelled, unlabelled = slice_of("s"), slice_of("s")
    unlabelled.metadata.labels = {}
    assert service_key(labelled) == ServiceKey("d", "s")
    assert service_key(unlabelled) == ServiceKey("d", "")
