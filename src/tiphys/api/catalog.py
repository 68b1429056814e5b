"""The one ordered table of every built-in resource. The order is that of `kubectl api-resources`'
groups.

Each row is what discovery, routing, storage and RBAC need to know; the type's module is imported on
first use.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
READ_ONLY = ("get", "list")
CREATE_ONLY = ("create",)


@dataclass(frozen=True)
class GroupVersion:
    group: str
    version: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


@dataclass(frozen=True)
class Subresource:
    """A path below an object: its kind when that is not the parent's, and what it answers."""

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    kind: str = ""
    group: str | None = None
    version: str = ""


@dataclass(frozen=True)
class Resource:
    """One served resource. `storage_group` names the group whose resource holds the data, when it
    is another one.

    Resources that are declared at run time are subclasses (apiserver.custom.resource)."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    verbs: tuple[str, ...] = VERBS
    storage_version: str = ""
    storage_group: str | None = None

    def __hash__(self) -> int:
        return hash((self.group, self.version, self.plural))

    @cached_property
    def gv(self) -> GroupVersion:
        return GroupVersion(self.group, self.version)

    @cached_property
    def api_version(self) -> str:
        return str(self.gv)

    @cached_property
    def singular(self) -> str:
        return self.kind.lower()

    @cached_property
    def list_kind(self) -> str:
        return self.kind + "List"

    @property
    def path_key(self) -> tuple[str, str, str]:
        return self.group, self.version, self.plural

    @cached_property
    def group_resource(self) -> str:
        """``deployments.apps``: how upstream names a resource in messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def prefix(self) -> str:
        """Storage prefix: all versions of a resource lie under one."""
        group = self.group if self.storage_group is None else self.storage_group
        return f"/{group or 'core'}/{self.plural}/"

    @cached_property
    def module(self) -> str:
        name = self.group.split(".")[0] or "core"
        return f"tiphys.api.{name}_{self.version}"

    @cached_property
    def type(self) -> Any:
        return getattr(importlib.import_module(self.module), self.kind)

    @cached_property
    def stored(self) -> bool:
        return "watch" in self.verbs  # what is only looked at, or only asked, is not written down

    @cached_property
    def is_storage_version(self) -> bool:
        same_group = self.storage_group in (None, self.group)
        return same_group and self.storage_version in ("", self.version)

    @cached_property
    def stored_version(self) -> str:
        """The version that objects are written in."""
        return self.storage_version or self.version

    # What resources that are declared at run time answer otherwise (apiserver.custom.resource).

    built_in = True
    """Whether its type is compiled in. Such resources have protobuf and strategic merge patches,
    and their paths are known to the router: it answers 404 and 405 in other words."""

    @property
    def prepared(self) -> bool:
        """Whether requests can be answered at once; else `prepare` must be called first."""
        return True

    def prepare(self) -> None:
        """Makes what requests for this resource will need. Any thread may do it."""

    @property
    def terminating(self) -> bool:
        """Whether its definition is being deleted: nothing new is created."""
        return False

    @cached_property
    def deprecation(self) -> str:
        """The warning for requests of this version, beside what its slice says."""
        return ""

    @property
    def schema(self) -> Any:
        """The compiled schema (machinery.structural) that objects are checked against, or None."""
        return None

    @property
    def webhook(self) -> Any:
        """What converts between versions, or None: they differ in nothing that the server does
        not know."""
        return None

    @property
    def kept_by_status(self) -> tuple[str, ...]:
        """Top-level fields that the status path leaves as they are, as in managed fields."""
        return ("f:spec",)

    @property
    def definition_version(self) -> tuple[str, str]:
        """UID and resourceVersion of its definition, by which rows of one name differ. Empty for
        what is compiled in."""
        return ("", "")

    @property
    def declared_columns(self) -> Sequence[Any] | None:
        """The printer columns of its definition; None if its slice has them."""
        return None

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)

    def key(self, namespace: str, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.namespaced else f"{self.prefix}{name}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        parts = [self.gv.path]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


STATUS = Subresource("status")
SCALE = Subresource("scale", kind="Scale", group="autoscaling", version="v1")
_ALL = ("all",)
_EXT = ("api-extensions",)


def _connect(name: str, kind: str, verbs: tuple[str, ...] = ("create", "get")) -> Subresource:
    return Subresource(name, verbs, kind)


_PROXY_VERBS = ("create", "delete", "get", "patch", "update")


def _group(group: str, version: str, *rows: Any) -> list[Resource]:
    return [Resource(group, version, *args, **kwargs) for args, kwargs in rows]


def _r(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


CLUSTER = {"namespaced": False}

RESOURCES: tuple[Resource, ...] = (
    *_group(
        "",
        "v1",
        _r("bindings", "Binding", verbs=CREATE_ONLY),
        _r("componentstatuses", "ComponentStatus", False, ("cs",), verbs=READ_ONLY),
        _r("configmaps", "ConfigMap", True, ("cm",)),
        _r("endpoints", "Endpoints", True, ("ep",)),
        _r("events", "Event", True, ("ev",)),
        _r("limitranges", "LimitRange", True, ("limits",)),
        _r(
            "namespaces",
            "Namespace",
            False,
            ("ns",),
            (),
            (STATUS, Subresource("finalize", ("update",))),
            tuple(v for v in VERBS if v != "deletecollection"),
        ),
        _r(
            "nodes",
            "Node",
            False,
            ("no",),
            (),
            (STATUS, _connect("proxy", "NodeProxyOptions", _PROXY_VERBS)),
        ),
        _r("persistentvolumeclaims", "PersistentVolumeClaim", True, ("pvc",), (), (STATUS,)),
        _r("persistentvolumes", "PersistentVolume", False, ("pv",), (), (STATUS,)),
        _r(
            "pods",
            "Pod",
            True,
            ("po",),
            _ALL,
            (
                STATUS,
                _connect("attach", "PodAttachOptions"),
                Subresource("binding", ("create",), "Binding"),
                Subresource("ephemeralcontainers"),
                Subresource("eviction", ("create",), "Eviction", "policy", "v1"),
                _connect("exec", "PodExecOptions"),
                Subresource("log", ("get",)),
                _connect("portforward", "PodPortForwardOptions"),
                _connect("proxy", "PodProxyOptions", _PROXY_VERBS),
                Subresource("resize"),
            ),
        ),
        _r("podtemplates", "PodTemplate"),
        _r("replicationcontrollers", "ReplicationController", True, ("rc",), _ALL, (SCALE, STATUS)),
        _r("resourcequotas", "ResourceQuota", True, ("quota",), (), (STATUS,)),
        _r("secrets", "Secret"),
        _r(
            "serviceaccounts",
            "ServiceAccount",
            True,
            ("sa",),
            (),
            (Subresource("token", ("create",), "TokenRequest", "authentication.k8s.io", "v1"),),
        ),
        _r(
            "services",
            "Service",
            True,
            ("svc",),
            _ALL,
            (STATUS, _connect("proxy", "ServiceProxyOptions", _PROXY_VERBS)),
        ),
    ),
    *_group(
        "admissionregistration.k8s.io",
        "v1",
        _r("mutatingadmissionpolicies", "MutatingAdmissionPolicy", False, (), _EXT),
        _r("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", False, (), _EXT),
        _r("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False, (), _EXT),
        _r("validatingadmissionpolicies", "ValidatingAdmissionPolicy", False, (), _EXT, (STATUS,)),
        _r(
            "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False, (), _EXT
        ),
        _r("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False, (), _EXT),
    ),
    *_group(
        "apiextensions.k8s.io",
        "v1",
        _r(
            "customresourcedefinitions",
            "CustomResourceDefinition",
            False,
            ("crd", "crds"),
            _EXT,
            (STATUS,),
        ),
    ),
    *_group(
        "apiregistration.k8s.io",
        "v1",
        _r("apiservices", "APIService", False, (), _EXT, (STATUS,)),
    ),
    *_group(
        "apps",
        "v1",
        _r("controllerrevisions", "ControllerRevision"),
        _r("daemonsets", "DaemonSet", True, ("ds",), _ALL, (STATUS,)),
        _r("deployments", "Deployment", True, ("deploy",), _ALL, (SCALE, STATUS)),
        _r("replicasets", "ReplicaSet", True, ("rs",), _ALL, (SCALE, STATUS)),
        _r("statefulsets", "StatefulSet", True, ("sts",), _ALL, (SCALE, STATUS)),
    ),
    *_group(
        "authentication.k8s.io",
        "v1",
        _r("selfsubjectreviews", "SelfSubjectReview", False, verbs=CREATE_ONLY),
        _r("tokenreviews", "TokenReview", False, verbs=CREATE_ONLY),
    ),
    *_group(
        "authorization.k8s.io",
        "v1",
        _r("localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=CREATE_ONLY),
        _r("selfsubjectaccessreviews", "SelfSubjectAccessReview", False, verbs=CREATE_ONLY),
        _r("selfsubjectrulesreviews", "SelfSubjectRulesReview", False, verbs=CREATE_ONLY),
        _r("subjectaccessreviews", "SubjectAccessReview", False, verbs=CREATE_ONLY),
    ),
    *_group(
        "autoscaling",
        "v2",
        _r("horizontalpodautoscalers", "HorizontalPodAutoscaler", True, ("hpa",), _ALL, (STATUS,)),
    ),
    *_group(
        "autoscaling",
        "v1",
        _r(
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            True,
            ("hpa",),
            _ALL,
            (STATUS,),
            storage_version="v2",
        ),
    ),
    *_group(
        "batch",
        "v1",
        _r("cronjobs", "CronJob", True, ("cj",), _ALL, (STATUS,)),
        _r("jobs", "Job", True, (), _ALL, (STATUS,)),
    ),
    *_group(
        "certificates.k8s.io",
        "v1",
        _r(
            "certificatesigningrequests",
            "CertificateSigningRequest",
            False,
            ("csr",),
            (),
            (Subresource("approval"), STATUS),
        ),
    ),
    *_group("coordination.k8s.io", "v1", _r("leases", "Lease")),
    *_group("discovery.k8s.io", "v1", _r("endpointslices", "EndpointSlice")),
    *_group(
        "events.k8s.io",
        "v1",
        _r("events", "Event", True, ("ev",), storage_group="", storage_version="v1"),
    ),
    *_group(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        _r("flowschemas", "FlowSchema", False, (), (), (STATUS,)),
        _r("prioritylevelconfigurations", "PriorityLevelConfiguration", False, (), (), (STATUS,)),
    ),
    *_group(
        "metrics.k8s.io",
        "v1beta1",
        _r("nodes", "NodeMetrics", False, verbs=READ_ONLY),
        _r("pods", "PodMetrics", verbs=READ_ONLY),
    ),
    *_group(
        "networking.k8s.io",
        "v1",
        _r("ingressclasses", "IngressClass", False),
        _r("ingresses", "Ingress", True, ("ing",), (), (STATUS,)),
        _r("ipaddresses", "IPAddress", False, ("ip",)),
        _r("networkpolicies", "NetworkPolicy", True, ("netpol",)),
        _r("servicecidrs", "ServiceCIDR", False, (), (), (STATUS,)),
    ),
    *_group("node.k8s.io", "v1", _r("runtimeclasses", "RuntimeClass", False)),
    *_group(
        "policy",
        "v1",
        _r("poddisruptionbudgets", "PodDisruptionBudget", True, ("pdb",), (), (STATUS,)),
    ),
    *_group(
        "rbac.authorization.k8s.io",
        "v1",
        _r("clusterrolebindings", "ClusterRoleBinding", False),
        _r("clusterroles", "ClusterRole", False),
        _r("rolebindings", "RoleBinding"),
        _r("roles", "Role"),
    ),
    *_group(
        "resource.k8s.io",
        "v1",
        _r("deviceclasses", "DeviceClass", False),
        _r("resourceclaims", "ResourceClaim", True, (), (), (STATUS,)),
        _r("resourceclaimtemplates", "ResourceClaimTemplate"),
        _r("resourceslices", "ResourceSlice", False),
    ),
    *_group("scheduling.k8s.io", "v1", _r("priorityclasses", "PriorityClass", False, ("pc",))),
    *_group(
        "storage.k8s.io",
        "v1",
        _r("csidrivers", "CSIDriver", False),
        _r("csinodes", "CSINode", False),
        _r("csistoragecapacities", "CSIStorageCapacity"),
        _r("storageclasses", "StorageClass", False, ("sc",)),
        _r("volumeattachments", "VolumeAttachment", False, (), (), (STATUS,)),
        _r("volumeattributesclasses", "VolumeAttributesClass", False, ("vac",)),
    ),
)

BY_PATH: dict[tuple[str, str, str], Resource] = {
    (r.group, r.version, r.plural): r for r in RESOURCES
}
BY_KIND: dict[tuple[str, str], Resource] = {(r.api_version, r.kind): r for r in RESOURCES}


def storage_resources() -> Iterator[Resource]:
    """Every stored resource once, in the version that is written down."""
    return (r for r in RESOURCES if r.stored and r.is_storage_version)


def storage_of(resource: Resource) -> Resource:
    """The row whose version holds the data of `resource`."""
    if resource.is_storage_version:
        return resource
    group = resource.group if resource.storage_group is None else resource.storage_group
    return BY_PATH[group, resource.storage_version, resource.plural]


BY_TYPE: dict[tuple[str, str], Resource] = {(r.module, r.kind): r for r in RESOURCES}


def resource_of(kind: type | Any) -> Resource:
    """The row of an API type, or what a custom resource declares of itself. Raises LookupError."""
    declared = getattr(kind, "resource", None)
    if isinstance(declared, Resource):
        return declared
    found = BY_TYPE.get((kind.__module__, kind.__name__))
    if found is None:
        raise LookupError(f"{kind!r} is not a resource of the catalogue")
    return found
