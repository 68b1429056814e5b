"""Services as xDS resources."""

from __future__ import annotations

from typing import Any

from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import Service
from tiphys.api.discovery_v1 import EndpointSlice
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, LISTENER
from tiphys.network.xds.services import assignment, endpoints_of, resources_of


def service(*ports: dict[str, Any]) -> Service:
    body = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": list(ports)}}
    return from_builtins(body, Service)


def slice_of(
    *endpoints: dict[str, Any], port: int | None = 8080, family: str = "IPv4", name: str = "http"
) -> EndpointSlice:
    body = {
        "metadata": {"name": "web-x", "namespace": "default"},
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": [{"name": name, "port": port}],
    }
    return from_builtins(body, EndpointSlice)


def endpoint(address: str, zone: str = "a", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "zone": zone, "conditions": conditions}


def shown(slices: list[EndpointSlice], port: str = "http") -> dict[str, list[tuple[str, int]]]:
    """(address, health) of endpoints by zone."""
    made = assignment("web.default:80", endpoints_of(slices, port))
    return {
        group.locality.zone: [
            (one.endpoint.address.socket_address.address, one.health_status)
            for one in group.lb_endpoints
        ]
        for group in made.endpoints
    }


def test_each_tcp_port_is_a_cluster_with_a_listener_of_its_name() -> None:
    made = resources_of(
        service(
            {"name": "http", "port": 80},
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "metrics", "port": 9090},
        ),
        [slice_of(endpoint("10.0.0.1"))],
    )
    assert list(made[CLUSTER]) == list(made[LISTENER]) == ["web.default:80", "web.default:9090"]
    assert len(made[ENDPOINTS]["web.default:80"].endpoints) == 1  # type: ignore[attr-defined]
    assert len(made[ENDPOINTS]["web.default:9090"].endpoints) == 0  # type: ignore[attr-defined]


def test_a_service_without_ports_has_nothing() -> None:
    assert not any(resources_of(service(), [slice_of(endpoint("10.0.0.1"))]).values())


def test_endpoints_are_by_zone_and_those_that_end_are_draining() -> None:
    slices = [
        slice_of(
            endpoint("10.0.0.2", "b", ready=True),
            endpoint("10.0.0.1", "a"),
            endpoint("10.0.0.3", "a", ready=False, serving=True),
            endpoint("10.0.0.4", "a", ready=False, serving=False),
        )
    ]
    assert shown(slices) == {"a": [("10.0.0.1", 1), ("10.0.0.3", 3)], "b": [("10.0.0.2", 1)]}


def test_a_zone_weighs_as_much_as_it_has_healthy_endpoints() -> None:
    slices = [slice_of(endpoint("10.0.0.1"), endpoint("10.0.0.2"), endpoint("10.0.0.3", "b"))]
    made = assignment("x", endpoints_of(slices, "http"))
    assert [group.load_balancing_weight.value for group in made.endpoints] == [2, 1]


def test_a_zone_without_a_healthy_endpoint_is_left_out() -> None:
    assert shown([slice_of(endpoint("10.0.0.1", ready=False, serving=True))]) == {}


def test_of_two_families_each_pod_is_there_once() -> None:
    slices = [slice_of(endpoint("fd00::1"), family="IPv6"), slice_of(endpoint("10.0.0.1"))]
    assert shown(slices) == {"a": [("10.0.0.1", 1)]}
    assert shown(slices[:1]) == {"a": [("fd00::1", 1)]}


def test_an_endpoint_in_two_slices_is_one() -> None:
    assert shown([slice_of(endpoint("10.0.0.1")), slice_of(endpoint("10.0.0.1"))]) == {
        "a": [("10.0.0.1", 1)]
    }


def test_other_ports_and_ports_without_a_number_are_passed_over() -> None:
    assert shown([slice_of(endpoint("10.0.0.1"), port=None)]) == {}
    assert shown([slice_of(endpoint("10.0.0.1"))], "other") == {}
