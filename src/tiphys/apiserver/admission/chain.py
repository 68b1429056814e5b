"""The admission plugins, in upstream's order: the one list."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Admission, Plugin
from tiphys.apiserver.admission.certificates import Certificates
from tiphys.apiserver.admission.claimstatus import ResourceClaimStatus
from tiphys.apiserver.admission.classes import (
    DefaultIngressClass,
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    RuntimeClass,
    StorageObjectInUseProtection,
)
from tiphys.apiserver.admission.configuration import PodSecurityConfiguration
from tiphys.apiserver.admission.limits import LimitRanger
from tiphys.apiserver.admission.mutatingpolicies import MutatingPolicies
from tiphys.apiserver.admission.namespaces import NamespaceLifecycle
from tiphys.apiserver.admission.noderestriction import NodeRestriction
from tiphys.apiserver.admission.nodetaints import TaintNodesByCondition
from tiphys.apiserver.admission.owners import OwnerReferencesPermissionEnforcement
from tiphys.apiserver.admission.parameters import PolicyParameters
from tiphys.apiserver.admission.podsecurity import PodSecurity
from tiphys.apiserver.admission.priority import Priority
from tiphys.apiserver.admission.quota import ResourceQuotas
from tiphys.apiserver.admission.rbac import RBACEscalation
from tiphys.apiserver.admission.serviceaccounts import ServiceAccount
from tiphys.apiserver.admission.tolerations import DefaultTolerationSeconds
from tiphys.apiserver.admission.topology import PodTopologyLabels
from tiphys.apiserver.admission.validatingpolicies import ValidatingPolicies
from tiphys.apiserver.admission.webhooks import MutatingWebhooks, ValidatingWebhooks
from tiphys.apiserver.proxying.webhooks import WebhookCaller

_IMPLIED = frozenset(("CertificateSigning", "CertificateSubjectRestriction"))
"""Upstream's plugins that are parts of CertificateApproval here."""
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
    """The plugins by upstream's names and in its order. What they need is asked for when they need
    it: it is made after them. Raises ValueError for a name in `enable` or `disable` that is
    none."""
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
        "ResourceClaimStatus": ResourceClaimStatus(authorizer),
        "RBACEscalation": RBACEscalation(authorizer),
        "PolicyParameters": PolicyParameters(registry, authorizer),
        "MutatingAdmissionPolicy": MutatingPolicies(registry, authorizer),
        "MutatingAdmissionWebhook": MutatingWebhooks(registry, authorizer, caller),
        "ValidatingAdmissionPolicy": ValidatingPolicies(registry, authorizer),
        "ValidatingAdmissionWebhook": ValidatingWebhooks(registry, authorizer, caller),
        "ResourceQuota": ResourceQuotas(registry),  # last: it charges what no other plugin refused
    }
    unknown = sorted({*enable, *disable} - set(plugins) - _IMPLIED)
    if unknown:
        raise ValueError(
            f"unknown admission plugins: {', '.join(unknown)}; there are "
            f"{', '.join(sorted(plugins))}"
        )
    off = (set(disable) | OPTIONAL) - set(enable)
    off -= {
        "ResourceClaimStatus",
        "RBACEscalation",
        "PolicyParameters",
    }  # no plugins upstream: its storage does this, always
    names = {id(plugin): name for name, plugin in plugins.items()}
    return Admission([plugin for name, plugin in plugins.items() if name not in off], names)
