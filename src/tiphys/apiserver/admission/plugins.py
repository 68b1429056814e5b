"""The built-in admission plugins, in upstream's order, and the list that wires them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.admission import Admission, Attributes, Base, Plugin
from tiphys.apiserver.admission.certificates import Certificates
from tiphys.apiserver.admission.classes import (
    DefaultIngressClass,
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    RuntimeClass,
    StorageObjectInUseProtection,
)
from tiphys.apiserver.admission.owners import OwnerReferencesPermissionEnforcement
from tiphys.apiserver.admission.podsecurity import PodSecurity
from tiphys.apiserver.admission.policies import MutatingPolicies, ValidatingPolicies
from tiphys.apiserver.admission.quota import ResourceQuotas
from tiphys.apiserver.admission.rbac import RBACEscalation
from tiphys.apiserver.admission.webhooks import MutatingWebhooks, ValidatingWebhooks
from tiphys.apiserver.authorization import Authorizer
from tiphys.apiserver.webhooks import WebhookCaller
from tiphys.machinery import errors, names, quantity
from tiphys.store.cache import Filter

IMMORTAL = frozenset(("default", "kube-system", "kube-public"))
_LIMITS = BY_PATH["", "v1", "limitranges"]
_CLASSES = BY_PATH["scheduling.k8s.io", "v1", "priorityclasses"]
_IMPLIED = frozenset(("CertificateSigning", "CertificateSubjectRestriction"))  # parts of CertificateApproval here
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


class NamespaceLifecycle(Base):
    """Nothing is created in a namespace that is missing or going away; the system's namespaces stay."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or not a.resource.namespaced or not a.namespace:
            return
        namespace = self._registry().lookup("namespaces", "", a.namespace)
        if namespace is None:
            raise errors.not_found("namespaces", a.namespace)
        if namespace.metadata.deletion_timestamp and a.resource.plural not in ("localsubjectaccessreviews",):
            why = f"unable to create new content in namespace {a.namespace} because it is being terminated"
            error = errors.forbidden(a.resource.group_resource, a.name, why)
            cause = core_v1_cause(
                "NamespaceTerminating", f"namespace {a.namespace} is being terminated", "metadata.namespace"
            )
            error.status.details.causes.append(cause)  # type: ignore[union-attr]
            raise error

    async def validate(self, a: Attributes) -> None:
        if a.operation == "DELETE" and a.resource.plural == "namespaces" and a.name in IMMORTAL:
            raise errors.forbidden("namespaces", a.name, "this namespace may not be deleted")


def core_v1_cause(reason: str, message: str, field: str) -> Any:
    from tiphys.api.meta_v1 import StatusCause

    return StatusCause(reason=reason, message=message, field=field)


class TaintNodesByCondition(Base):
    """A node that registers is not ready yet: nothing lands on it before it says it is."""

    resources = frozenset(("nodes",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation == "CREATE" and not a.subresource:
            key = "node.kubernetes.io/not-ready"
            if not any(t.key == key and t.effect == "NoSchedule" for t in a.obj.spec.taints):
                a.obj.spec.taints.append(core_v1.Taint(key=key, effect="NoSchedule"))


class LimitRanger(Base):
    """Defaults and bounds of a namespace's LimitRanges."""

    resources = frozenset(("pods", "persistentvolumeclaims"))

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def _limits(self, namespace: str, kind: str) -> list[core_v1.LimitRangeItem]:
        cache = self._registry().cache(_LIMITS)
        if not len(cache):
            return []
        entries = cache.select(Filter(f"{_LIMITS.prefix}{namespace}/"))
        return [i for e in entries for i in decode(e.data, core_v1.LimitRange).spec.limits if i.type == kind]

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource or a.resource.plural != "pods":
            return
        for item in self._limits(a.namespace, "Container"):
            for container in a.obj.spec.containers + a.obj.spec.init_containers:
                for name, value in item.default.items():
                    container.resources.limits.setdefault(name, value)
                for name, value in item.default_request.items():
                    container.resources.requests.setdefault(name, value)

    async def validate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource:
            return
        problems: list[str] = []
        if a.resource.plural == "pods":
            for item in self._limits(a.namespace, "Container"):
                for container in a.obj.spec.containers + a.obj.spec.init_containers:
                    problems += _bounds(item, "Container", container.resources.requests, container.resources.limits)
            for item in self._limits(a.namespace, "Pod"):
                requests = quantity.total(c.resources.requests for c in a.obj.spec.containers)
                limits = quantity.total(c.resources.limits for c in a.obj.spec.containers)
                problems += _bounds(item, "Pod", requests, limits)
        else:
            for item in self._limits(a.namespace, "PersistentVolumeClaim"):
                problems += _bounds(item, "PersistentVolumeClaim", a.obj.spec.resources.requests, {})
        if problems:
            why = problems[0] if len(problems) == 1 else "[" + ", ".join(problems) + "]"
            raise errors.forbidden(a.resource.group_resource, a.name, why)


def _bounds(item: core_v1.LimitRangeItem, kind: str, requests: dict[str, Any], limits: dict[str, Any]) -> list[str]:
    problems, nano = [], quantity.nano
    for name, bound in item.min.items():
        request = requests.get(name) or limits.get(name)
        if request is None:
            problems.append(f"minimum {name} usage per {kind} is {bound}.  No request is specified")
        elif nano(request) < nano(bound):
            problems.append(f"minimum {name} usage per {kind} is {bound}, but request is {request}")
    for name, bound in item.max.items():
        limit = limits.get(name) or (requests.get(name) if kind == "PersistentVolumeClaim" else None)
        if limit is None:
            problems.append(f"maximum {name} usage per {kind} is {bound}.  No limit is specified")
        elif nano(limit) > nano(bound):
            problems.append(f"maximum {name} usage per {kind} is {bound}, but limit is {limit}")
    for name, ratio in item.max_limit_request_ratio.items():
        if name in requests and name in limits and nano(requests[name]):
            actual = nano(limits[name]) / nano(requests[name])
            if actual > nano(ratio) / 10**9:
                problems.append(
                    f"{name} max limit to request ratio per {kind} is {ratio}, but provided ratio is {actual:f}"
                )
    return problems


class ServiceAccount(Base):
    """Pods run as a service account, with its token, CA and namespace mounted."""

    resources = frozenset(("pods",))

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource:
            return
        pod: core_v1.Pod = a.obj
        if "kubernetes.io/config.mirror" in pod.metadata.annotations:
            return
        name = pod.spec.service_account_name or "default"
        pod.spec.service_account_name = pod.spec.service_account = name
        account = self._registry().lookup("serviceaccounts", a.namespace, name)
        if account is None:
            why = f'error looking up service account {a.namespace}/{name}: serviceaccount "{name}" not found'
            raise errors.forbidden("pods", pod.metadata.name, why)
        wanted = pod.spec.automount_service_account_token
        if wanted is None:
            wanted = account.automount_service_account_token
        if wanted is not False:
            _mount_token(pod)
        if not pod.spec.image_pull_secrets:
            pod.spec.image_pull_secrets = list(account.image_pull_secrets)


def _mount_token(pod: core_v1.Pod) -> None:
    volume = next((v.name for v in pod.spec.volumes if v.name.startswith("kube-api-access-") and v.projected), "")
    needing = [
        c
        for c in pod.spec.init_containers + pod.spec.containers
        if all(m.mount_path != TOKEN_PATH for m in c.volume_mounts)
    ]
    if not needing:
        return
    if not volume:
        volume = "kube-api-access-" + names.random_suffix()
        pod.spec.volumes.append(core_v1.Volume(name=volume, projected=_token_projection()))
    for container in needing:
        container.volume_mounts.append(core_v1.VolumeMount(name=volume, read_only=True, mount_path=TOKEN_PATH))


def _token_projection() -> core_v1.ProjectedVolumeSource:
    namespace = core_v1.DownwardAPIVolumeFile(
        path="namespace", field_ref=core_v1.ObjectFieldSelector(api_version="v1", field_path="metadata.namespace")
    )
    return core_v1.ProjectedVolumeSource(
        default_mode=0o644,
        sources=[
            core_v1.VolumeProjection(
                service_account_token=core_v1.ServiceAccountTokenProjection(expiration_seconds=3607, path="token")
            ),
            core_v1.VolumeProjection(
                config_map=core_v1.ConfigMapProjection(
                    name="kube-root-ca.crt", items=[core_v1.KeyToPath(key="ca.crt", path="ca.crt")]
                )
            ),
            core_v1.VolumeProjection(downward_api=core_v1.DownwardAPIProjection(items=[namespace])),
        ],
    )


class NodeRestriction(Base):
    """A node's identity may change its own Node, Lease and the pods bound to it, nothing of its neighbours'."""

    resources = frozenset(("nodes", "pods", "leases.coordination.k8s.io"))

    async def validate(self, a: Attributes) -> None:
        if "system:nodes" not in a.user.groups or not a.user.name.startswith("system:node:"):
            return
        if a.operation == "CONNECT":
            return
        node = a.user.name[len("system:node:") :]
        if a.resource.plural == "nodes" and a.name != node:
            raise errors.forbidden("nodes", a.name, f'node "{node}" is not allowed to modify node "{a.name}"')
        if a.resource.plural == "leases" and (a.namespace != "kube-node-lease" or a.name != node):
            why = "can only access node lease with the same name as the requesting node"
            raise errors.forbidden(a.resource.group_resource, a.name, why)
        if a.resource.plural == "pods":
            self._pod(a, node)

    @staticmethod
    def _pod(a: Attributes, node: str) -> None:
        pod = a.old or a.obj
        if a.operation == "CREATE" and "kubernetes.io/config.mirror" not in pod.metadata.annotations:
            why = (
                f'pod does not have "kubernetes.io/config.mirror" annotation, node "{node}" can only create mirror pods'
            )
            raise errors.forbidden("pods", a.name, why)
        if pod.spec.node_name != node:
            raise errors.forbidden(
                "pods", a.name, f'node "{node}" can only {_DOES[a.operation]} pods with spec.nodeName set to itself'
            )


_DOES = {"CREATE": "create", "UPDATE": "update", "DELETE": "delete"}


class Priority(Base):
    """The number behind a pod's priority class."""

    resources = frozenset(("pods", "priorityclasses.scheduling.k8s.io"))

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource or a.resource.plural != "pods":
            return
        spec: core_v1.PodSpec = a.obj.spec
        chosen = None
        if spec.priority_class_name:
            chosen = self._registry().lookup("priorityclasses", "", spec.priority_class_name, "scheduling.k8s.io")
            if chosen is None:
                why = f"no PriorityClass with name {spec.priority_class_name} was found"
                raise errors.forbidden("pods", a.name, why)
        else:
            chosen = self._default()
            spec.priority_class_name = chosen.metadata.name if chosen else ""
        value = chosen.value if chosen else 0
        if spec.priority is not None and spec.priority != value:
            why = "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name"
            raise errors.forbidden("pods", a.name, why.format(spec.priority, value))
        spec.priority = value
        policy = (chosen.preemption_policy if chosen else None) or "PreemptLowerPriority"
        if spec.preemption_policy is not None and spec.preemption_policy != policy:
            why = "the string value of PreemptionPolicy ({}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name"
            raise errors.forbidden("pods", a.name, why.format(spec.preemption_policy, policy))
        spec.preemption_policy = policy

    def _default(self) -> Any | None:
        cache = self._registry().cache(_CLASSES)
        if getattr(self, "_seen", -1) != cache.revision:
            classes = [decode(entry.data, _CLASSES.type) for entry in cache]
            defaults = [c for c in classes if c.global_default]
            self._found = min(defaults, key=lambda c: c.value) if defaults else None
            self._seen = cache.revision
        return self._found


class DefaultTolerationSeconds(Base):
    """A pod stays five minutes on a node that is not ready or out of reach, unless it says otherwise."""

    resources = frozenset(("pods",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource:
            return
        tolerations = a.obj.spec.tolerations
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
            if tolerations and any(t.key in (key, "") and t.effect in ("NoExecute", "") for t in tolerations):
                continue
            tolerations.append(
                core_v1.Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=300)
            )


OPTIONAL = frozenset(("OwnerReferencesPermissionEnforcement",))
"""Plugins that are off until they are asked for, as upstream has it."""


def admission_chain(
    registry: Callable[[], Any], authorizer: Callable[[], Authorizer], caller: Callable[[], WebhookCaller],
    enable: Collection[str] = (), disable: Collection[str] = (),
) -> Admission:  # fmt: skip
    """The plugins by upstream's names and in its order. What they need is asked for when they need it: it is made after
    them. Raises ValueError for a name in `enable` or `disable` that is none."""
    plugins: dict[str, Plugin] = {
        "NamespaceLifecycle": NamespaceLifecycle(registry),
        "TaintNodesByCondition": TaintNodesByCondition(),
        "LimitRanger": LimitRanger(registry),
        "ServiceAccount": ServiceAccount(registry),
        "NodeRestriction": NodeRestriction(),
        "PodSecurity": PodSecurity(registry),
        "Priority": Priority(registry),
        "DefaultTolerationSeconds": DefaultTolerationSeconds(),
        "DefaultStorageClass": DefaultStorageClass(registry),
        "RuntimeClass": RuntimeClass(registry),
        "DefaultIngressClass": DefaultIngressClass(registry),
        "PersistentVolumeClaimResize": PersistentVolumeClaimResize(registry),
        "StorageObjectInUseProtection": StorageObjectInUseProtection(),
        "OwnerReferencesPermissionEnforcement": OwnerReferencesPermissionEnforcement(registry, authorizer),
        "CertificateApproval": Certificates(authorizer),
        "RBACEscalation": RBACEscalation(authorizer),
        "MutatingAdmissionPolicy": MutatingPolicies(registry, authorizer),
        "MutatingAdmissionWebhook": MutatingWebhooks(registry, authorizer, caller),
        "ValidatingAdmissionPolicy": ValidatingPolicies(registry, authorizer),
        "ValidatingAdmissionWebhook": ValidatingWebhooks(registry, authorizer, caller),
        "ResourceQuota": ResourceQuotas(registry),  # last: it takes what nobody else refused
    }
    unknown = sorted({*enable, *disable} - set(plugins) - _IMPLIED)
    if unknown:
        raise ValueError(f"unknown admission plugins: {', '.join(unknown)}; there are {', '.join(sorted(plugins))}")
    off = (set(disable) | OPTIONAL) - set(enable)
    off -= {"RBACEscalation"}  # no plugin upstream: its storage does this, always
    return Admission([plugin for name, plugin in plugins.items() if name not in off])
