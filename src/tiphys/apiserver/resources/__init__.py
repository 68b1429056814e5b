"""Which strategy each resource has: the one list. A resource that is not named keeps the default."""

from __future__ import annotations

from tiphys.api.catalog import Resource
from tiphys.apiserver.registry.served import NAMES
from tiphys.apiserver.resources import (
    admission,
    autoscaling,
    certificates,
    core,
    devices,
    deviceslices,
    flowcontrol,
    jobs,
    network,
    pods,
    services,
    storage,
    workloads,
)
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.definitions import DefinitionStrategy
from tiphys.store.cache import Selectable

_DEFAULT = Strategy()
_RBAC = core.RBACStrategy()

STRATEGIES: dict[str, Strategy] = {
    "configmaps": core.ConfigMapStrategy(),
    "endpoints": network.EndpointsStrategy(),
    "events": core.EventStrategy(),
    "events.events.k8s.io": core.ToldEventStrategy(),  # more rules than the version that is stored
    "limitranges": core.LimitRangeStrategy(),
    "resourcequotas": core.ResourceQuotaStrategy(),
    "namespaces": core.NamespaceStrategy(),
    "nodes": core.NodeStrategy(),
    "persistentvolumeclaims": storage.ClaimStrategy(),
    "persistentvolumes": storage.VolumeStrategy(),
    "pods": pods.PodStrategy(),
    "podtemplates": pods.PodTemplateStrategy(),
    "replicationcontrollers": workloads.ReplicationControllerStrategy(),
    "secrets": core.SecretStrategy(),
    "serviceaccounts": core.ServiceAccountStrategy(),
    "services": services.ServiceStrategy(),
    "daemonsets.apps": workloads.DaemonSetStrategy(),
    "deployments.apps": workloads.DeploymentStrategy(),
    "replicasets.apps": workloads.ReplicaSetStrategy(),
    "statefulsets.apps": workloads.StatefulSetStrategy(),
    "horizontalpodautoscalers.autoscaling": autoscaling.AutoscalerStrategy(),
    "cronjobs.batch": jobs.CronJobStrategy(),
    "jobs.batch": jobs.JobStrategy(),
    "certificatesigningrequests.certificates.k8s.io": certificates.CSRStrategy(),
    "leases.coordination.k8s.io": core.LeaseStrategy(),
    "endpointslices.discovery.k8s.io": network.EndpointSliceStrategy(),
    "ingresses.networking.k8s.io": network.IngressStrategy(),
    "ipaddresses.networking.k8s.io": network.IPAddressStrategy(),
    "networkpolicies.networking.k8s.io": network.NetworkPolicyStrategy(),
    "poddisruptionbudgets.policy": workloads.PodDisruptionBudgetStrategy(),
    "clusterrolebindings.rbac.authorization.k8s.io": _RBAC,
    "clusterroles.rbac.authorization.k8s.io": _RBAC,
    "rolebindings.rbac.authorization.k8s.io": _RBAC,
    "roles.rbac.authorization.k8s.io": _RBAC,
    "priorityclasses.scheduling.k8s.io": core.PriorityClassStrategy(),
    "runtimeclasses.node.k8s.io": pods.RuntimeClassStrategy(),
    "deviceclasses.resource.k8s.io": deviceslices.DeviceClassStrategy(),
    "resourceclaims.resource.k8s.io": devices.ResourceClaimStrategy(),
    "resourceclaimtemplates.resource.k8s.io": devices.ResourceClaimTemplateStrategy(),
    "resourceslices.resource.k8s.io": deviceslices.ResourceSliceStrategy(),
    "storageclasses.storage.k8s.io": storage.StorageClassStrategy(),
    "volumeattachments.storage.k8s.io": storage.AttachmentStrategy(),
    "apiservices.apiregistration.k8s.io": core.APIServiceStrategy(),
    "customresourcedefinitions.apiextensions.k8s.io": DefinitionStrategy(),
    "ingressclasses.networking.k8s.io": network.IngressClassStrategy(),
    "servicecidrs.networking.k8s.io": network.ServiceCIDRStrategy(),
    "mutatingadmissionpolicies.admissionregistration.k8s.io": admission.PolicyStrategy(),
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": admission.PolicyBindingStrategy(),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": admission.WebhookStrategy(),
    "validatingadmissionpolicies.admissionregistration.k8s.io": admission.PolicyStrategy(),
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": admission.PolicyBindingStrategy(),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": admission.WebhookStrategy(),
    "flowschemas.flowcontrol.apiserver.k8s.io": flowcontrol.FlowSchemaStrategy(),
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": flowcontrol.PriorityLevelStrategy(),
    "controllerrevisions.apps": workloads.RevisionStrategy(),
    "csidrivers.storage.k8s.io": storage.DriverStrategy(),
    "csinodes.storage.k8s.io": storage.DriverNodeStrategy(),
    "csistoragecapacities.storage.k8s.io": storage.CapacityStrategy(),
    "volumeattributesclasses.storage.k8s.io": storage.AttributesClassStrategy(),
}


def strategy_of(resource: Resource) -> Strategy:
    own: Strategy | None = getattr(resource, "strategy", None)  # a custom resource brings its own
    return own or STRATEGIES.get(resource.group_resource, _DEFAULT)


def selectable_fields(prefix: str) -> tuple[Selectable, ...]:
    """What field selectors may name for the resource stored under `prefix` (``/group/plural/``)."""
    _, group, plural, _ = prefix.split("/")
    strategy = STRATEGIES.get(plural if group == "core" else f"{plural}.{group}")
    return (*NAMES, *(strategy.fields if strategy else ()))
