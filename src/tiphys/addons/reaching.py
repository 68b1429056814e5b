"""Where an add-on connects to when a user names the place. Names of Services are those of the
cluster, wherever the add-on runs; what they resolve to is checked before anything connects to it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from typing import Any, NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult

from tiphys.api import core_v1, discovery_v1
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError
from tiphys.machinery.names import is_ip

_SERVICE = "kubernetes.io/service-name"


class ReachError(OSError):
    """The target is not allowed or not reachable; the text is the reason."""


class Place(NamedTuple):
    host: str
    port: int


class Reach:
    """`client` finds Services. With `local`, it also leads to what listens on this machine alone:
    its loopback and link-local addresses, which no pod can reach."""

    def __init__(self, client: Client, local: bool = False) -> None:
        self._client = client
        self._local = local

    async def find(self, host: str, port: int, default_namespace: str = "") -> Place:
        """The address that stands for a host and port. Raises ReachError."""
        if is_ip(host):
            return self._allowed(Place(host, port))
        service = service_name(host, default_namespace)
        if service is not None:
            place = await self._behind(*service, port)
            if place is not None:
                return self._allowed(place)
        return self._allowed(Place(await _looked_up(host), port))

    def _allowed(self, place: Place) -> Place:
        address = ipaddress.ip_address(place.host)
        if not self._local and (address.is_loopback or address.is_link_local or _is_any(address)):
            raise ReachError(
                f"{place.host} is an address of the machine that the add-on runs on: it may "
                "be asked only with the setting local=true"
            )
        return place

    async def _behind(self, namespace: str, name: str, port: int) -> Place | None:
        """A ready endpoint of a Service; None when there is no such Service."""
        try:
            service = await self._client.get(core_v1.Service, name, namespace)
        except StatusError:
            return None
        if service.spec.external_name:
            return Place(await _looked_up(service.spec.external_name), port)
        wanted = next((p for p in service.spec.ports if p.port == port), None)
        if wanted is None:
            raise ReachError(f"Service {namespace}/{name} has no port {port}")
        slices = await self._client.list(
            discovery_v1.EndpointSlice, namespace, labels=f"{_SERVICE}={name}"
        )
        places = [
            Place(endpoint.addresses[0], each.port)
            for one in slices.items
            for each in one.ports
            if (each.name or "") == wanted.name and each.port
            for endpoint in one.endpoints
            if endpoint.addresses and endpoint.conditions.ready is not False
        ]
        if not places:
            raise ReachError(f"Service {namespace}/{name} has no ready endpoints")
        return random.choice(places)


def service_name(host: str, default_namespace: str = "") -> tuple[str, str] | None:
    """(namespace, name) of the Service that a host may be: ``name.namespace[.svc[.domain]]``, or
    ``name`` alone in a namespace."""
    labels = host.rstrip(".").split(".")
    if len(labels) == 1 and default_namespace:
        return default_namespace, labels[0]
    if len(labels) == 2 or (len(labels) > 2 and labels[2] == "svc"):
        return labels[1], labels[0]
    return None


def _is_any(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_unspecified or address.is_multicast


async def _looked_up(host: str) -> str:
    loop = asyncio.get_running_loop()
    try:
        addresses = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ReachError(f"dial tcp: lookup {host}: no such host ({error})") from None
    return str(addresses[0][4][0])


class HostResolver(AbstractResolver):
    """Lets an HTTP client go where `Reach` leads."""

    def __init__(self, reach: Reach, default_namespace: str = "") -> None:
        self._reach = reach
        self._namespace = default_namespace

    async def resolve(
        self, host: str, port: int = 0, family: Any = socket.AF_INET
    ) -> list[ResolveResult]:
        place = await self._reach.find(host, port, self._namespace)
        is_v6 = ":" in place.host
        return [
            ResolveResult(
                hostname=host,
                host=place.host,
                port=place.port,
                family=socket.AF_INET6 if is_v6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        pass
