"""What a client reads of an answer, what a bootstrap says, and how an answer is acknowledged."""

from __future__ import annotations

import json

import pytest
from envoy.config.core.v3 import health_check_pb2
from envoy.config.endpoint.v3 import endpoint_pb2

from tiphys.addons.endpoints.balancing import Address
from tiphys.addons.endpoints.bootstrap import bootstrap, config_map
from tiphys.addons.endpoints.discovery import addresses_of

HEALTH = health_check_pb2.HealthStatus


def assignment(
    *rows: tuple[str, str], health: HEALTH = health_check_pb2.HEALTHY
) -> endpoint_pb2.ClusterLoadAssignment:
    """Of zones and addresses, all at port 80."""
    made = endpoint_pb2.ClusterLoadAssignment()
    for zone, address in rows:
        group = made.endpoints.add()
        group.locality.zone = zone
        one = group.lb_endpoints.add(health_status=health)
        one.endpoint.address.socket_address.address = address
        one.endpoint.address.socket_address.port_value = 80
    return made


@pytest.mark.parametrize(
    ("health", "is_used"),
    [
        (health_check_pb2.UNKNOWN, True),
        (health_check_pb2.HEALTHY, True),
        (health_check_pb2.DRAINING, False),
        (health_check_pb2.UNHEALTHY, False),
        (health_check_pb2.TIMEOUT, False),
        (health_check_pb2.DEGRADED, False),
    ],
)
def test_only_who_is_healthy_or_says_nothing_of_it_is_used(health: HEALTH, is_used: bool) -> None:
    """gRFC A27: UNKNOWN and HEALTHY, and no other."""
    found = addresses_of(assignment(("a", "10.0.0.1"), health=health))
    assert found == ([Address("10.0.0.1:80", "a")] if is_used else [])


def test_addresses_have_their_zone_and_those_of_ipv6_their_brackets() -> None:
    found = addresses_of(assignment(("a", "10.0.0.1"), ("", "fd00::1")))
    assert found == [Address("10.0.0.1:80", "a"), Address("[fd00::1]:80", "")]


@pytest.mark.parametrize(
    ("address", "zone", "server", "node"),
    [
        ("10.0.0.1", "", "10.0.0.1:1", {"id": "client"}),
        ("fd00::1", "", "[fd00::1]:1", {"id": "client"}),
        (
            "10.0.0.1",
            "a",
            "10.0.0.1:1",
            {"id": "client", "locality": {"region": "kubernetes", "zone": "a"}},
        ),
    ],
)
def test_a_bootstrap_names_the_server_and_the_zone_where_there_is_one(
    address: str, zone: str, server: str, node: dict[str, object]
) -> None:
    made = bootstrap(address, 1, zone)
    assert made["node"] == node
    assert made["xds_servers"] == [
        {
            "server_uri": server,
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        }
    ]
    assert json.loads(config_map(address, 1, zone).data["bootstrap.json"]) == made
