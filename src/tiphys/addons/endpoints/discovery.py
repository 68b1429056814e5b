"""The endpoints of one service as an xDS server pushes them, and the last known ones while it is
away."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import grpc
from envoy.config.core.v3 import health_check_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from tiphys.addons.endpoints.balancing import Address
from tiphys.network.xds.cache import ENDPOINTS

log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.2  # seconds before the first new attempt; doubled each time
_LONGEST_PAUSE = 5.0
_ALIVE = (("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000))
_USED = (health_check_pb2.UNKNOWN, health_check_pb2.HEALTHY)


async def follow(
    server: str, service: str, node_id: str, on_change: Callable[[list[Address]], None]
) -> None:
    """Calls `on_change` with the endpoints of ``NAME.NAMESPACE:PORT`` whenever they change, until
    it is cancelled.

    A server that is away is tried again; what was known stays.
    """
    pause = _FIRST_PAUSE
    async with grpc.aio.insecure_channel(server, options=_ALIVE) as channel:
        while True:
            try:
                async for addresses in _stream(channel, service, node_id):
                    pause = _FIRST_PAUSE
                    on_change(addresses)
            except grpc.aio.AioRpcError as error:
                log.info("xDS server %s is away: %s", server, error.details())
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)


async def _stream(channel: grpc.aio.Channel, service: str, node_id: str) -> Any:
    stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources()
    request = discovery_pb2.DiscoveryRequest(type_url=ENDPOINTS, resource_names=[service])
    request.node.id = node_id
    await stream.write(request)
    try:
        while (answer := await stream.read()) is not grpc.aio.EOF:
            acknowledgement = discovery_pb2.DiscoveryRequest(
                type_url=ENDPOINTS,
                resource_names=[service],
                version_info=answer.version_info,
                response_nonce=answer.nonce,
            )
            await stream.write(acknowledgement)
            for packed in answer.resources:
                yield addresses_of(endpoint_pb2.ClusterLoadAssignment.FromString(packed.value))
    finally:
        stream.cancel()


def addresses_of(assignment: endpoint_pb2.ClusterLoadAssignment) -> list[Address]:
    """The endpoints that take new requests."""
    addresses = []
    for group in assignment.endpoints:
        for endpoint in group.lb_endpoints:
            if endpoint.health_status in _USED:
                socket = endpoint.endpoint.address.socket_address
                target = f"{socket.address}:{socket.port_value}"
                if ":" in socket.address:
                    target = f"[{socket.address}]:{socket.port_value}"
                addresses.append(Address(target, group.locality.zone))
    return addresses
