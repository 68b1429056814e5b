"""Keeps what all sidecars have in common as the cluster is: a change costs its own service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tiphys.addons.mesh import outbound
from tiphys.addons.mesh.identity import spiffe
from tiphys.addons.mesh.inbound import STRICT
from tiphys.addons.mesh.injection import has_sidecar
from tiphys.addons.mesh.outbound import Member, Target
from tiphys.addons.mesh.types import MeshPolicy, ServiceRoute
from tiphys.api import core_v1, discovery_v1
from tiphys.client.informer import Informers, key_of
from tiphys.network.xds.cache import Cache

_SERVICE = "kubernetes.io/service-name"
_PAUSE = 0.002  # seconds in which changes of a service are gathered
_AT_ONCE = 10  # services that are compiled before other tasks get a turn


class Source:
    """Compiles services as they change. `on_policy` is called with namespaces whose policy does."""

    def __init__(
        self,
        cache: Cache,
        informers: Informers,
        domain: str,
        on_policy: Callable[[str], None],
    ) -> None:
        self._cache = cache
        self._domain = domain
        self._on_policy = on_policy
        self._services = informers.of(core_v1.Service)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._pods = informers.of(core_v1.Pod)
        self._policies = informers.of(MeshPolicy)
        self._routes = informers.of(ServiceRoute)
        self._services.index("namespace", _namespace)
        self._slices.index("service", _service_keys)
        self._slices.index("pod", _pod_keys)
        self._routes.index("namespace", _namespace)
        self._names: dict[str, dict[str, set[str]]] = {}  # resources by service and type
        self._dirty: dict[str, None] = {}
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Compiles what there is, and from now on what changes."""
        self._cache.update(outbound.common())
        self._pods.on_change(self._pod_changed)
        self._slices.on_change(self._slice_changed)
        self._routes.on_change(self._route_changed)
        self._policies.on_change(self._policy_changed)
        self._services.on_change(lambda old, new: self._mark(key_of(new or old)))

    def mode_of(self, namespace: str) -> str:
        policy = self._policies.get(f"{namespace}/default")
        return policy.spec.mode if policy is not None else "Permissive"

    def _slice_changed(self, old: Any, new: Any) -> None:
        for key in dict.fromkeys(key for one in (old, new) if one for key in _service_keys(one)):
            self._mark(key)

    def _pod_changed(self, old: Any, new: Any) -> None:
        if (_facts(old) if old is not None else None) == (_facts(new) if new is not None else None):
            return
        for slice_ in self._slices.by("pod", key_of(new or old)):
            for key in _service_keys(slice_):
                self._mark(key)

    def _route_changed(self, old: Any, new: Any) -> None:
        for route in (old, new):
            if route is not None:
                self._mark(f"{route.metadata.namespace}/{route.spec.service}")

    def _policy_changed(self, old: Any, new: Any) -> None:
        if old is not None and new is not None and old.spec == new.spec:
            return
        namespace = (new or old).metadata.namespace
        self._on_policy(namespace)
        for service in self._services.by("namespace", namespace):
            self._mark(key_of(service))

    def _mark(self, key: str) -> None:
        if not self._dirty:
            self._loop.call_later(_PAUSE, self._flush)
        self._dirty[key] = None

    def _flush(self) -> None:
        for key in list(self._dirty)[:_AT_ONCE]:
            del self._dirty[key]
            self._compile(key)
        if self._dirty:
            self._loop.call_soon(self._flush)

    def _compile(self, key: str) -> None:
        service = self._services.get(key)
        resources = outbound.resources_of(self._target(key, service)) if service is not None else {}
        self._cache.update(outbound.changes(self._names.get(key, {}), resources))
        self._names[key] = {type_url: set(named) for type_url, named in resources.items()}
        if service is None:
            del self._names[key]

    def _target(self, key: str, service: core_v1.Service) -> Target:
        namespace = service.metadata.namespace
        slices = self._slices.by("service", key)
        return Target(
            service,
            slices,
            self._members(slices),
            self._routes.by("namespace", namespace),
            self.mode_of(namespace) == STRICT,
            f"spiffe://{self._domain}/ns/{namespace}/",
        )

    def _members(self, slices: list[discovery_v1.EndpointSlice]) -> list[Member]:
        """Who made a slice by hand can name any pod in it: the pod itself must have the address."""
        members = []
        for slice_ in slices:
            for pod_key, address in _targets(slice_):
                pod = self._pods.get(pod_key)
                if pod is None or not has_sidecar(pod):
                    continue
                if any(row.ip == address for row in pod.status.pod_ips):
                    identity = spiffe(self._domain, pod.metadata.namespace, _account(pod))
                    members.append(Member(address, identity))
        return members


def _account(pod: core_v1.Pod) -> str:
    return pod.spec.service_account_name or "default"


def _facts(pod: core_v1.Pod) -> tuple[Any, ...]:
    """What of a pod others' sidecars must know."""
    return (has_sidecar(pod), _account(pod), tuple(row.ip for row in pod.status.pod_ips))


def _targets(slice_: discovery_v1.EndpointSlice) -> list[tuple[str, str]]:
    return [
        (f"{endpoint.target_ref.namespace}/{endpoint.target_ref.name}", endpoint.addresses[0])
        for endpoint in slice_.endpoints
        if endpoint.target_ref is not None and endpoint.target_ref.kind == "Pod"
        if endpoint.addresses
    ]


def _namespace(obj: Any) -> list[str]:
    return [obj.metadata.namespace]


def _pod_keys(obj: discovery_v1.EndpointSlice) -> list[str]:
    return [key for key, _ in _targets(obj)]


def _service_keys(obj: discovery_v1.EndpointSlice) -> list[str]:
    name = obj.metadata.labels.get(_SERVICE)
    return [f"{obj.metadata.namespace}/{name}"] if name else []
