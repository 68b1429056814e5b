"""A reading of the cluster, as routes read it: services by name, and their pods' addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tiphys.addons.routeserver.compiling.objects import (
    Endpoints,
    EndpointSlice,
    Metadata,
    Objects,
    Port,
    Service,
    ServicePort,
    SliceEndpoint,
    Subset,
)
from tiphys.addons.routeserver.eskip import Endpoint

LEAST_IN_ZONE = 3
"""Endpoints a zone must have so that requests stay in it: fewer are one update away from none."""

_SERVICE_NAME = "kubernetes.io/service-name"
_H2C = "kubernetes.io/h2c"
_Key = tuple[str, str]  # namespace, name


@dataclass(frozen=True)
class Scheme:
    """The scheme of requests to pods. Where no annotation names one (`is_explicit`), the port of an
    EndpointSlice decides."""

    name: str = "http"
    is_explicit: bool = False

    def of(self, port: Port | None) -> str:
        if not self.is_explicit and port is not None and port.app_protocol == _H2C:
            return "h2c"
        return self.name


@dataclass(frozen=True)
class _Ready:
    """The ready endpoints of a service: the slices of one service may repeat each other."""

    endpoints: tuple[Endpoint, ...]
    ports: tuple[Port, ...]

    def port(self, name: str, number: int) -> Port | None:
        for port in self.ports:
            if port.protocol in ("TCP", None) and _is_port(port, name, number):
                return port
        return None

    def at(self, scheme: str, port: int) -> tuple[Endpoint, ...]:
        endpoints = (Endpoint(_url(scheme, ip, port), zone) for ip, zone in self.endpoints)
        return tuple(sorted(endpoints))


def _is_port(port: Port, name: str, number: int) -> bool:
    return (port.name or "") == name or (number != 0 and port.port == number)


class Cluster:
    """Answers from one reading, without requests."""

    def __init__(self, objects: Objects, slices: bool, zone: str = "") -> None:
        self._zone = zone
        self._services = {service.metadata.key: service for service in objects.services}
        self._endpoints = {each.metadata.key: each for each in objects.endpoints}
        self._ready = _ready_by_service(objects.endpoint_slices) if slices else None
        self._resolved: dict[tuple[object, ...], tuple[Endpoint, ...]] = {}

    def service(self, namespace: str, name: str) -> Service | None:
        service = self._services.get((namespace or "default", name))
        return service if service is not None and service.spec is not None else None

    def behind_port(
        self, service: Service, port: ServicePort, scheme: Scheme, zone_aware: bool
    ) -> tuple[Endpoint, ...]:
        """Endpoints of a service's port, as an Ingress means it."""
        key = (service.metadata.key, scheme, port.name, port.port, port.target_port)
        if key not in self._resolved:
            self._resolved[key] = self._behind_port(service.metadata.key, port, scheme)
        return self._near(self._resolved[key], zone_aware)

    def behind_target(
        self, service: Service, target: int | str, scheme: Scheme, zone_aware: bool
    ) -> tuple[Endpoint, ...]:
        """Endpoints of a target port, as a RouteGroup means it."""
        key = (service.metadata.key, scheme, target)
        if key not in self._resolved:
            self._resolved[key] = self._behind_target(service.metadata.key, target, scheme)
        return self._near(self._resolved[key], zone_aware)

    def _near(self, endpoints: tuple[Endpoint, ...], zone_aware: bool) -> tuple[Endpoint, ...]:
        return in_zone(endpoints, self._zone) if zone_aware else endpoints

    def _behind_port(self, key: _Key, port: ServicePort, scheme: Scheme) -> tuple[Endpoint, ...]:
        if self._ready is None:
            return _of_endpoints(self._endpoints.get(key), port.name, scheme.name)
        ready = self._ready.get(key)
        if ready is None:
            return ()
        known = ready.port(port.name, port.port)
        number = known.port or 0 if known is not None else 0
        if not port.name and isinstance(port.target_port, int):
            number = port.target_port
        return ready.at(scheme.of(known), number)

    def _behind_target(self, key: _Key, target: int | str, scheme: Scheme) -> tuple[Endpoint, ...]:
        if self._ready is None:
            return _of_target(self._endpoints.get(key), target, scheme.name)
        ready = self._ready.get(key)
        if ready is None:
            return ()
        name, number = (target, 0) if isinstance(target, str) else ("", target)
        known = ready.port(name, number)
        listens_on = known.port or 0 if known is not None else 0
        return ready.at(scheme.of(known), listens_on)


def in_zone(endpoints: tuple[Endpoint, ...], zone: str) -> tuple[Endpoint, ...]:
    """Those of the zone, or all where it has too few."""
    near = tuple(endpoint for endpoint in endpoints if zone and endpoint.zone == zone)
    return near if len(near) >= LEAST_IN_ZONE else endpoints


def has_labels(metadata: Metadata, wanted: Mapping[str, str]) -> bool:
    """Whether all labels are there; one that is wanted without a value may have any."""
    labels = metadata.labels or {}
    return all(
        labels.get(key) == value if value else key in labels for key, value in wanted.items()
    )


def _url(scheme: str, ip: str, port: int) -> str:
    host = f"[{ip}]" if ":" in ip else ip
    return f"{scheme}://{host}:{port}"


# --- Endpoints ---


def _subsets(endpoints: Endpoints | None) -> Sequence[Subset]:
    if endpoints is None:
        return ()
    return endpoints.subsets or ()


def _of_endpoints(endpoints: Endpoints | None, name: str, scheme: str) -> tuple[Endpoint, ...]:
    """A subset of one port is meant, whatever the port's name."""
    for subset in _subsets(endpoints):
        ports = subset.ports or []
        for port in ports:
            if len(ports) == 1 or (port.name or "") == name:
                addresses = [address.ip for address in subset.addresses or ()]
                return _sorted(addresses, scheme, port)
    return ()


def _of_target(endpoints: Endpoints | None, target: int | str, scheme: str) -> tuple[Endpoint, ...]:
    for subset in _subsets(endpoints):
        for port in subset.ports or ():
            if target in (port.port, port.name or ""):
                addresses = [address.ip for address in subset.addresses or ()]
                return _sorted(addresses, scheme, port)
    return ()


def _sorted(addresses: Iterable[str], scheme: str, port: Port) -> tuple[Endpoint, ...]:
    return tuple(sorted(Endpoint(_url(scheme, ip, port.port or 0)) for ip in addresses))


# --- EndpointSlices ---


def _ready_by_service(slices: Sequence[EndpointSlice]) -> dict[_Key, _Ready]:
    by_service: dict[_Key, list[EndpointSlice]] = {}
    for slice_ in slices:
        if slice_.ports is None:
            continue
        labels = slice_.metadata.labels or {}
        key = (slice_.metadata.namespace or "default", labels.get(_SERVICE_NAME, ""))
        by_service.setdefault(key, []).append(slice_)
    return {key: _ready(of_service) for key, of_service in by_service.items()}


def _ready(slices: Sequence[EndpointSlice]) -> _Ready:
    """An address that any slice calls terminating is: slices are written one after the other."""
    by_address: dict[str, Endpoint] = {}
    terminating: set[str] = set()
    for slice_ in slices:
        for endpoint in slice_.endpoints or ():
            address = (endpoint.addresses or [""])[0]
            if _is_terminating(endpoint):
                terminating.add(address)
            elif address and _is_ready(endpoint):
                by_address[address] = Endpoint(address, endpoint.zone or "")
    endpoints = tuple(each for ip, each in by_address.items() if ip not in terminating)
    return _Ready(endpoints, tuple(slices[-1].ports or ()))


def _is_terminating(endpoint: SliceEndpoint) -> bool:
    return endpoint.conditions is not None and endpoint.conditions.terminating is True


def _is_ready(endpoint: SliceEndpoint) -> bool:
    return endpoint.conditions is None or endpoint.conditions.ready is not False
