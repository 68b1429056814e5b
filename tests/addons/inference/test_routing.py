"""Which pod Envoy is to choose for a request, by the strategy of its endpoint."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2
from envoy.extensions.load_balancing_policies.ring_hash.v3 import ring_hash_pb2

from tiphys.addons.inference.routes import Route, Strategy
from tiphys.addons.inference.routing import cluster, route_configuration


def policy(strategy: Strategy) -> Any:
    policies = cluster(Route("m", "default", strategy)).load_balancing_policy.policies
    return policies[0].typed_extension_config if policies else None


def hashed(strategy: Strategy) -> list[str]:
    """Where the header or cookie stands whose requests go to one pod."""
    (host,) = route_configuration(Route("m", "default", strategy)).virtual_hosts
    parts = host.routes[0].route.hash_policy
    return [part.header.header_name or f"cookie {part.cookie.name}" for part in parts]


@pytest.mark.parametrize(("strategy", "balance"), [("prefixaware", 150), ("session", 0)])
def test_alike_requests_go_to_one_pod_of_a_ring(strategy: Strategy, balance: int) -> None:
    ring = ring_hash_pb2.RingHash()
    assert policy(strategy).typed_config.Unpack(ring)
    assert ring.minimum_ring_size.value == 4096
    assert ring.consistent_hashing_lb_config.hash_balance_factor.value == balance


def test_what_makes_requests_alike() -> None:
    session = "x-amzn-sagemaker-session-id"
    assert hashed("prefixaware") == ["x-tiphys-prefix"]
    assert hashed("session") == [session, f"cookie {session}"]
    assert hashed("least") == hashed("roundrobin") == []


def test_or_to_whoever_has_the_fewest() -> None:
    assert policy("least").typed_config.Is(least_request_pb2.LeastRequest.DESCRIPTOR)
    assert policy("roundrobin").name.endswith("round_robin")
