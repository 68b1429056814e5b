"""What the add-on follows: one flag for everything that is compiled, and a short way for endpoints
alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from tiphys.addons.gateway.objects import ROUTES
from tiphys.addons.gateway.snapshot import Objects
from tiphys.addons.gateway.types.gateways import Gateway, GatewayClass
from tiphys.addons.gateway.types.policies import BackendTLSPolicy, ReferenceGrant
from tiphys.api import core_v1, discovery_v1, networking_v1
from tiphys.client.informer import Informer, Informers, key_of
from tiphys.network.xds import services
from tiphys.network.xds.cache import Message

_SERVICE = "kubernetes.io/service-name"
_TLS_SECRET = "kubernetes.io/tls"
_AUTHORITIES = "ca.crt"  # the key of a ConfigMap
_PAUSE = 0.002  # seconds in which changes of endpoints are gathered


class Watcher:
    """`changed` is set when anything but endpoints and statuses has changed."""

    def __init__(self, informers: Informers) -> None:
        self.changed = asyncio.Event()
        self._ingresses = informers.of(networking_v1.Ingress)
        self._classes = informers.of(networking_v1.IngressClass)
        self._services = informers.of(core_v1.Service)
        self._secrets = informers.of(core_v1.Secret)
        self._config_maps = informers.of(core_v1.ConfigMap)
        self._namespaces = informers.of(core_v1.Namespace)
        self._gateway_classes = informers.of(GatewayClass)
        self._gateways = informers.of(Gateway)
        self._routes = [informers.of(kind) for kind in ROUTES]
        self._grants = informers.of(ReferenceGrant)
        self._policies = informers.of(BackendTLSPolicy)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._slices.index("service", _service_keys)
        self._moved: dict[str, None] = {}  # services whose endpoints did

    def start(self, refresh: Callable[[set[str]], None]) -> None:
        """From now on. `refresh` is called with the ports of services whose endpoints changed."""
        compiled: tuple[Informer[Any], ...] = (
            self._ingresses,
            self._classes,
            self._services,
            self._namespaces,
            self._gateway_classes,
            self._gateways,
            *self._routes,
            self._grants,
            self._policies,
        )
        for informer in compiled:
            informer.on_change(self._on_change)
        self._secrets.on_change(self._on_secret)
        self._config_maps.on_change(self._on_config_map)
        self._refresh = refresh
        self._slices.on_change(self._on_slice)

    def objects(self) -> Objects:
        """Those of now. They may be read in another thread: an informer replaces objects and
        changes none."""
        return Objects(
            ingresses=list(self._ingresses),
            ingress_classes={key_of(one): one for one in self._classes},
            services={key_of(one): one for one in self._services},
            secrets={key_of(one): one for one in self._secrets},
            config_maps={key_of(one): one for one in self._config_maps},
            namespaces={key_of(one): one for one in self._namespaces},
            gateway_classes=list(self._gateway_classes),
            gateways=list(self._gateways),
            routes=[route for informer in self._routes for route in informer],
            grants=list(self._grants),
            policies=list(self._policies),
        )

    def assignment(self, name: str) -> Message:
        """The endpoints of a cluster, by its name; none where there is no such port."""
        host, _, number = name.partition("|")[0].rpartition(":")
        service_name, _, namespace = host.rpartition(".")
        key = f"{namespace}/{service_name}"
        service = self._services.get(key)
        endpoints: Iterable[services.Endpoint] = ()
        for port in service.spec.ports if service is not None else ():
            if port.port == int(number):
                endpoints = services.endpoints_of(self._slices.by("service", key), port.name)
                break
        message: Message = services.assignment(name, endpoints)
        return message

    def _on_change(self, old: Any, new: Any) -> None:
        if old is None or new is None or _differs(old, new):
            self.changed.set()

    def _on_secret(self, old: Any, new: Any) -> None:
        """Tokens and the like are no concern of ours."""
        if any(one is not None and one.type == _TLS_SECRET for one in (old, new)):
            self.changed.set()

    def _on_config_map(self, old: Any, new: Any) -> None:
        if any(one is not None and _AUTHORITIES in one.data for one in (old, new)):
            self.changed.set()

    def _on_slice(self, old: Any, new: Any) -> None:
        if not self._moved:
            asyncio.get_running_loop().call_later(_PAUSE, self._flush)
        for slice_ in (old, new):
            if slice_ is not None:
                self._moved.update(dict.fromkeys(_service_keys(slice_)))

    def _flush(self) -> None:
        names: set[str] = set()
        for key in self._moved:
            service = self._services.get(key)
            if service is not None:
                names |= {services.cluster_name(service, port) for port in service.spec.ports}
        self._moved.clear()
        self._refresh(names)


def _differs(old: Any, new: Any) -> bool:
    """In anything but the status: that is what we write."""
    if old.metadata.generation and old.metadata.generation == new.metadata.generation:
        return bool(
            old.metadata.annotations != new.metadata.annotations
            or old.metadata.labels != new.metadata.labels
        )
    return True


def _service_keys(obj: discovery_v1.EndpointSlice) -> list[str]:
    name = obj.metadata.labels.get(_SERVICE)
    return [f"{obj.metadata.namespace}/{name}"] if name else []
