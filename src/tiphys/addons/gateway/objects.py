"""What enabling the add-on puts into a cluster: the definitions of Gateway API, and a class of each
kind."""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.addons.gateway import CLASS, CONTROLLER, Settings
from tiphys.addons.gateway.types.gateways import Gateway, GatewayClass, GatewayClassSpec
from tiphys.addons.gateway.types.grpc import GRPCRoute
from tiphys.addons.gateway.types.http import HTTPRoute
from tiphys.addons.gateway.types.policies import BackendTLSPolicy, ReferenceGrant
from tiphys.addons.gateway.types.streams import TCPRoute, TLSRoute
from tiphys.api import networking_v1
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.operator import definition

ROUTES: tuple[type[Struct], ...] = (HTTPRoute, GRPCRoute, TLSRoute, TCPRoute)
KINDS: tuple[type[Struct], ...] = (
    GatewayClass,
    Gateway,
    *ROUTES,
    ReferenceGrant,
    BackendTLSPolicy,
)
_IS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_APPROVED = "https://github.com/kubernetes-sigs/gateway-api"
"""Groups below k8s.io name where their API was approved."""


def definitions() -> tuple[CustomResourceDefinition, ...]:
    crds = tuple(definition(kind) for kind in KINDS)
    for crd in crds:
        crd.metadata.annotations["api-approved.kubernetes.io"] = _APPROVED
    return crds


def classes(settings: Settings) -> Sequence[Struct]:
    ingress_class = networking_v1.IngressClass(
        metadata=ObjectMeta(
            name=CLASS, annotations={_IS_DEFAULT: "true" if settings.default else "false"}
        ),
        spec=networking_v1.IngressClassSpec(controller=CONTROLLER),
    )
    gateway_class = GatewayClass(
        metadata=ObjectMeta(name=CLASS),
        spec=GatewayClassSpec(controller_name=CONTROLLER),
    )
    return (ingress_class, gateway_class)
