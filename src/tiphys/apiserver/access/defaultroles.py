"""The default roles and bindings, as upstream's `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`
has them, and those of our own components."""

from __future__ import annotations

from typing import Any

from tiphys.api import rbac_v1
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.apiserver.access import joining
from tiphys.apiserver.access.rbacrules import aggregated

READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


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
# What the proxy and the name server of a node read; they share the node's identity.
_NETWORK = [
    _rule(["list", "watch"], "", "endpoints", "services", "namespaces"),
    _rule(["create", "patch", "update"], ["", "events.k8s.io"], "events"),
    _rule(["list", "watch"], "discovery.k8s.io", "endpointslices"),
    _rule(["list", "watch"], "networking.k8s.io", "networkpolicies"),
]
# The labels and addresses that network policies are about, and where to send what is for the pods
# of other nodes. An identity of its own: a node's reads its own pods and itself alone.
_POLICY = [
    _rule(["list", "watch"], "", "pods", "nodes"),
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
    _rule(["patch", "update"], "resource.k8s.io", "resourceclaims/binding"),
    _rule(["create", "delete"], "resource.k8s.io", "resourceclaims"),
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


def metadata(name: str, **kwargs: Any) -> Any:
    return ObjectMeta(name=name, **kwargs)


def cluster_roles() -> list[rbac_v1.ClusterRole]:
    """Those that others are aggregated from have their rules already."""
    roles = []
    for name, rules, labels, aggregate in _ROLES:
        role = rbac_v1.ClusterRole(
            metadata=metadata(name, labels={**_LABELS, **labels}), rules=rules
        )
        role.metadata.annotations[AUTOUPDATE] = "true"
        if aggregate:
            selector = LabelSelector(match_labels={_AGGREGATE + aggregate: "true"})
            role.aggregation_rule = rbac_v1.AggregationRule(cluster_role_selectors=[selector])
        roles.append(role)
    for name in ("view", "edit", "admin"):
        role = next(r for r in roles if r.metadata.name == name)
        role.rules = aggregated(role, roles)
    return roles


def cluster_role_bindings() -> list[rbac_v1.ClusterRoleBinding]:
    bindings = []
    for name, role_name, subjects in _BINDINGS:
        binding = rbac_v1.ClusterRoleBinding(metadata=metadata(name, labels=dict(_LABELS)))
        binding.metadata.annotations[AUTOUPDATE] = "true"
        binding.role_ref = _reference("ClusterRole", role_name)
        binding.subjects = [rbac_v1.Subject(kind=kind, name=who) for kind, who in subjects]
        bindings.append(binding)
    return bindings


def objects_of_kube_system() -> list[rbac_v1.Role | rbac_v1.RoleBinding]:
    """Roles and bindings of the namespace kube-system."""
    reader = _role(
        "extension-apiserver-authentication-reader",
        _rule(READ, "", "configmaps", names=["extension-apiserver-authentication"]),
    )
    # The nodes answer the cluster's names: each publishes itself behind the kube-dns service ...
    publish = _role(
        "tiphys:dns", _rule(["create", "get", "update"], "discovery.k8s.io", "endpointslices")
    )
    # ... and follows the administrators' DNS configuration.
    follow = _role(
        "tiphys:dns-configuration", _rule(READ, "", "configmaps", names=["coredns", "kube-dns"])
    )
    return [reader, publish, follow, _for_nodes(publish), _for_nodes(follow)]


def _role(name: str, rule: rbac_v1.PolicyRule) -> rbac_v1.Role:
    return rbac_v1.Role(metadata=metadata(name, labels=dict(_LABELS)), rules=[rule])


def _for_nodes(role: rbac_v1.Role) -> rbac_v1.RoleBinding:
    """The binding of the role's name that gives it to every node."""
    name = role.metadata.name
    binding = rbac_v1.RoleBinding(metadata=metadata(name, labels=dict(_LABELS)))
    binding.role_ref = _reference("Role", name)
    binding.subjects = [rbac_v1.Subject(kind="Group", name="system:nodes")]
    return binding


def _reference(kind: str, name: str) -> rbac_v1.RoleRef:
    return rbac_v1.RoleRef(api_group="rbac.authorization.k8s.io", kind=kind, name=name)
