"""Services by name, and the addresses of the pods behind their ports."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.routeserver.builders import pods, service
from tiphys.addons.routeserver.compiling.cluster import Cluster, Scheme, has_labels
from tiphys.addons.routeserver.compiling.objects import (
    Endpoints,
    EndpointSlice,
    Metadata,
    Objects,
    Service,
    ServicePort,
)
from tiphys.api.base import from_builtins

SHOP = service("shop")
HTTP = ServicePort(name="http", port=80, target_port=8080)


def endpoints(*subsets: dict[str, Any], name: str = "shop") -> Endpoints:
    plain = {"metadata": {"name": name, "namespace": "a"}, "subsets": list(subsets)}
    return from_builtins(plain, Endpoints)


def subset(*addresses: str, **ports: int) -> dict[str, Any]:
    listed = [{"name": name, "port": port} for name, port in ports.items()]
    return {"addresses": [{"ip": ip} for ip in addresses], "ports": listed}


def slice_of(*addresses: str, ports: list[dict[str, Any]]) -> EndpointSlice:
    return from_builtins(
        {
            "metadata": {
                "name": "shop",
                "namespace": "a",
                "labels": {"kubernetes.io/service-name": "shop"},
            },
            "endpoints": [{"addresses": [one]} for one in addresses],
            "ports": ports,
        },
        EndpointSlice,
    )


def behind(
    *found: Endpoints | EndpointSlice, port: ServicePort = HTTP, scheme: Scheme = Scheme()
) -> list[str]:
    """The addresses behind a port, as an Ingress means it."""
    return [one.address for one in cluster(*found).behind_port(SHOP, port, scheme, False)]


def target(*found: Endpoints | EndpointSlice, port: int | str = 8080) -> list[str]:
    """The addresses behind a target port, as a RouteGroup means it."""
    return [one.address for one in cluster(*found).behind_target(SHOP, port, Scheme(), False)]


def cluster(*found: Endpoints | EndpointSlice) -> Cluster:
    slices = [one for one in found if isinstance(one, EndpointSlice)]
    plain = [one for one in found if isinstance(one, Endpoints)]
    objects = Objects(services=[SHOP], endpoints=plain, endpoint_slices=slices)
    return Cluster(objects, slices=not plain)


# --- Endpoints ---


def test_pods_are_sorted_and_an_address_of_ipv6_has_brackets() -> None:
    made = endpoints(subset("10.0.0.2", "10.0.0.1", "fd00::1", http=8080))
    assert behind(made) == ["http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://[fd00::1]:8080"]


@pytest.mark.parametrize(
    ("subsets", "found"),
    [
        ([], []),
        ([subset("10.0.0.1", other=9090)], ["http://10.0.0.1:9090"]),  # its only port
        ([subset("10.0.0.1", other=9090, http=8080)], ["http://10.0.0.1:8080"]),
        ([subset("10.0.0.1", other=9090, more=1)], []),
        ([subset("10.0.0.1", a=1, b=2), subset("10.0.0.2", http=8080)], ["http://10.0.0.2:8080"]),
        ([subset("10.0.0.1"), subset("10.0.0.2", http=8080)], ["http://10.0.0.2:8080"]),
    ],
)
def test_a_port_is_found_by_its_name_in_the_first_subset_that_has_it(
    subsets: list[dict[str, Any]], found: list[str]
) -> None:
    assert behind(endpoints(*subsets)) == found


@pytest.mark.parametrize(
    ("port", "found"),
    [
        (8080, ["http://10.0.0.1:8080"]),
        ("http", ["http://10.0.0.1:8080"]),
        (9090, ["http://10.0.0.1:9090"]),
        (80, []),
        ("other", []),
    ],
)
def test_a_target_is_a_number_or_a_name(port: int | str, found: list[str]) -> None:
    assert target(endpoints(subset("10.0.0.1", http=8080, admin=9090)), port=port) == found


def test_without_endpoints_there_are_none() -> None:
    other = endpoints(subset("10.0.0.1", http=8080), name="other")
    assert behind(other) == [] and target(other) == []
    empty = endpoints()
    empty.subsets = None
    assert behind(empty) == [] and target(empty) == []


# --- EndpointSlices ---

TWO = [{"name": "http", "port": 8080}, {"name": "admin", "port": 9090, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("port", "found"),
    [
        (HTTP, "http://10.0.0.1:8080"),
        (ServicePort(name="admin", port=81), "http://10.0.0.1:9090"),
        (ServicePort(name="other", port=9090), "http://10.0.0.1:9090"),  # by its number
        (ServicePort(name="other", port=81), "http://10.0.0.1:0"),
        (ServicePort(port=80, target_port=8081), "http://10.0.0.1:8081"),
    ],
)
def test_a_port_of_a_slice_is_found_by_name_or_number(port: ServicePort, found: str) -> None:
    assert behind(slice_of("10.0.0.1", ports=TWO), port=port) == [found]


@pytest.mark.parametrize(
    ("port", "found"),
    [(8080, 8080), ("admin", 9090), (9090, 9090), ("other", 0), (80, 0)],
)
def test_a_target_of_a_slice_is_a_number_or_a_name(port: int | str, found: int) -> None:
    assert target(slice_of("10.0.0.1", ports=TWO), port=port) == [f"http://10.0.0.1:{found}"]


def test_a_port_of_udp_is_none() -> None:
    ports = [{"name": "http", "port": 53, "protocol": "UDP"}, {"name": "http", "port": 8080}]
    assert behind(slice_of("10.0.0.1", ports=ports)) == ["http://10.0.0.1:8080"]


@pytest.mark.parametrize(
    ("scheme", "said", "expected"),
    [
        (Scheme(), None, "http"),
        (Scheme(), "kubernetes.io/h2c", "h2c"),
        (Scheme(), "kubernetes.io/ws", "http"),
        (Scheme("https", is_explicit=True), "kubernetes.io/h2c", "https"),
    ],
)
def test_an_annotation_counts_more_than_the_protocol_of_a_port(
    scheme: Scheme, said: str | None, expected: str
) -> None:
    ports = [{"name": "http", "port": 8080, "appProtocol": said}]
    assert behind(slice_of("10.0.0.1", ports=ports), scheme=scheme) == [
        f"{expected}://10.0.0.1:8080"
    ]


@pytest.mark.parametrize(
    ("conditions", "is_ready"),
    [
        ({}, True),
        ({"ready": True}, True),
        ({"ready": False}, False),
        ({"terminating": True}, False),
        ({"ready": True, "terminating": True}, False),
        ({"ready": True, "terminating": False}, True),
    ],
)
def test_pods_that_are_ready_or_do_not_say_get_requests(
    conditions: dict[str, bool], is_ready: bool
) -> None:
    """discovery/v1: what is not said of ready is true, of terminating false."""
    assert bool(behind(pods("shop", "10.0.0.1", **conditions))) is is_ready


def test_slices_of_other_services_namespaces_and_without_ports_are_no_concern() -> None:
    elsewhere, portless = pods("shop", "10.0.0.2"), pods("shop", "10.0.0.3")
    elsewhere.metadata.namespace = "b"
    portless.ports = None
    others = (pods("next", "10.0.0.4"), elsewhere, portless)
    assert behind(*others) == [] and target(*others) == []
    assert behind(*others, pods("shop", "10.0.0.1")) == ["http://10.0.0.1:8080"]


def test_an_address_that_two_slices_have_is_one() -> None:
    assert behind(pods("shop", "10.0.0.1"), pods("shop", "10.0.0.1")) == ["http://10.0.0.1:8080"]


# --- services ---


def test_a_service_without_a_spec_is_none_and_without_a_namespace_of_the_default_one() -> None:
    bare, plain = Service(metadata=Metadata("bare", "a")), service("plain")
    plain.metadata.namespace = ""
    made = Cluster(Objects(services=[bare, plain]), slices=True)
    assert made.service("a", "bare") is None and made.service("a", "plain") is None
    assert made.service("default", "plain") is plain is made.service("", "plain")


@pytest.mark.parametrize(
    ("labels", "wanted", "has"),
    [
        (None, {}, True),
        (None, {"a": "b"}, False),
        ({"a": ""}, {"a": ""}, True),
        ({"a": "b"}, {"a": "b"}, True),
        ({"a": "b"}, {"a": "c"}, False),
        ({"b": "a"}, {"a": ""}, False),
    ],
)
def test_a_label_that_is_wanted_without_a_value_may_have_any(
    labels: dict[str, str] | None, wanted: dict[str, str], has: bool
) -> None:
    assert has_labels(Metadata(labels=labels), wanted) is has
