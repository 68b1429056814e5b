"""What a cluster has from the start: namespaces, the default roles and bindings, priority
classes, the `kubernetes` service. Written at start when missing; what users changed stays, missing
rules are put back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from tiphys.api import core_v1, discovery_v1, networking_v1, rbac_v1, scheduling_v1, storage_v1
from tiphys.api.base import decode, encode
from tiphys.api.catalog import resource_of
from tiphys.apiserver.access import flowcontrol, joining
from tiphys.apiserver.access.coverage import Owned
from tiphys.apiserver.access.defaultroles import (
    AUTOUPDATE,
    cluster_role_bindings,
    cluster_roles,
    metadata,
    objects_of_kube_system,
)
from tiphys.apiserver.registry.changes import Mutation
from tiphys.apiserver.registry.presence import PREFIX, Presence
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.writes import Write
from tiphys.machinery import errors
from tiphys.store.cache import Filter

log = logging.getLogger(__name__)

NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")
_PRIORITIES = {
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster.",
    ),
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their node.",
    ),
}


async def bootstrap(
    registry: Registry,
    presence: Presence,
    port: int,
    dns: str = "",
    authorities: dict[str, str] | None = None,
    volumes: str = "",
) -> None:
    """Writes what is missing, and completes roles that lack something.

    `presence` and `port` say where this server is reached; `authorities` is what servers behind
    this one read to know whom to believe; `volumes` is the folder of the default storage class.
    """
    await asyncio.gather(
        *(_ensure(registry, core_v1.Namespace(metadata=metadata(name))) for name in NAMESPACES)
    )
    await _roles(registry)
    levels: list[Any] = [*flowcontrol.priority_levels(), *flowcontrol.flow_schemas()]
    await asyncio.gather(*(_ensure(registry, obj) for obj in levels))
    trusted = core_v1.ConfigMap(
        metadata=metadata("extension-apiserver-authentication"), data=dict(authorities or {})
    )
    await _replace(registry, trusted, "kube-system")
    for name, (value, text) in _PRIORITIES.items():
        priority = scheduling_v1.PriorityClass(
            metadata=metadata(name), value=value, description=text
        )
        await _ensure(registry, priority)
    if volumes:
        await _ensure(registry, _storage_class(volumes))
    ranges = registry.strategy_of(resource_of(core_v1.Service)).settings.service_cidrs
    service_range = ranges[0]
    cidr = networking_v1.ServiceCIDR(metadata=metadata("kubernetes"))
    cidr.spec.cidrs = [str(network) for network in ranges]
    await _ensure(registry, cidr)
    await presence.enter()
    await _kubernetes(registry, presence.addresses(), port)
    await _ensure(registry, _dns_service(dns or str(service_range[10])), "kube-system")
    await _ensure(registry, _dns_configuration(), "kube-system")


def _storage_class(folder: str) -> storage_v1.StorageClass:
    """The default one: volumes are folders below `folder`."""
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return storage_v1.StorageClass(
        metadata=metadata("standard", annotations=default),
        provisioner="tiphys.io/local-path",
        parameters={"path": folder},
        allow_volume_expansion=True,
        volume_binding_mode="WaitForFirstConsumer",
        reclaim_policy="Delete",
    )


async def _ensure(registry: Registry, obj: Any, namespace: str = "") -> None:
    resource = resource_of(type(obj))
    if registry.lookup(resource.plural, namespace, obj.metadata.name, resource.group) is None:
        try:
            await registry.create(Write(resource, namespace), obj)
        except errors.StatusError as error:
            if not errors.is_already_exists(error):  # another server was faster
                raise


async def _roles(registry: Registry) -> None:
    await asyncio.gather(*(_complete(registry, role) for role in cluster_roles()))
    for obj in objects_of_kube_system():
        await _ensure(registry, obj, "kube-system")
    readers = joining.readers()
    await asyncio.gather(*(_ensure(registry, reader.role, reader.namespace) for reader in readers))
    await asyncio.gather(
        *(_ensure(registry, reader.binding, reader.namespace) for reader in readers)
    )
    await asyncio.gather(*(_complete(registry, binding) for binding in cluster_role_bindings()))


async def _complete(registry: Registry, wanted: Any) -> None:
    """Makes a role or a binding, or adds to the one there what it lacks (it may be from an older
    release, or an administrator removed something), unless its annotation turns auto-update off.
    """
    resource = resource_of(type(wanted))
    meta = wanted.metadata
    stored = registry.lookup(resource.plural, "", meta.name, resource.group)
    if stored is None:
        return await _ensure(registry, wanted)
    binding = isinstance(wanted, rbac_v1.ClusterRoleBinding)
    repeated = False
    if binding:
        registry.strategy_of(resource).default(wanted)  # as what is stored
        missing: list[Any] = [
            subject for subject in wanted.subjects if subject not in stored.subjects
        ]
        # Earlier releases added each subject again at every start.
        repeated = len(_once(stored.subjects)) < len(stored.subjects)
    else:
        missing = [
            rule
            for rule in wanted.rules
            if rule not in stored.rules and any(Owned(stored.rules).missing([rule]))
        ]
    left_alone = stored.metadata.annotations.get(AUTOUPDATE) == "false" or getattr(
        wanted, "aggregation_rule", None
    )
    if not (missing or repeated) or left_alone:
        return None

    def change(old: Any) -> Any:
        if binding:
            old.subjects = _once([*old.subjects, *missing])
        else:
            old.rules.extend(missing)
        return old

    await registry.update(Write(resource, "", meta.name), Mutation(change))
    return None


def _once(subjects: list[rbac_v1.Subject]) -> list[rbac_v1.Subject]:
    """Each of them, in their order."""
    return list({encode(subject): subject for subject in subjects}.values())


async def keep_kubernetes(registry: Registry, presence: Presence, port: int) -> None:
    """Makes the `kubernetes` service again whenever it, or what it leads to, is deleted, and has it
    lead to the servers that there are; until it is cancelled.
    """
    changed = asyncio.Event()
    kinds = (core_v1.Service, core_v1.Endpoints, discovery_v1.EndpointSlice)
    caches = [
        (registry.cache(row), row.key("default", "kubernetes")) for row in map(resource_of, kinds)
    ]
    watchers = [
        (cache, cache.watch(Filter(key), registry.store.revision, changed.set))
        for cache, key in [*caches, (presence.cache, PREFIX)]
    ]
    try:
        while True:
            changed.clear()
            for _, watcher in watchers:
                watcher.take()
            is_there = all(cache.get(key) is not None for cache, key in caches)
            if is_there and _served(registry) == presence.addresses():
                await changed.wait()
                continue
            try:
                await _kubernetes(registry, presence.addresses(), port)
            except errors.StatusError as error:
                log.warning("the kubernetes service cannot be made: %s", error)
                await asyncio.sleep(1.0)
    finally:
        for cache, watcher in watchers:
            cache.unwatch(watcher)


def _served(registry: Registry) -> list[str]:
    """The addresses that the endpoints of the service have."""
    endpoints = registry.lookup("endpoints", "default", "kubernetes", "")
    return [row.ip for subset in endpoints.subsets for row in subset.addresses] if endpoints else []


async def _kubernetes(registry: Registry, addresses: list[str], port: int) -> None:
    """`addresses` are in order, and of one family."""
    service_range = registry.strategy_of(resource_of(core_v1.Service)).settings.service_cidrs[0]
    service = core_v1.Service(
        metadata=metadata("kubernetes", labels={"component": "apiserver", "provider": "kubernetes"})
    )
    service.spec.cluster_ip = str(service_range[1])
    service.spec.ports = [
        core_v1.ServicePort(name="https", port=443, target_port=port, protocol="TCP")
    ]
    await _ensure(registry, service, "default")
    subset = core_v1.EndpointSubset(
        addresses=[core_v1.EndpointAddress(ip=address) for address in addresses],
        ports=[core_v1.EndpointPort(name="https", port=port, protocol="TCP")],
    )
    mirror = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    await _replace(
        registry,
        core_v1.Endpoints(metadata=metadata("kubernetes", labels=mirror), subsets=[subset]),
        "default",
    )
    conditions = discovery_v1.EndpointConditions(ready=True)
    slice_ = discovery_v1.EndpointSlice(
        metadata=metadata("kubernetes", labels={"kubernetes.io/service-name": "kubernetes"})
    )
    slice_.address_type = "IPv6" if ":" in addresses[0] else "IPv4"
    slice_.endpoints = [
        discovery_v1.Endpoint(addresses=[address], conditions=conditions) for address in addresses
    ]
    slice_.ports = [discovery_v1.EndpointPort(name="https", port=port, protocol="TCP")]
    await _replace(registry, slice_, "default")


async def _replace(registry: Registry, obj: Any, namespace: str) -> None:
    """Creates the object, or updates the existing one to the same content."""
    resource = resource_of(type(obj))
    if registry.lookup(resource.plural, namespace, obj.metadata.name, resource.group) is None:
        return await _ensure(registry, obj, namespace)

    def change(old: Any) -> Any:
        for name in type(obj).__struct_fields__:
            if name not in ("metadata", "api_version", "kind"):
                setattr(old, name, getattr(obj, name))
        return decode(_encode(old), resource.type)

    write = Write(resource, namespace, obj.metadata.name)
    await registry.update(write, Mutation(change))


def _encode(obj: Any) -> bytes:
    from tiphys.api.base import encode

    return encode(obj)


def _dns_service(address: str) -> core_v1.Service:
    labels = {
        "k8s-app": "kube-dns",
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "CoreDNS",
    }
    service = core_v1.Service(metadata=metadata("kube-dns", labels=labels))
    service.spec.cluster_ip = address
    # Each node answers its own pods: the loss of another would not be noticed at once.
    service.spec.internal_traffic_policy = "Local"
    service.spec.ports = [
        core_v1.ServicePort(name="dns", port=53, target_port=53, protocol="UDP"),
        core_v1.ServicePort(name="dns-tcp", port=53, target_port=53, protocol="TCP"),
        core_v1.ServicePort(name="metrics", port=9153, target_port=9153, protocol="TCP"),
    ]
    # Every node answers its own pods.
    service.spec.internal_traffic_policy = "Local"
    return service


def _dns_configuration() -> core_v1.ConfigMap:
    """What kubeadm has there, for administrators to change; `addons/dns` lists what is read."""
    corefile = """\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}
"""
    return core_v1.ConfigMap(metadata=metadata("coredns"), data={"Corefile": corefile})
