"""The one ordered list of controllers. A new one is a file beside this one and a line here.

They are independent of each other; the order is that in which they ask for informers.
"""

from __future__ import annotations

from tiphys.controllers.apiaddress import APIAddressController
from tiphys.controllers.attachdetach import AttachDetachController
from tiphys.controllers.autoscaler import AutoscalerController
from tiphys.controllers.bootstraptokens import BootstrapSigner, TokenCleaner
from tiphys.controllers.certificates import CertificateController
from tiphys.controllers.classprotection import ClassProtectionController
from tiphys.controllers.clusterrole import ClusterRoleAggregationController
from tiphys.controllers.cronjob import CronJobController
from tiphys.controllers.daemonset import DaemonSetController
from tiphys.controllers.deployment import DeploymentController
from tiphys.controllers.devicetaints import DeviceTaintController
from tiphys.controllers.disruption import DisruptionController
from tiphys.controllers.endpoints import EndpointsController, EndpointSliceController
from tiphys.controllers.flowschema import FlowSchemaController
from tiphys.controllers.garbage import GarbageCollector
from tiphys.controllers.ipaddresses import IPAddressController
from tiphys.controllers.job import JobController
from tiphys.controllers.loadbalancers import LoadBalancerController
from tiphys.controllers.mirroring import EndpointSliceMirroringController
from tiphys.controllers.namespace import NamespaceController
from tiphys.controllers.nodeipam import NodeRangeController
from tiphys.controllers.nodeleaving import NodeLeavingController
from tiphys.controllers.nodelifecycle import NodeLifecycleController
from tiphys.controllers.podgc import PodGarbageCollector
from tiphys.controllers.policystatus import PolicyStatusController
from tiphys.controllers.quota import QuotaController
from tiphys.controllers.replicaset import ReplicaSetController, ReplicationControllerController
from tiphys.controllers.resourceclaims import ResourceClaimController
from tiphys.controllers.serviceaccount import RootCAPublisher, ServiceAccountController
from tiphys.controllers.servicecidrs import ServiceCIDRController
from tiphys.controllers.shell import Controller
from tiphys.controllers.statefulset import StatefulSetController
from tiphys.controllers.tokens import TokenSecretController
from tiphys.controllers.ttl import TTLAfterFinishedController
from tiphys.controllers.volumes import VolumeController

CONTROLLERS: tuple[type[Controller], ...] = (
    # what every namespace needs before anything runs in it
    ServiceAccountController,
    RootCAPublisher,
    TokenSecretController,
    # workloads, from what is asked for down to the pods
    DeploymentController,
    ReplicaSetController,
    ReplicationControllerController,
    StatefulSetController,
    DaemonSetController,
    JobController,
    CronJobController,
    TTLAfterFinishedController,
    DisruptionController,
    AutoscalerController,
    # volumes and devices of workloads
    VolumeController,
    AttachDetachController,
    ClassProtectionController,
    ResourceClaimController,
    DeviceTaintController,
    # what stands behind services
    EndpointSliceController,
    EndpointsController,
    EndpointSliceMirroringController,
    ServiceCIDRController,
    IPAddressController,
    LoadBalancerController,
    APIAddressController,
    # nodes, how they come and go, and what runs on them
    BootstrapSigner,
    TokenCleaner,
    NodeRangeController,
    NodeLeavingController,
    NodeLifecycleController,
    PodGarbageCollector,
    # what is allowed, and how much
    QuotaController,
    CertificateController,
    ClusterRoleAggregationController,
    FlowSchemaController,
    PolicyStatusController,
    # removal; the collector last: it shares the informers of all before it
    NamespaceController,
    GarbageCollector,
)
