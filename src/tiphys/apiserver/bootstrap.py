"""What a cluster has before anybody asks: namespaces, the default roles and bindings, priority
classes, the `kubernetes` service. Written at start when missing; what users changed stays, missing
rules are put back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from tiphys.api import core_v1, discovery_v1, networking_v1, rbac_v1, scheduling_v1, storage_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.apiserver import joining
from tiphys.apiserver.access import flowcontrol
from tiphys.apiserver.access.authorization import aggregated
from tiphys.apiserver.access.coverage import Owned
from tiphys.apiserver.registry.changes import Mutation
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.writes import Write
from tiphys.machinery import errors
from tiphys.store.cache import Filter

log = logging.getLogger(__name__)

READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")


def _rule(
    verbs: list[str], groups: list[str] | str, *resources: str, names: list[str] | None = None
) -> rbac_v1.PolicyRule:
    groups = [groups] if isinstance(groups, str) else groups
    return rbac_v1.PolicyRule(
        verbs=verbs, api_groups=groups, resources=list(resources), resource_names=names or []
    )


def _urls(*urls: str) -> rbac_v1.PolicyRule:
    return rbac_v1.PolicyRule(verbs=["get"], non_resource_urls=list(urls))


_CORE_VIEW = (
    "configmaps",
    "endpoints",
    "persistentvolumeclaims",
    "persistentvolumeclaims/status",
    "pods",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "serviceaccounts",
    "services",
    "services/status",
)
_CORE_STATUS = (
    "bindings",
    "events",
    "limitranges",
    "namespaces/status",
    "pods/log",
    "pods/status",
    "replicationcontrollers/status",
    "resourcequotas",
    "resourcequotas/status",
)
_APPS = (
    "daemonsets",
    "deployments",
    "deployments/scale",
    "replicasets",
    "replicasets/scale",
    "statefulsets",
    "statefulsets/scale",
)
_APPS_STATUS = (
    "controllerrevisions",
    "daemonsets/status",
    "deployments/status",
    "replicasets/status",
    "statefulsets/status",
)
_BATCH, _BATCH_STATUS = ("cronjobs", "jobs"), ("cronjobs/status", "jobs/status")
_NET, _NET_STATUS = ("ingresses", "networkpolicies"), ("ingresses/status",)

_VIEW = [
    _rule(READ, "", *_CORE_VIEW),
    _rule(READ, "", *_CORE_STATUS),
    _rule(READ, "", "namespaces"),
    _rule(READ, "discovery.k8s.io", "endpointslices"),
    _rule(["get", "list", "watch"], "metrics.k8s.io", "pods", "nodes"),
    _rule(READ, "apps", *_APPS, *_APPS_STATUS),
    _rule(READ, "autoscaling", "horizontalpodautoscalers", "horizontalpodautoscalers/status"),
    _rule(READ, "batch", *_BATCH, *_BATCH_STATUS),
    _rule(READ, "policy", "poddisruptionbudgets", "poddisruptionbudgets/status"),
    _rule(READ, "networking.k8s.io", *_NET, *_NET_STATUS),
    _rule(
        READ, "resource.k8s.io", "resourceclaims", "resourceclaims/status", "resourceclaimtemplates"
    ),
]
_EDIT = [
    _rule(
        READ,
        "",
        "pods/attach",
        "pods/exec",
        "pods/portforward",
        "pods/proxy",
        "secrets",
        "services/proxy",
    ),
    _rule(["impersonate"], "", "serviceaccounts"),
    _rule(WRITE, "", "pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"),
    _rule(["create"], "", "pods/eviction"),
    _rule(
        WRITE,
        "",
        "configmaps",
        "events",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "replicationcontrollers/scale",
        "secrets",
        "serviceaccounts",
        "services",
        "services/proxy",
    ),
    _rule(["create"], "", "serviceaccounts/token"),
    _rule(WRITE, "apps", *_APPS, "deployments/rollback"),
    _rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
    _rule(WRITE, "batch", *_BATCH),
    _rule(WRITE, "policy", "poddisruptionbudgets"),
    _rule(WRITE, "networking.k8s.io", *_NET),
    _rule(
        ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "coordination.k8s.io",
        "leases",
    ),
    _rule(WRITE, "resource.k8s.io", "resourceclaims", "resourceclaimtemplates"),
]
_ADMIN = [
    _rule(["create"], "authorization.k8s.io", "localsubjectaccessreviews"),
    _rule([*WRITE, *READ], "rbac.authorization.k8s.io", "rolebindings", "roles"),
]
NODE_RULES = [
    _rule(["create"], "authentication.k8s.io", "tokenreviews"),
    _rule(["create"], "authorization.k8s.io", "localsubjectaccessreviews", "subjectaccessreviews"),
    _rule(READ, "", "services"),
    _rule(["create", *READ], "", "nodes"),
    _rule(["patch", "update"], "", "nodes/status"),
    _rule(["patch", "update"], "", "nodes"),
    _rule(["create", "patch", "update"], "", "events"),
    _rule(READ, "", "pods"),
    _rule(["create", "delete"], "", "pods"),
    _rule(["patch", "update"], "", "pods/status"),
    _rule(["create"], "", "pods/eviction"),
    _rule(["create"], "", "serviceaccounts/token"),
    _rule(["get"], "", "endpoints"),
    _rule(["get", "update", "patch"], "", "persistentvolumeclaims/status"),
    _rule(["get"], "", "persistentvolumeclaims", "persistentvolumes"),
    _rule(READ, "", "configmaps", "secrets"),
    _rule(["create", *READ], "certificates.k8s.io", "certificatesigningrequests"),
    _rule(["create"], "certificates.k8s.io", "certificatesigningrequests/selfnodeclient"),
    _rule(["create", "delete", "get", "patch", "update"], "coordination.k8s.io", "leases"),
    _rule(["get"], "storage.k8s.io", "volumeattachments"),
    _rule(["create", "delete", "get", "patch", "update"], "storage.k8s.io", "csinodes"),
    _rule(READ, "storage.k8s.io", "csidrivers"),
    _rule(READ, "node.k8s.io", "runtimeclasses"),
    _rule(["get"], "resource.k8s.io", "resourceclaims"),
    _rule(
        ["create", "delete", "deletecollection", "patch", "update", *READ],
        "resource.k8s.io",
        "resourceslices",
    ),
]
# What the proxy and the name server of a node look at; they share the node's identity.
_NETWORK = [
    _rule(["list", "watch"], "", "endpoints", "services", "namespaces"),
    _rule(["create", "patch", "update"], ["", "events.k8s.io"], "events"),
    _rule(["list", "watch"], "discovery.k8s.io", "endpointslices"),
    _rule(["list", "watch"], "networking.k8s.io", "networkpolicies"),
    _rule(["list", "watch"], "", "nodes"),  # where to send what is for their pods
]
# The labels and addresses that network policies are about. An identity of its own: a node's reads
# its own pods alone.
_POLICY = [
    _rule(["list", "watch"], "", "pods"),
]
_PROXY = [
    _rule(["list", "watch"], "", "endpoints", "services"),
    _rule(READ, "", "nodes"),
    _rule(["create", "patch", "update"], ["", "events.k8s.io"], "events"),
    _rule(["list", "watch"], "discovery.k8s.io", "endpointslices"),
    _rule(["list", "watch"], "networking.k8s.io", "servicecidrs", "networkpolicies"),
]
_DNS = [
    _rule(["list", "watch"], "", "endpoints", "services", "pods", "namespaces"),
    _rule(["list", "watch"], "discovery.k8s.io", "endpointslices"),
]
_SCHEDULER = [
    _rule(["create", "patch", "update"], ["", "events.k8s.io"], "events"),
    _rule(["create", "get", "update", "list", "watch"], "coordination.k8s.io", "leases"),
    _rule(
        READ,
        "",
        "nodes",
        "namespaces",
        "replicationcontrollers",
        "services",
        "persistentvolumes",
        "persistentvolumeclaims",
    ),
    _rule(["delete", *READ], "", "pods"),
    _rule(["create"], "", "bindings", "pods/binding"),
    _rule(["patch", "update"], "", "pods/status"),
    _rule(["patch", "update"], "", "persistentvolumes", "persistentvolumeclaims"),
    _rule(READ, "apps", "replicasets", "statefulsets"),
    _rule(READ, "policy", "poddisruptionbudgets"),
    _rule(
        READ,
        "storage.k8s.io",
        "csinodes",
        "csidrivers",
        "csistoragecapacities",
        "storageclasses",
        "volumeattachments",
    ),
    _rule(READ, "resource.k8s.io", "deviceclasses", "resourceclaims", "resourceslices"),
    _rule(["patch", "update"], "resource.k8s.io", "resourceclaims", "resourceclaims/status"),
    # who may read its metrics
    _rule(["create"], "authentication.k8s.io", "tokenreviews"),
    _rule(["create"], "authorization.k8s.io", "subjectaccessreviews"),
]
# One identity for all controllers: they run in one process.
_CONTROLLERS = [rbac_v1.PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"]), _urls("*")]
_HEALTH = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY = (
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
)
_SELF = [
    _rule(
        ["create"], "authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"
    ),
    _rule(["create"], "authentication.k8s.io", "selfsubjectreviews"),
]
_ISSUER = [
    _urls(
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/",
        "/openid/v1/jwks",
        "/openid/v1/jwks/",
    )
]

# name, rules, labels beyond the common ones, names of roles it aggregates to
_ROLES: list[tuple[str, list[rbac_v1.PolicyRule], dict[str, str], str]] = [
    (
        "cluster-admin",
        [
            rbac_v1.PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"]),
            rbac_v1.PolicyRule(verbs=["*"], non_resource_urls=["*"]),
        ],
        {},
        "",
    ),
    ("admin", [], {}, "admin"),
    ("edit", [], {_AGGREGATE + "admin": "true"}, "edit"),
    ("view", [], {_AGGREGATE + "edit": "true"}, "view"),
    ("system:aggregate-to-admin", _ADMIN, {_AGGREGATE + "admin": "true"}, ""),
    ("system:aggregate-to-edit", _EDIT, {_AGGREGATE + "edit": "true"}, ""),
    ("system:aggregate-to-view", _VIEW, {_AGGREGATE + "view": "true"}, ""),
    ("system:basic-user", _SELF, {}, ""),
    ("system:discovery", [_urls(*_DISCOVERY)], {}, ""),
    ("system:public-info-viewer", [_urls(*_HEALTH)], {}, ""),
    ("system:service-account-issuer-discovery", _ISSUER, {}, ""),
    (
        "system:monitoring",
        [
            _urls(
                "/healthz",
                "/healthz/*",
                "/livez",
                "/livez/*",
                "/metrics",
                "/metrics/slis",
                "/readyz",
                "/readyz/*",
            )
        ],
        {},
        "",
    ),
    ("system:node", NODE_RULES, {}, ""),
    ("tiphys:hollow-nodes", NODE_RULES, {}, ""),
    ("tiphys:node-network", _NETWORK, {}, ""),
    ("tiphys:network-policy", _POLICY, {}, ""),
    ("system:node-proxier", _PROXY, {}, ""),
    ("system:coredns", _DNS, {}, ""),
    ("system:kube-scheduler", _SCHEDULER, {}, ""),
    ("system:kube-controller-manager", _CONTROLLERS, {}, ""),
    (
        "system:auth-delegator",
        [
            _rule(["create"], "authentication.k8s.io", "tokenreviews"),
            _rule(["create"], "authorization.k8s.io", "subjectaccessreviews"),
        ],
        {},
        "",
    ),
    (
        "system:kubelet-api-admin",
        [
            _rule(["*"], "", "nodes/log", "nodes/metrics", "nodes/proxy", "nodes/stats"),
            _rule(["get", "list", "watch", "proxy"], "", "nodes"),
        ],
        {},
        "",
    ),
    (
        "system:persistent-volume-provisioner",
        [
            _rule(["create", "delete", *READ], "", "persistentvolumes"),
            _rule([*READ, "update"], "", "persistentvolumeclaims"),
            _rule(READ, "storage.k8s.io", "storageclasses"),
            _rule(["create", "patch", "update", *READ], "", "events"),
        ],
        {},
        "",
    ),
    (
        "system:heapster",
        [
            _rule(READ, "", "events", "namespaces", "nodes", "pods"),
            _rule(READ, "apps", "deployments"),
        ],
        {},
        "",
    ),
    *((name, rules, {}, "") for name, rules in joining.ROLES.items()),
]
_BINDINGS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("cluster-admin", "cluster-admin", [("Group", "system:masters")]),
    ("system:basic-user", "system:basic-user", [("Group", "system:authenticated")]),
    ("system:discovery", "system:discovery", [("Group", "system:authenticated")]),
    (
        "system:public-info-viewer",
        "system:public-info-viewer",
        [("Group", "system:authenticated"), ("Group", "system:unauthenticated")],
    ),
    (
        "system:service-account-issuer-discovery",
        "system:service-account-issuer-discovery",
        [("Group", "system:serviceaccounts")],
    ),
    ("system:monitoring", "system:monitoring", [("Group", "system:monitoring")]),
    ("system:node", "system:node", []),  # the node authorizer knows which objects are a node's own
    ("tiphys:hollow-nodes", "tiphys:hollow-nodes", [("User", "tiphys:hollow-nodes")]),
    ("tiphys:node-network", "tiphys:node-network", [("Group", "system:nodes")]),
    ("tiphys:network-policy", "tiphys:network-policy", [("User", "tiphys:network-policy")]),
    ("system:node-proxier", "system:node-proxier", [("User", "system:kube-proxy")]),
    ("system:kube-scheduler", "system:kube-scheduler", [("User", "system:kube-scheduler")]),
    (
        "system:kube-controller-manager",
        "system:kube-controller-manager",
        [("User", "system:kube-controller-manager")],
    ),
    *((name, role, [("Group", group)]) for name, (role, group) in joining.BINDINGS.items()),
]


async def bootstrap(
    registry: Registry,
    address: str,
    port: int,
    dns: str = "",
    authorities: dict[str, str] | None = None,
    volumes: str = "",
) -> None:
    """Writes what is missing, and completes roles that lack something.

    `address` and `port` are where this server is reached; `authorities` is what servers behind this
    one read to know whom to believe; `volumes` is the folder of the default storage class.
    """
    await asyncio.gather(
        *(_ensure(registry, core_v1.Namespace(metadata=_meta(name))) for name in NAMESPACES)
    )
    await _roles(registry)
    levels: list[Any] = [*flowcontrol.priority_levels(), *flowcontrol.flow_schemas()]
    await asyncio.gather(*(_ensure(registry, obj) for obj in levels))
    trusted = core_v1.ConfigMap(
        metadata=_meta("extension-apiserver-authentication"), data=dict(authorities or {})
    )
    await _replace(registry, trusted, "kube-system")
    for name, value, text in (
        (
            "system-cluster-critical",
            2000000000,
            "Used for system critical pods that must run in the cluster.",
        ),
        (
            "system-node-critical",
            2000001000,
            "Used for system critical pods that must not be moved from their node.",
        ),
    ):
        await _ensure(
            registry,
            scheduling_v1.PriorityClass(metadata=_meta(name), value=value, description=text),
        )
    if volumes:
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        standard = storage_v1.StorageClass(
            metadata=_meta("standard", annotations=default), provisioner="tiphys.io/local-path"
        )
        standard.parameters, standard.allow_volume_expansion = {"path": volumes}, True
        standard.volume_binding_mode, standard.reclaim_policy = "WaitForFirstConsumer", "Delete"
        await _ensure(registry, standard)
    service_range = registry.strategy_of(resource_of(core_v1.Service)).settings.service_cidr
    cidr = networking_v1.ServiceCIDR(metadata=_meta("kubernetes"))
    cidr.spec.cidrs = [str(service_range)]
    await _ensure(registry, cidr)
    await _kubernetes(registry, address, port)
    await _ensure(registry, _dns_service(dns or str(service_range[10])), "kube-system")


def _meta(name: str, **kwargs: Any) -> Any:
    from tiphys.api.meta_v1 import ObjectMeta

    return ObjectMeta(name=name, **kwargs)


async def _ensure(registry: Registry, obj: Any, namespace: str = "") -> None:
    resource = resource_of(type(obj))
    if registry.lookup(resource.plural, namespace, obj.metadata.name, resource.group) is None:
        try:
            await registry.create(Write(resource, namespace), obj)
        except errors.StatusError as error:
            if not errors.is_already_exists(error):  # another server was faster
                raise


async def _roles(registry: Registry) -> None:
    roles = []
    for name, rules, labels, aggregate in _ROLES:
        role = rbac_v1.ClusterRole(metadata=_meta(name, labels={**_LABELS, **labels}), rules=rules)
        role.metadata.annotations[_AUTOUPDATE] = "true"
        if aggregate:
            from tiphys.api.meta_v1 import LabelSelector

            selector = LabelSelector(match_labels={_AGGREGATE + aggregate: "true"})
            role.aggregation_rule = rbac_v1.AggregationRule(cluster_role_selectors=[selector])
        roles.append(role)
    for name in ("view", "edit", "admin"):
        role = next(r for r in roles if r.metadata.name == name)
        role.rules = aggregated(role, roles)
    await asyncio.gather(*(_complete(registry, role) for role in roles))
    reader = rbac_v1.Role(
        metadata=_meta("extension-apiserver-authentication-reader", labels=dict(_LABELS))
    )
    reader.rules = [_rule(READ, "", "configmaps", names=["extension-apiserver-authentication"])]
    await _ensure(registry, reader, "kube-system")
    # The nodes answer the cluster's names: each publishes itself behind the kube-dns service.
    publish = rbac_v1.Role(metadata=_meta("tiphys:dns", labels=dict(_LABELS)))
    publish.rules = [_rule(["create", "get", "update"], "discovery.k8s.io", "endpointslices")]
    await _ensure(registry, publish, "kube-system")
    bound = rbac_v1.RoleBinding(metadata=_meta("tiphys:dns", labels=dict(_LABELS)))
    bound.role_ref = rbac_v1.RoleRef(
        api_group="rbac.authorization.k8s.io", kind="Role", name="tiphys:dns"
    )
    bound.subjects = [rbac_v1.Subject(kind="Group", name="system:nodes")]
    await _ensure(registry, bound, "kube-system")
    readers = joining.readers()
    await asyncio.gather(*(_ensure(registry, one.role, one.namespace) for one in readers))
    await asyncio.gather(*(_ensure(registry, one.binding, one.namespace) for one in readers))
    bindings = []
    for name, role_name, subjects in _BINDINGS:
        binding = rbac_v1.ClusterRoleBinding(metadata=_meta(name, labels=dict(_LABELS)))
        binding.metadata.annotations[_AUTOUPDATE] = "true"
        binding.role_ref = rbac_v1.RoleRef(
            api_group="rbac.authorization.k8s.io", kind="ClusterRole", name=role_name
        )
        binding.subjects = [rbac_v1.Subject(kind=kind, name=who) for kind, who in subjects]
        bindings.append(binding)
    await asyncio.gather(*(_complete(registry, binding) for binding in bindings))


async def _complete(registry: Registry, wanted: Any) -> None:
    """Makes a role or a binding, or adds to the one there what it lacks (it may be from an older
    release, or somebody has taken something out), unless its annotation says that it is to be left
    alone.
    """
    resource, meta = resource_of(type(wanted)), wanted.metadata
    there = registry.lookup(resource.plural, "", meta.name, resource.group)
    if there is None:
        return await _ensure(registry, wanted)
    binding = isinstance(wanted, rbac_v1.ClusterRoleBinding)
    if binding:
        missing: list[Any] = [one for one in wanted.subjects if one not in there.subjects]
    else:
        missing = [
            rule
            for rule in wanted.rules
            if rule not in there.rules and any(Owned(there.rules).missing([rule]))
        ]
    left_alone = there.metadata.annotations.get(_AUTOUPDATE) == "false" or getattr(
        wanted, "aggregation_rule", None
    )
    if not missing or left_alone:
        return None

    def change(old: Any) -> Any:
        (old.subjects if binding else old.rules).extend(missing)
        return old

    await registry.update(Write(resource, "", meta.name), Mutation(change))
    return None


async def keep_kubernetes(registry: Registry, address: str, port: int) -> None:
    """Makes the `kubernetes` service again whenever it, or what it leads to, is deleted; until it
    is cancelled.
    """
    changed = asyncio.Event()
    kinds = (core_v1.Service, core_v1.Endpoints, discovery_v1.EndpointSlice)
    caches = [
        (registry.cache(row), row.key("default", "kubernetes")) for row in map(resource_of, kinds)
    ]
    watchers = [
        (cache, cache.watch(Filter(key), registry.store.revision, changed.set))
        for cache, key in caches
    ]
    try:
        while True:
            changed.clear()
            for _, watcher in watchers:
                watcher.take()
            if all(cache.get(key) is not None for cache, key in caches):
                await changed.wait()
                continue
            try:
                await _kubernetes(registry, address, port)
            except errors.StatusError as error:
                log.warning("the kubernetes service cannot be made: %s", error)
                await asyncio.sleep(1.0)
    finally:
        for cache, watcher in watchers:
            cache.unwatch(watcher)


async def _kubernetes(registry: Registry, address: str, port: int) -> None:
    service_range = registry.strategy_of(resource_of(core_v1.Service)).settings.service_cidr
    service = core_v1.Service(
        metadata=_meta("kubernetes", labels={"component": "apiserver", "provider": "kubernetes"})
    )
    service.spec.cluster_ip = str(service_range[1])
    service.spec.ports = [
        core_v1.ServicePort(name="https", port=443, target_port=port, protocol="TCP")
    ]
    await _ensure(registry, service, "default")
    subset = core_v1.EndpointSubset(
        addresses=[core_v1.EndpointAddress(ip=address)],
        ports=[core_v1.EndpointPort(name="https", port=port, protocol="TCP")],
    )
    mirror = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    await _replace(
        registry,
        core_v1.Endpoints(metadata=_meta("kubernetes", labels=mirror), subsets=[subset]),
        "default",
    )
    conditions = discovery_v1.EndpointConditions(ready=True)
    slice_ = discovery_v1.EndpointSlice(
        metadata=_meta("kubernetes", labels={"kubernetes.io/service-name": "kubernetes"})
    )
    slice_.address_type = "IPv4"
    slice_.endpoints = [discovery_v1.Endpoint(addresses=[address], conditions=conditions)]
    slice_.ports = [discovery_v1.EndpointPort(name="https", port=port, protocol="TCP")]
    await _replace(registry, slice_, "default")


async def _replace(registry: Registry, obj: Any, namespace: str) -> None:
    """Makes the object, or makes the one there say the same."""
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
    service = core_v1.Service(metadata=_meta("kube-dns", labels=labels))
    service.spec.cluster_ip = address
    # Each node answers its own pods: another one may be lost, and nobody would notice at once.
    service.spec.internal_traffic_policy = "Local"
    service.spec.ports = [
        core_v1.ServicePort(name="dns", port=53, target_port=53, protocol="UDP"),
        core_v1.ServicePort(name="dns-tcp", port=53, target_port=53, protocol="TCP"),
    ]
    return service
