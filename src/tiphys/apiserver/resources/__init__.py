"""The rules of each resource: one slice for each, a file or folder named after it.

A slice is a `base.Strategy`: defaults, rules, warnings, columns, the paths below its objects, what
a deletion answers. The generic registry and `http/` ask it, and know no resource by name. `SLICES`
is the one list of them. A resource that is not named has nothing of its own: it keeps what
`Strategy` does by default.

Slices do not import each other (an import contract). What several of them need is in modules that
are named after what it is:

- `base`, `actions`, `subresources`, `scaleviews`, `lookups`, `columns`: what a slice may declare,
  and what it may ask;
- `checks`, `immutability`, `endpointaddresses`, `userinfo`, `webhookclients`: rules of single
  values and small parts;
- `podspec/`, `workloads`, `jobspec`: pods, as templates of them have them, and who has such
  templates;
- `storage`, `devices`, `claimspec`, `admissionrules`: what resources of one group share.

This room imports `access`, `eventloop`, `http.request` and `registry.metadata`; not the registry,
which calls it.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.catalog import Resource
from tiphys.apiserver.registry.served import NAMES
from tiphys.apiserver.resources.accessreviews import (
    LocalSubjectAccessReviewStrategy,
    SelfSubjectAccessReviewStrategy,
    SubjectAccessReviewStrategy,
)
from tiphys.apiserver.resources.admissionpolicies import (
    MutatingAdmissionPolicyStrategy,
    ValidatingAdmissionPolicyStrategy,
)
from tiphys.apiserver.resources.admissionpolicybindings import (
    MutatingAdmissionPolicyBindingStrategy,
    ValidatingAdmissionPolicyBindingStrategy,
)
from tiphys.apiserver.resources.apiservices import APIServiceStrategy
from tiphys.apiserver.resources.base import Settings, Strategy
from tiphys.apiserver.resources.certificatesigningrequests import CertificateSigningRequestStrategy
from tiphys.apiserver.resources.componentstatuses import ComponentStatusStrategy
from tiphys.apiserver.resources.configmaps import ConfigMapStrategy
from tiphys.apiserver.resources.controllerrevisions import ControllerRevisionStrategy
from tiphys.apiserver.resources.cronjobs import CronJobStrategy
from tiphys.apiserver.resources.csidrivers import CSIDriverStrategy
from tiphys.apiserver.resources.csinodes import CSINodeStrategy
from tiphys.apiserver.resources.csistoragecapacities import CSIStorageCapacityStrategy
from tiphys.apiserver.resources.customresourcedefinitions.strategy import (
    CustomResourceDefinitionStrategy,
)
from tiphys.apiserver.resources.daemonsets import DaemonSetStrategy
from tiphys.apiserver.resources.deployments import DeploymentStrategy
from tiphys.apiserver.resources.deviceclasses import DeviceClassStrategy
from tiphys.apiserver.resources.endpoints import EndpointsStrategy
from tiphys.apiserver.resources.endpointslices import EndpointSliceStrategy
from tiphys.apiserver.resources.events import EventStrategy, EventsV1Strategy
from tiphys.apiserver.resources.flowschemas import FlowSchemaStrategy
from tiphys.apiserver.resources.horizontalpodautoscalers import HorizontalPodAutoscalerStrategy
from tiphys.apiserver.resources.ingressclasses import IngressClassStrategy
from tiphys.apiserver.resources.ingresses import IngressStrategy
from tiphys.apiserver.resources.ipaddresses import IPAddressStrategy
from tiphys.apiserver.resources.jobs import JobStrategy
from tiphys.apiserver.resources.leases import LeaseStrategy
from tiphys.apiserver.resources.limitranges import LimitRangeStrategy
from tiphys.apiserver.resources.namespaces import NamespaceStrategy
from tiphys.apiserver.resources.networkpolicies import NetworkPolicyStrategy
from tiphys.apiserver.resources.nodes import NodeStrategy
from tiphys.apiserver.resources.persistentvolumeclaims import PersistentVolumeClaimStrategy
from tiphys.apiserver.resources.persistentvolumes import PersistentVolumeStrategy
from tiphys.apiserver.resources.poddisruptionbudgets import PodDisruptionBudgetStrategy
from tiphys.apiserver.resources.pods.binding import BindingStrategy
from tiphys.apiserver.resources.pods.strategy import PodStrategy
from tiphys.apiserver.resources.podtemplates import PodTemplateStrategy
from tiphys.apiserver.resources.priorityclasses import PriorityClassStrategy
from tiphys.apiserver.resources.prioritylevelconfigurations import (
    PriorityLevelConfigurationStrategy,
)
from tiphys.apiserver.resources.replicasets import ReplicaSetStrategy
from tiphys.apiserver.resources.replicationcontrollers import ReplicationControllerStrategy
from tiphys.apiserver.resources.resourceclaims import ResourceClaimStrategy
from tiphys.apiserver.resources.resourceclaimtemplates import ResourceClaimTemplateStrategy
from tiphys.apiserver.resources.resourcequotas import ResourceQuotaStrategy
from tiphys.apiserver.resources.resourceslices import ResourceSliceStrategy
from tiphys.apiserver.resources.rolebindings import RoleBindingStrategy
from tiphys.apiserver.resources.roles import ClusterRoleStrategy, RoleStrategy
from tiphys.apiserver.resources.runtimeclasses import RuntimeClassStrategy
from tiphys.apiserver.resources.scales import ScaleStrategy
from tiphys.apiserver.resources.secrets import SecretStrategy
from tiphys.apiserver.resources.selfsubjectreviews import SelfSubjectReviewStrategy
from tiphys.apiserver.resources.selfsubjectrulesreviews import SelfSubjectRulesReviewStrategy
from tiphys.apiserver.resources.serviceaccounts.strategy import ServiceAccountStrategy
from tiphys.apiserver.resources.servicecidrs import ServiceCIDRStrategy
from tiphys.apiserver.resources.services.strategy import ServiceStrategy
from tiphys.apiserver.resources.statefulsets import StatefulSetStrategy
from tiphys.apiserver.resources.storageclasses import StorageClassStrategy
from tiphys.apiserver.resources.tokenreviews import TokenReviewStrategy
from tiphys.apiserver.resources.volumeattachments import VolumeAttachmentStrategy
from tiphys.apiserver.resources.volumeattributesclasses import VolumeAttributesClassStrategy
from tiphys.apiserver.resources.webhookconfigurations import (
    MutatingWebhookConfigurationStrategy,
    ValidatingWebhookConfigurationStrategy,
)
from tiphys.store.cache import Selectable

_ADMISSION = "admissionregistration.k8s.io"

# By group, in the order of `api/catalog.py`.
SLICES: dict[str, type[Strategy[Any]]] = {
    # the core group
    "bindings": BindingStrategy,
    "componentstatuses": ComponentStatusStrategy,
    "configmaps": ConfigMapStrategy,
    "endpoints": EndpointsStrategy,
    "events": EventStrategy,
    "limitranges": LimitRangeStrategy,
    "namespaces": NamespaceStrategy,
    "nodes": NodeStrategy,
    "persistentvolumeclaims": PersistentVolumeClaimStrategy,
    "persistentvolumes": PersistentVolumeStrategy,
    "pods": PodStrategy,
    "podtemplates": PodTemplateStrategy,
    "replicationcontrollers": ReplicationControllerStrategy,
    "resourcequotas": ResourceQuotaStrategy,
    "secrets": SecretStrategy,
    "serviceaccounts": ServiceAccountStrategy,
    "services": ServiceStrategy,
    # events in their newer form are stored as those of the core group, and obey more rules
    "events.events.k8s.io": EventsV1Strategy,
    # who a user is, and what they may do: answered, never stored
    "tokenreviews.authentication.k8s.io": TokenReviewStrategy,
    "selfsubjectreviews.authentication.k8s.io": SelfSubjectReviewStrategy,
    "localsubjectaccessreviews.authorization.k8s.io": LocalSubjectAccessReviewStrategy,
    "selfsubjectaccessreviews.authorization.k8s.io": SelfSubjectAccessReviewStrategy,
    "selfsubjectrulesreviews.authorization.k8s.io": SelfSubjectRulesReviewStrategy,
    "subjectaccessreviews.authorization.k8s.io": SubjectAccessReviewStrategy,
    # workloads
    "controllerrevisions.apps": ControllerRevisionStrategy,
    "daemonsets.apps": DaemonSetStrategy,
    "deployments.apps": DeploymentStrategy,
    "replicasets.apps": ReplicaSetStrategy,
    "statefulsets.apps": StatefulSetStrategy,
    "horizontalpodautoscalers.autoscaling": HorizontalPodAutoscalerStrategy,
    "scales.autoscaling": ScaleStrategy,  # no resource, but it has a table
    "cronjobs.batch": CronJobStrategy,
    "jobs.batch": JobStrategy,
    "poddisruptionbudgets.policy": PodDisruptionBudgetStrategy,
    # the network
    "endpointslices.discovery.k8s.io": EndpointSliceStrategy,
    "ingressclasses.networking.k8s.io": IngressClassStrategy,
    "ingresses.networking.k8s.io": IngressStrategy,
    "ipaddresses.networking.k8s.io": IPAddressStrategy,
    "networkpolicies.networking.k8s.io": NetworkPolicyStrategy,
    "servicecidrs.networking.k8s.io": ServiceCIDRStrategy,
    # nodes, scheduling and devices
    "leases.coordination.k8s.io": LeaseStrategy,
    "priorityclasses.scheduling.k8s.io": PriorityClassStrategy,
    "runtimeclasses.node.k8s.io": RuntimeClassStrategy,
    "deviceclasses.resource.k8s.io": DeviceClassStrategy,
    "resourceclaims.resource.k8s.io": ResourceClaimStrategy,
    "resourceclaimtemplates.resource.k8s.io": ResourceClaimTemplateStrategy,
    "resourceslices.resource.k8s.io": ResourceSliceStrategy,
    # storage
    "csidrivers.storage.k8s.io": CSIDriverStrategy,
    "csinodes.storage.k8s.io": CSINodeStrategy,
    "csistoragecapacities.storage.k8s.io": CSIStorageCapacityStrategy,
    "storageclasses.storage.k8s.io": StorageClassStrategy,
    "volumeattachments.storage.k8s.io": VolumeAttachmentStrategy,
    "volumeattributesclasses.storage.k8s.io": VolumeAttributesClassStrategy,
    # access and certificates
    "certificatesigningrequests.certificates.k8s.io": CertificateSigningRequestStrategy,
    "clusterrolebindings.rbac.authorization.k8s.io": RoleBindingStrategy,
    "clusterroles.rbac.authorization.k8s.io": ClusterRoleStrategy,
    "rolebindings.rbac.authorization.k8s.io": RoleBindingStrategy,
    "roles.rbac.authorization.k8s.io": RoleStrategy,
    # the API itself: what is admitted, how requests queue, what else is served
    f"mutatingadmissionpolicies.{_ADMISSION}": MutatingAdmissionPolicyStrategy,
    f"mutatingadmissionpolicybindings.{_ADMISSION}": MutatingAdmissionPolicyBindingStrategy,
    f"mutatingwebhookconfigurations.{_ADMISSION}": MutatingWebhookConfigurationStrategy,
    f"validatingadmissionpolicies.{_ADMISSION}": ValidatingAdmissionPolicyStrategy,
    f"validatingadmissionpolicybindings.{_ADMISSION}": ValidatingAdmissionPolicyBindingStrategy,
    f"validatingwebhookconfigurations.{_ADMISSION}": ValidatingWebhookConfigurationStrategy,
    "flowschemas.flowcontrol.apiserver.k8s.io": FlowSchemaStrategy,
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": PriorityLevelConfigurationStrategy,
    "apiservices.apiregistration.k8s.io": APIServiceStrategy,
    "customresourcedefinitions.apiextensions.k8s.io": CustomResourceDefinitionStrategy,
}


class Strategies:
    """The strategies of one server."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._default = Strategy[Any](self.settings)
        self._built_in = {name: kind(self.settings) for name, kind in SLICES.items()}

    def of(self, resource: Resource) -> Strategy[Any]:
        """The strategy of a resource. A custom resource brings its own."""
        own: Strategy[Any] | None = getattr(resource, "strategy", None)
        return own or self._built_in.get(resource.group_resource, self._default)


def facts_of(resource: Resource) -> type[Strategy[Any]] | Strategy[Any]:
    """The class attributes of a resource's strategy, which are the same in every server."""
    own: Strategy[Any] | None = getattr(resource, "strategy", None)
    return own or SLICES.get(resource.group_resource, Strategy)


def selectable_fields(prefix: str) -> tuple[Selectable, ...]:
    """What field selectors may name for the resource stored under `prefix` (``/group/plural/``)."""
    _, group, plural, _ = prefix.split("/")
    strategy = SLICES.get(plural if group == "core" else f"{plural}.{group}")
    return (*NAMES, *(strategy.fields if strategy else ()))
