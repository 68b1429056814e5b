"""An endpoint, of either kind (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiphys.addons.inference import GROUP, Settings
from tiphys.addons.inference.types import v1
from tiphys.api.meta_v1 import ObjectMeta

LABEL = f"{GROUP}/endpoint"
PORT = 80
"""Of the Service, inside the cluster; from outside it is the router's."""


class Unsupported(ValueError):
    """What a spec asks for and this operator does not do."""


@dataclass(frozen=True)
class Endpoint:
    """`family` is the endpoint that it is half of, if prompts are read by servers of their own.
    `node_selector` is where its pods go, and `is_together` means that all pods of the family are in
    one zone. Where `is_scaled`, the autoscaler writes how many there are."""

    name: str
    namespace: str
    spec: v1.InferenceEndpointConfigSpec
    family: str = ""
    node_selector: dict[str, str] = field(default_factory=dict)
    is_together: bool = False
    is_scaled: bool = False

    @property
    def selector(self) -> dict[str, str]:
        return {"app": self.name}

    @property
    def labels(self) -> dict[str, str]:
        return {**self.selector, LABEL: self.family or self.name}

    @property
    def health_path(self) -> str:
        balancer = self.spec.load_balancer
        return balancer.health_check_path if balancer is not None else "/ping"

    @property
    def algorithm(self) -> str:
        balancer = self.spec.load_balancer
        named = balancer.routing_algorithm if balancer is not None else ""
        return named or "least_outstanding_requests"

    def meta(self, name: str = "") -> ObjectMeta:
        return ObjectMeta(
            name=name or self.name, namespace=self.namespace, labels=dict(self.labels)
        )


@dataclass(frozen=True)
class Storage:
    """An S3, as pods reach it."""

    url: str
    region: str


def s3_of(spec: v1.InferenceEndpointConfigSpec, settings: Settings) -> Storage:
    """In the region of the weights, if they are in an S3."""
    weights = spec.model_source_config.s3_storage
    region = weights.region if weights is not None else "us-east-1"
    return Storage(settings.s3_endpoint or f"https://s3.{region}.amazonaws.com", region)


def prefill_name(name: str) -> str:
    """Of the half that reads prompts."""
    return f"{name}-prefill"
