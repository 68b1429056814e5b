"""Feeds Envoy: every endpoint with a Service has an address, a certificate and a route."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from tiphys.addons.addresses import Pool
from tiphys.addons.authority import Authority
from tiphys.addons.inference import routing
from tiphys.addons.inference.certificates import Certificates
from tiphys.addons.inference.endpoints import is_owned
from tiphys.addons.inference.routes import Route, route_of
from tiphys.addons.inference.types import v1
from tiphys.addons.inference.workload import BALANCER_CLASS
from tiphys.addons.optional import Context
from tiphys.api import core_v1, discovery_v1
from tiphys.client.client import MERGE, Unreachable
from tiphys.client.informer import Informer, key_of
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.network.xds import services
from tiphys.network.xds.cache import CLUSTER, LISTENER, SECRET, Cache, Message
from tiphys.network.xds.publishing import Publisher
from tiphys.network.xds.server import XdsServer

log = logging.getLogger(__name__)

_PAUSE = 0.02  # seconds in which changes are gathered
_AGAIN = 5.0  # seconds after which a listener that Envoy refused is tried again
_SERVICE = "kubernetes.io/service-name"


class Router:
    """`started` as an XdsServer is; `follow` never returns."""

    def __init__(self, context: Context, authority: Authority) -> None:
        self._context = context
        self._settings = context.settings
        self._certificates = Certificates(authority)
        self._pool = Pool(context.settings.addresses)
        self._cache = Cache()
        self.server = XdsServer(self._cache)
        self._publisher = Publisher(self._cache, self.server, self._assignment)
        informers = context.informers
        self._kinds: tuple[Informer[Any], ...] = (
            informers.of(v1.InferenceEndpointConfig),
            informers.of(v1.JumpStartModel),
        )
        self._services = informers.of(core_v1.Service)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._slices.index("service", _service_keys)
        self._changed = asyncio.Event()
        self._reported: set[str] = set()

    def watch(self) -> None:
        for kind in self._kinds:
            kind.on_change(self._on_change)
        self._services.on_change(self._on_change)
        self._slices.on_change(self._on_slice)

    def _on_change(self, old: Any, new: Any) -> None:
        self._changed.set()

    def _on_slice(self, old: Any, new: Any) -> None:
        self._publisher.refresh(
            {
                f"{name}.{namespace}:{port}"
                for one in (old, new)
                if one is not None
                for key in _service_keys(one)
                for namespace, name in [key.split("/")]
                for port in self._ports(key)
            }
        )

    def _ports(self, key: str) -> list[int]:
        service = self._services.get(key)
        return [port.port for port in service.spec.ports] if service is not None else []

    def _assignment(self, cluster: str) -> Message:
        host, _, _ = cluster.rpartition(":")
        name, _, namespace = host.rpartition(".")
        key = f"{namespace}/{name}"
        service = self._services.get(key)
        endpoints: Iterable[services.Endpoint] = ()
        if service is not None and service.spec.ports:
            slices = self._slices.by("service", key)
            endpoints = services.endpoints_of(slices, service.spec.ports[0].name)
        message: Message = services.assignment(cluster, endpoints)
        return message

    # --- what is published ---

    def routed(self) -> list[tuple[Route, str]]:
        """Every endpoint that has its Service, with the address that it has."""
        routes: dict[str, Route] = {}
        had: dict[str, list[str]] = {}
        for kind in self._kinds:
            for obj in sorted(kind, key=lambda one: one.metadata.creation_timestamp or ""):
                service = self._services.get(key_of(obj))
                if service is None or service.spec.load_balancer_class != BALANCER_CLASS:
                    continue
                if not is_owned(service, obj):  # two kinds may have endpoints of one name
                    continue
                route = route_of(obj)
                routes[route.key] = route
                had[route.key] = [one.ip for one in service.status.load_balancer.ingress if one.ip]
        addresses = self._pool.assign((key, (), had[key]) for key in routes)
        return [(route, addresses[key][0]) for key, route in routes.items() if addresses[key]]

    async def publish(self) -> str:
        """Returns what `tiphys addon status` should say."""
        self._changed.clear()
        routed = self.routed()
        port = self._settings.port
        resources: dict[str, dict[str, Message]] = {CLUSTER: {}, LISTENER: {}, SECRET: {}}
        for route, address in routed:
            resources[CLUSTER][route.cluster] = routing.cluster(route)
            resources[LISTENER][route.key] = routing.listener(route, address, port)
            pair = self._certificates.of(route, address, self._context.now())
            resources[SECRET][route.key] = routing.secret(route, pair)
        refused = (await self._publisher.publish(resources)).get(LISTENER, {})
        self._log(refused)
        for route, address in routed:
            await self._tell(route, "" if route.key in refused else address)
        if refused:
            asyncio.get_running_loop().call_later(_AGAIN, self._changed.set)
        return f"Envoy serves {len(routed) - len(refused)} of {len(routed)} endpoints"

    async def follow(self) -> None:
        reported = ""
        while True:
            message = await self.publish()
            if message != reported:
                self._context.ready(message)
                reported = message
            await self._changed.wait()
            await asyncio.sleep(_PAUSE)

    async def renew(self) -> None:
        """Has certificates replaced before they end."""
        while True:
            await asyncio.sleep(24 * 3600)
            self._changed.set()

    async def _tell(self, route: Route, address: str) -> None:
        """The address of an endpoint stands in the status of its Service."""
        service = self._services.get(route.key)
        wanted = [{"ip": address}] if address else []
        if service is None or [one.ip for one in service.status.load_balancer.ingress] == [
            one["ip"] for one in wanted
        ]:
            return
        patch = {"status": {"loadBalancer": {"ingress": wanted}}}
        try:
            await self._context.client.patch(
                core_v1.Service, route.name, patch, route.namespace, "status", media=MERGE
            )
        except Unreachable as error:
            log.info("%s", error)
        except StatusError as error:
            if not is_not_found(error):
                log.warning("the address of %s was not written: %s", route.key, error)

    def _log(self, refused: dict[str, str]) -> None:
        """Each refusal once, however often it is tried again."""
        now = {f"{name}: {reason}" for name, reason in refused.items()}
        for text in sorted(now - self._reported):
            log.error("Envoy refused %s", text)
        self._reported = now


def _service_keys(obj: discovery_v1.EndpointSlice) -> list[str]:
    name = obj.metadata.labels.get(_SERVICE)
    return [f"{obj.metadata.namespace}/{name}"] if name else []
