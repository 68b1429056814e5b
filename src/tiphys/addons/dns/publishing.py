"""Keeps a node's DNS server behind the service kube-dns."""

from __future__ import annotations

import asyncio
import logging

from tiphys.api import discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client, Unreachable
from tiphys.client.informer import Informers
from tiphys.machinery.errors import StatusError, is_already_exists

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
METRICS_PORT = 9153  # that of CoreDNS
_PORTS = (("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", METRICS_PORT, "TCP"))


def endpoint_slice(node: str, address: str) -> discovery_v1.EndpointSlice:
    """The slice of kube-dns that one node keeps. It names no pod: the server is part of the node's
    process."""
    published = discovery_v1.EndpointSlice(address_type="IPv6" if ":" in address else "IPv4")
    published.metadata = ObjectMeta(
        name=f"kube-dns-{node}",
        namespace="kube-system",
        labels={"kubernetes.io/service-name": "kube-dns"},
    )
    ready = discovery_v1.EndpointConditions(ready=True, serving=True, terminating=False)
    published.endpoints = [
        discovery_v1.Endpoint(addresses=[address], conditions=ready, node_name=node)
    ]
    published.ports = [
        discovery_v1.EndpointPort(name=name, port=port, protocol=protocol)
        for name, port, protocol in _PORTS
    ]
    return published


async def publish(client: Client, informers: Informers, node: str, address: str) -> None:
    """Writes the slice, and again when it is gone: it goes with the Node, which a node that is at
    work makes again. Until cancelled."""
    published = endpoint_slice(node, address)
    meta = published.metadata
    gone = asyncio.Event()
    gone.set()

    def changed(
        old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
    ) -> None:
        if new is None and old is not None:
            if (old.metadata.namespace, old.metadata.name) == (meta.namespace, meta.name):
                gone.set()

    informers.of(discovery_v1.EndpointSlice).on_change(changed)
    while True:
        await gone.wait()
        gone.clear()
        try:
            await _create_or_update(client, published)
        except (StatusError, Unreachable) as error:
            log.info("The endpoint slice %s is not written yet: %s", meta.name, error)
            gone.set()
            await asyncio.sleep(_RETRY_SECONDS)


async def _create_or_update(client: Client, published: discovery_v1.EndpointSlice) -> None:
    try:
        await client.create(published)
    except StatusError as error:
        if not is_already_exists(error):
            raise
        await client.update(published)
