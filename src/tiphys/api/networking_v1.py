"""Types of networking.k8s.io/v1: names, tags, keys and defaults from the published API of release
1.36."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from tiphys.api.base import F, Int32, IntOrString, Struct, always, always_list
from tiphys.api.core_v1 import TypedLocalObjectReference
from tiphys.api.meta_v1 import Condition, LabelSelector, ListMeta, Object, TypeMeta


class IngressBackend(Struct):
    service: Annotated[IngressServiceBackend | None, F(4)] = None
    resource: Annotated[TypedLocalObjectReference | None, F(3, atomic=True)] = None


class HTTPIngressPath(Struct):
    path: Annotated[str, F(1)] = ""
    path_type: Annotated[str | None, F(3, req=True)] = None
    backend: Annotated[IngressBackend, F(2, req=True)] = field(default_factory=IngressBackend)


class HTTPIngressRuleValue(Struct):
    paths: Annotated[list[HTTPIngressPath], F(1, list="atomic", req=True)] = always_list()


class IPAddressSpec(Struct):
    parent_ref: Annotated[ParentReference | None, F(1, req=True)] = None


class IPAddress(Object):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("IPAddress")
    spec: Annotated[IPAddressSpec, F(2, req=True)] = field(default_factory=IPAddressSpec)


class IPAddressList(TypeMeta):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("IPAddressList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[IPAddress], F(2, req=True)] = always_list()


class IPBlock(Struct):
    cidr: Annotated[str, F(1, req=True)] = always("")
    except_: Annotated[list[str], F(2, list="atomic")] = []


class IngressSpec(Struct):
    ingress_class_name: Annotated[str | None, F(4)] = None
    default_backend: Annotated[IngressBackend | None, F(1)] = None
    tls: Annotated[list[IngressTLS], F(2, list="atomic")] = []
    rules: Annotated[list[IngressRule], F(3, list="atomic")] = []


class IngressLoadBalancerStatus(Struct):
    ingress: Annotated[list[IngressLoadBalancerIngress], F(1, list="atomic")] = []


class IngressStatus(Struct):
    load_balancer: Annotated[IngressLoadBalancerStatus, F(1)] = field(
        default_factory=IngressLoadBalancerStatus
    )


class Ingress(Object):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("Ingress")
    spec: Annotated[IngressSpec, F(2)] = field(default_factory=IngressSpec)
    status: Annotated[IngressStatus, F(3)] = field(default_factory=IngressStatus)


class IngressClassSpec(Struct):
    controller: Annotated[str, F(1)] = ""
    parameters: Annotated[IngressClassParametersReference | None, F(2)] = None


class IngressClass(Object):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("IngressClass")
    spec: Annotated[IngressClassSpec, F(2)] = field(default_factory=IngressClassSpec)


class IngressClassList(TypeMeta):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("IngressClassList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[IngressClass], F(2, req=True)] = always_list()


class IngressClassParametersReference(Struct):
    api_group: Annotated[str | None, F(1)] = None
    kind: Annotated[str, F(2, req=True)] = always("")
    name: Annotated[str, F(3, req=True)] = always("")
    scope: Annotated[str | None, F(4)] = None
    namespace: Annotated[str | None, F(5)] = None


class IngressList(TypeMeta):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("IngressList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Ingress], F(2, req=True)] = always_list()


class IngressLoadBalancerIngress(Struct):
    ip: Annotated[str, F(1)] = ""
    hostname: Annotated[str, F(2)] = ""
    ports: Annotated[list[IngressPortStatus], F(4, list="atomic")] = []


class IngressPortStatus(Struct):
    port: Annotated[Int32, F(1, req=True)] = always(0)
    protocol: Annotated[str, F(2, req=True)] = always("")
    error: Annotated[str | None, F(3)] = None


class IngressRuleValue(Struct):
    http: Annotated[HTTPIngressRuleValue | None, F(1)] = None


class IngressRule(IngressRuleValue):
    inline: ClassVar[int] = 2
    host: Annotated[str, F(1)] = ""


class ServiceBackendPort(Struct):
    name: Annotated[str, F(1)] = ""
    number: Annotated[Int32, F(2)] = 0


class IngressServiceBackend(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    port: Annotated[ServiceBackendPort, F(2, atomic=True)] = field(
        default_factory=ServiceBackendPort
    )


class IngressTLS(Struct):
    hosts: Annotated[list[str], F(1, list="atomic")] = []
    secret_name: Annotated[str, F(2)] = ""


class NetworkPolicySpec(Struct):
    pod_selector: Annotated[LabelSelector, F(1, atomic=True)] = field(default_factory=LabelSelector)
    ingress: Annotated[list[NetworkPolicyIngressRule], F(2, list="atomic")] = []
    egress: Annotated[list[NetworkPolicyEgressRule], F(3, list="atomic")] = []
    policy_types: Annotated[list[str], F(4, list="atomic")] = []


class NetworkPolicy(Object):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("NetworkPolicy")
    spec: Annotated[NetworkPolicySpec, F(2)] = field(default_factory=NetworkPolicySpec)


class NetworkPolicyEgressRule(Struct):
    ports: Annotated[list[NetworkPolicyPort], F(1, list="atomic")] = []
    to: Annotated[list[NetworkPolicyPeer], F(2, list="atomic")] = []


class NetworkPolicyIngressRule(Struct):
    ports: Annotated[list[NetworkPolicyPort], F(1, list="atomic")] = []
    from_: Annotated[list[NetworkPolicyPeer], F(2, list="atomic")] = []


class NetworkPolicyList(TypeMeta):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("NetworkPolicyList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[NetworkPolicy], F(2, req=True)] = always_list()


class NetworkPolicyPeer(Struct):
    pod_selector: Annotated[LabelSelector | None, F(1, atomic=True)] = None
    namespace_selector: Annotated[LabelSelector | None, F(2, atomic=True)] = None
    ip_block: Annotated[IPBlock | None, F(3)] = None


class NetworkPolicyPort(Struct):
    protocol: Annotated[str | None, F(1)] = None
    port: Annotated[IntOrString | None, F(2)] = None
    end_port: Annotated[Int32 | None, F(3)] = None


class ParentReference(Struct):
    group: Annotated[str, F(1)] = ""
    resource: Annotated[str, F(2, req=True)] = ""
    namespace: Annotated[str, F(3)] = ""
    name: Annotated[str, F(4, req=True)] = ""


class ServiceCIDRSpec(Struct):
    cidrs: Annotated[list[str], F(1, list="atomic")] = []


class ServiceCIDRStatus(Struct):
    conditions: Annotated[
        list[Condition], F(1, patch="merge", key="type", list="map", keys=("type",))
    ] = []


class ServiceCIDR(Object):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("ServiceCIDR")
    spec: Annotated[ServiceCIDRSpec, F(2)] = field(default_factory=ServiceCIDRSpec)
    status: Annotated[ServiceCIDRStatus, F(3)] = field(default_factory=ServiceCIDRStatus)


class ServiceCIDRList(TypeMeta):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("ServiceCIDRList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ServiceCIDR], F(2, req=True)] = always_list()
