"""The built-in admission plugins, in upstream's order, and the list that wires them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Admission, Asking, Attributes, Base, Plugin
from tiphys.apiserver.admission.certificates import Certificates
from tiphys.apiserver.admission.classes import (
    DefaultIngressClass,
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    RuntimeClass,
    StorageObjectInUseProtection,
)
from tiphys.apiserver.admission.configuration import PodSecurityConfiguration
from tiphys.apiserver.admission.limits import LimitRanger
from tiphys.apiserver.admission.noderestriction import NodeRestriction
from tiphys.apiserver.admission.owners import OwnerReferencesPermissionEnforcement
from tiphys.apiserver.admission.podsecurity import PodSecurity
from tiphys.apiserver.admission.policies import MutatingPolicies, ValidatingPolicies
from tiphys.apiserver.admission.quota import ResourceQuotas
from tiphys.apiserver.admission.rbac import RBACEscalation
from tiphys.apiserver.admission.webhooks import MutatingWebhooks, ValidatingWebhooks
from tiphys.apiserver.proxying.webhooks import WebhookCaller
from tiphys.apiserver.resources.pods.mirror import MIRROR
from tiphys.machinery import errors, names
from tiphys.machinery.podrefs import references
from tiphys.store.cache import Filter

IMMORTAL = frozenset(("default", "kube-system", "kube-public"))
_CLASSES = BY_PATH["scheduling.k8s.io", "v1", "priorityclasses"]
_IMPLIED = frozenset(
    ("CertificateSigning", "CertificateSubjectRestriction")
)  # parts of CertificateApproval here
_NODES = BY_PATH["", "v1", "nodes"]
_ACCOUNTS = BY_PATH["", "v1", "serviceaccounts"]
_TRIES, _BETWEEN = 9, (0.1, 0.2)  # upstream looks ten times, so many seconds apart
_TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


class NamespaceLifecycle(Asking):
    """Nothing is created in a namespace that is missing or going away; the system's namespaces stay."""

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or not a.resource.namespaced or not a.namespace:
            return
        namespace = self._registry().lookup("namespaces", "", a.namespace)
        if namespace is None:
            raise errors.not_found("namespaces", a.namespace)
        if namespace.metadata.deletion_timestamp and a.resource.plural not in (
            "localsubjectaccessreviews",
        ):
            why = f"unable to create new content in namespace {a.namespace} because it is being terminated"
            error = errors.forbidden(a.resource.group_resource, a.name, why)
            cause = core_v1_cause(
                "NamespaceTerminating",
                f"namespace {a.namespace} is being terminated",
                "metadata.namespace",
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


class ServiceAccount(Asking):
    """Pods run as a service account, with its token, CA and namespace mounted."""

    resources = frozenset(("pods",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource:
            return
        pod: core_v1.Pod = a.obj
        if MIRROR in pod.metadata.annotations:
            return
        name = pod.spec.service_account_name or "default"
        pod.spec.service_account_name = pod.spec.service_account = name
        account = self._registry().lookup("serviceaccounts", a.namespace, name)
        if account is None and name == "default":
            account = await self._awaited(a.namespace)
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

    async def _awaited(self, namespace: str) -> Any | None:
        """The default account of a namespace that may be so new that a controller has yet to make it."""
        registry = self._registry()
        view = Filter(_ACCOUNTS.key(namespace, "default"))
        changed = asyncio.Event()
        cache = registry.cache(_ACCOUNTS)
        watcher = cache.watch(view, registry.store.revision, changed.set)
        try:
            await asyncio.wait_for(changed.wait(), _TRIES * random.uniform(*_BETWEEN))
        except TimeoutError:
            return None
        finally:
            cache.unwatch(watcher)
        return registry.lookup("serviceaccounts", namespace, "default")

    async def validate(self, a: Attributes) -> None:
        """Nobody but the node writes a mirror pod's token or secrets into it, so it may have none."""
        if a.operation != "CREATE" or a.subresource or MIRROR not in a.obj.metadata.annotations:
            return
        why = ""
        if a.obj.spec.service_account_name:
            why = "a mirror pod may not reference service accounts"
        elif references(a.obj).get("secrets"):
            why = "a mirror pod may not reference secrets"
        elif any(_holds_token(volume) for volume in a.obj.spec.volumes):
            why = "a mirror pod may not use ServiceAccountToken volume projections"
        if why:
            raise errors.forbidden("pods", a.name or a.obj.metadata.name, why)


def _holds_token(volume: core_v1.Volume) -> bool:
    sources = volume.projected.sources if volume.projected is not None else []
    return any(source.service_account_token is not None for source in sources)


def _mount_token(pod: core_v1.Pod) -> None:
    volume = next(
        (v.name for v in pod.spec.volumes if v.name.startswith("kube-api-access-") and v.projected),
        "",
    )
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
        container.volume_mounts.append(
            core_v1.VolumeMount(name=volume, read_only=True, mount_path=TOKEN_PATH)
        )


def _token_projection() -> core_v1.ProjectedVolumeSource:
    namespace = core_v1.DownwardAPIVolumeFile(
        path="namespace",
        field_ref=core_v1.ObjectFieldSelector(api_version="v1", field_path="metadata.namespace"),
    )
    return core_v1.ProjectedVolumeSource(
        default_mode=0o644,
        sources=[
            core_v1.VolumeProjection(
                service_account_token=core_v1.ServiceAccountTokenProjection(
                    expiration_seconds=3607, path="token"
                )
            ),
            core_v1.VolumeProjection(
                config_map=core_v1.ConfigMapProjection(
                    name="kube-root-ca.crt", items=[core_v1.KeyToPath(key="ca.crt", path="ca.crt")]
                )
            ),
            core_v1.VolumeProjection(downward_api=core_v1.DownwardAPIProjection(items=[namespace])),
        ],
    )


class Priority(Asking):
    """The number behind a pod's priority class."""

    resources = frozenset(("pods", "priorityclasses.scheduling.k8s.io"))

    async def mutate(self, a: Attributes) -> None:
        if a.subresource or a.resource.plural != "pods" or a.operation not in ("CREATE", "UPDATE"):
            return
        spec: core_v1.PodSpec = a.obj.spec
        if (
            a.operation == "UPDATE"
        ):  # it is not decided again; who leaves it out keeps what there is
            before: core_v1.PodSpec = a.old.spec
            spec.priority = before.priority if spec.priority is None else spec.priority
            spec.preemption_policy = (
                before.preemption_policy
                if spec.preemption_policy is None
                else spec.preemption_policy
            )
            return
        chosen = None
        if spec.priority_class_name:
            chosen = self._registry().lookup(
                "priorityclasses", "", spec.priority_class_name, "scheduling.k8s.io"
            )
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

    async def validate(self, a: Attributes) -> None:
        """One class at most is the default."""
        if (
            a.resource.plural != "priorityclasses"
            or a.operation not in ("CREATE", "UPDATE")
            or not a.obj.global_default
        ):
            return
        standing = self._default()
        if standing is not None and (a.operation == "CREATE" or standing.metadata.name != a.name):
            why = f"PriorityClass {standing.metadata.name} is already marked as default. Only one default can exist"
            raise errors.forbidden(a.resource.group_resource, a.name, why)

    def _default(self) -> Any | None:
        cache = self._registry().cache(_CLASSES)
        if getattr(self, "_seen", -1) != cache.revision:
            classes = [decode(entry.data, _CLASSES.type) for entry in cache]
            defaults = [c for c in classes if c.global_default]
            self._found = min(defaults, key=lambda c: c.value) if defaults else None
            self._seen = cache.revision
        return self._found


class PodTopologyLabels(Asking):
    """A pod that is put on a node gets the node's zone and region as labels."""

    resources = frozenset(("pods",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource not in ("", "binding"):
            return
        name = a.obj.target.name if a.subresource else a.obj.spec.node_name
        node = self._registry().cache(_NODES).get(_NODES.key("", name)) if name else None
        if node is not None:
            a.obj.metadata.labels.update(
                {key: node.labels[key] for key in _TOPOLOGY if key in node.labels}
            )


class DefaultTolerationSeconds(Base):
    """A pod stays five minutes on a node that is not ready or out of reach, unless it says otherwise."""

    resources = frozenset(("pods",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation not in ("CREATE", "UPDATE") or a.subresource:
            return
        tolerations = a.obj.spec.tolerations
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
            if tolerations and any(
                t.key in (key, "") and t.effect in ("NoExecute", "") for t in tolerations
            ):
                continue
            tolerations.append(
                core_v1.Toleration(
                    key=key, operator="Exists", effect="NoExecute", toleration_seconds=300
                )
            )


OPTIONAL = frozenset(("OwnerReferencesPermissionEnforcement",))
"""Plugins that are off until they are asked for, as upstream has it."""


def admission_chain(
    registry: Callable[[], Any],
    authorizer: Callable[[], Authorizer],
    caller: Callable[[], WebhookCaller],
    enable: Collection[str] = (),
    disable: Collection[str] = (),
    pod_security: PodSecurityConfiguration | None = None,
) -> Admission:
    """The plugins by upstream's names and in its order. What they need is asked for when they need it: it is made after
    them. Raises ValueError for a name in `enable` or `disable` that is none."""
    plugins: dict[str, Plugin] = {
        "NamespaceLifecycle": NamespaceLifecycle(registry),
        "TaintNodesByCondition": TaintNodesByCondition(),
        "LimitRanger": LimitRanger(registry),
        "ServiceAccount": ServiceAccount(registry),
        "NodeRestriction": NodeRestriction(registry, authorizer),
        "PodSecurity": PodSecurity(registry, pod_security or PodSecurityConfiguration()),
        "Priority": Priority(registry),
        "DefaultTolerationSeconds": DefaultTolerationSeconds(),
        "PodTopologyLabels": PodTopologyLabels(registry),
        "DefaultStorageClass": DefaultStorageClass(registry),
        "RuntimeClass": RuntimeClass(registry),
        "DefaultIngressClass": DefaultIngressClass(registry),
        "PersistentVolumeClaimResize": PersistentVolumeClaimResize(registry),
        "StorageObjectInUseProtection": StorageObjectInUseProtection(),
        "OwnerReferencesPermissionEnforcement": OwnerReferencesPermissionEnforcement(
            registry, authorizer
        ),
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
        raise ValueError(
            f"unknown admission plugins: {', '.join(unknown)}; there are {', '.join(sorted(plugins))}"
        )
    off = (set(disable) | OPTIONAL) - set(enable)
    off -= {"RBACEscalation"}  # no plugin upstream: its storage does this, always
    return Admission([plugin for name, plugin in plugins.items() if name not in off])
