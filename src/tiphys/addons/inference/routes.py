"""What the router does for an endpoint, as a model without Envoy in it (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tiphys.addons.inference.endpoint import PORT
from tiphys.addons.inference.types import v1

Strategy = Literal["prefixaware", "session", "roundrobin", "least"]
"""`least` is the pod with the fewest requests under way."""


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint as clients see it. `published` are the names under which SageMaker's path
    ``/endpoints/NAME/invocations`` leads to it, `invocation` is where it leads."""

    name: str
    namespace: str
    strategy: Strategy
    health_path: str = "/ping"
    invocation: str = "/invocations"
    published: tuple[str, ...] = ()
    is_grpc: bool = False

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def cluster(self) -> str:
        """The port of its Service, as `network.xds.services` names it."""
        return f"{self.name}.{self.namespace}:{PORT}"


def strategy_of(spec: v1.InferenceEndpointConfigSpec | v1.JumpStartModelSpec) -> Strategy:
    """Intelligent routing where it is enabled, else what the load balancer does.

    `kvaware` asks every server what it has cached, which only vLLM's own controller knows; requests
    with one prefix meet their cache by `prefixaware` too.
    """
    routing = spec.intelligent_routing_spec
    if routing is not None and routing.enabled:
        if routing.routing_strategy in ("prefixaware", "kvaware"):
            return "prefixaware"
        return "session" if routing.routing_strategy == "session" else "roundrobin"
    balancer = spec.load_balancer
    if balancer is not None and balancer.routing_algorithm == "round_robin":
        return "roundrobin"
    return "least"


def route_of(obj: v1.InferenceEndpointConfig | v1.JumpStartModel) -> Route:
    spec = obj.spec
    balancer = spec.load_balancer
    if isinstance(spec, v1.InferenceEndpointConfigSpec):
        invocation = spec.invocation_endpoint
        published = spec.endpoint_name
        is_grpc = spec.worker.model_invocation_port.name == "grpc"
    else:
        invocation = "invocations"
        published = spec.sage_maker_endpoint.name if spec.sage_maker_endpoint else None
        is_grpc = False
    names = dict.fromkeys((published or obj.metadata.name, obj.metadata.name))
    return Route(
        obj.metadata.name,
        obj.metadata.namespace,
        strategy_of(spec),
        balancer.health_check_path if balancer is not None else "/ping",
        "/" + invocation.lstrip("/"),
        tuple(names),
        is_grpc,
    )
