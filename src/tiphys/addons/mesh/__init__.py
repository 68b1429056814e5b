"""Service mesh: an Envoy beside every container of the namespaces that ask for it, so that services
prove to each other who they are.

For users who want encryption, identities, retries, splits by weight and golden metrics without a
line of code in the services. The models are Istio's sidecars and Linkerd's meshes; identities are
SPIFFE's.

`injection` makes a pod one of the mesh (pure; `probes`, `redirect` and `bootstrap` are its parts),
`webhook` serves that; `identity` is the authority, `admittance` knows sidecars by their tokens;
`outbound` and `inbound` compile what sidecars do (pure; `transport`, `telemetry`), `watching` keeps
it as the cluster is, `sidecars` hands out what is each one's own, `statuses` reports how the custom
resources are, `controller` joins them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from tiphys.addons.optional import NAMESPACE, Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct

GROUP = "mesh.tiphys.dev"
INJECT = f"{GROUP}/inject"
"""Label of a namespace (``enabled``), annotation of a pod that stays out (``disabled``)."""
AUDIENCE = GROUP
"""Of the tokens by which sidecars say whose they are: they are good for nothing else."""
AUTHORITY = "mesh-authority"
"""The Secret with the mesh's own certificate authority."""
WEBHOOK = "tiphys-mesh"


class Settings(Struct):
    """`address` is where sidecars and the API server reach the add-on; empty: the API server's own
    address, behind the Service `kubernetes`. `xdsPort` and `webhookPort` are its ports there.
    `trustDomain` is the prefix of every identity. `lifetime` is that of a sidecar's certificate,
    in seconds; it has another one at half of it. `image` has Envoy and nft (``image.yaml``).
    `drain` is how many seconds a sidecar outlives its pod's containers.
    """

    address: str = ""
    xds_port: Annotated[int, Meta(ge=0, le=65535)] = 18100
    webhook_port: Annotated[int, Meta(ge=0, le=65535)] = 18101
    trust_domain: Annotated[str, Meta(pattern=r"^[a-z0-9._-]{1,255}$")] = "cluster.local"
    lifetime: Annotated[int, Meta(ge=4)] = 24 * 3600
    image: str = "tiphys.local/mesh-proxy:1"
    drain: Annotated[int, Meta(ge=0, le=60)] = 2


def definitions() -> tuple[CustomResourceDefinition, ...]:
    from tiphys.addons.mesh.types import MeshPolicy, ServiceRoute
    from tiphys.operator import definition

    return (definition(MeshPolicy), definition(ServiceRoute))


def objects(settings: Settings) -> Sequence[Struct]:
    """Empty ones, which `run` fills: so its account may change these two and create none."""
    from tiphys.api import admissionregistration_v1, core_v1
    from tiphys.api.meta_v1 import ObjectMeta

    return (
        core_v1.Secret(metadata=ObjectMeta(name=AUTHORITY, namespace=NAMESPACE)),
        admissionregistration_v1.MutatingWebhookConfiguration(metadata=ObjectMeta(name=WEBHOOK)),
    )


async def run(context: Context) -> None:
    from tiphys.addons.mesh.controller import run as work

    await work(context)


ADDON = OptionalAddon(
    "mesh",
    "Service mesh: an Envoy beside every pod, mTLS with SPIFFE identities, splits, retries",
    run,
    settings=Settings,
    rights=(
        rule("get list watch", "services pods namespaces"),
        rule("get list watch", "endpointslices", "discovery.k8s.io"),
        rule("create", "tokenreviews", "authentication.k8s.io"),
        rule("get patch", "secrets", names=AUTHORITY),
        rule("patch", "mutatingwebhookconfigurations", "admissionregistration.k8s.io", WEBHOOK),
        rule("get list watch", "meshpolicies serviceroutes", GROUP),
        rule("patch update", "meshpolicies/status serviceroutes/status", GROUP),
    ),
    definitions=definitions,
    objects=objects,
    extra="xds",
    modules=("grpc", "envoy.service"),
    try_next=(
        "tiphys image build src/tiphys/addons/mesh/image.yaml --load NAME",
        "kubectl label namespace default mesh.tiphys.dev/inject=enabled",
        "kubectl apply -f src/tiphys/addons/mesh/example/greetings.yaml",
    ),
)
