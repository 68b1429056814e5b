"""The RouteGroup, as zalando.org publishes it. Formats are in the schema alone: what a reader of ours meets in a cluster
whose definition is an older or a newer one, it judges itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from tiphys.addons.routeserver import GROUP
from tiphys.api.base import F, Struct, always
from tiphys.api.meta_v1 import Object
from tiphys.operator import Column, custom_resource

BACKEND_TYPES = ("service", "shunt", "loopback", "dynamic", "lb", "network")
ALGORITHMS = (
    "roundRobin",
    "random",
    "consistentHash",
    "powerOfRandomNChoices",
    "weightedRoundRobin",
    "leastRequests",
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE")
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_HOST = Meta(
    extra_json_schema={"max_length": 255, "pattern": f"^{_LABEL}([.]{_LABEL})*$"},
)
_SOME = Meta(extra_json_schema={"min_items": 1})

Host = Annotated[str, _HOST]
Integer = Annotated[int, Meta(extra_json_schema={"format": ""})]


class RouteGroupBackend(Struct):
    """Somewhere that requests can go."""

    name: Annotated[str, F(1, req=True), Meta(description="What routes refer to it by.")] = ""
    type: Annotated[
        str,
        F(2, req=True),
        Meta(
            description="`service` is the endpoints of a Service, `network` an address, `lb` several of them; `shunt` "
            "answers by itself, `loopback` looks up a route once more, `dynamic` goes where a filter says.",
            extra_json_schema={"enum": list(BACKEND_TYPES)},
        ),
    ] = ""
    address: Annotated[str, Meta(description="Of type `network`: scheme://host[:port].")] = ""
    algorithm: Annotated[
        str,
        Meta(
            description="Of type `lb` and `service`: how an endpoint is chosen.",
            extra_json_schema={"enum": list(ALGORITHMS)},
        ),
    ] = ""
    endpoints: Annotated[list[str], _SOME, Meta(description="Of type `lb`: the addresses.")] = []
    service_name: Annotated[str, Meta(description="Of type `service`: its name.")] = ""
    service_port: Annotated[Integer, Meta(description="Of type `service`: its port.")] = 0


class BackendReference(Struct):
    """A backend by name, with its share of the traffic."""

    backend_name: Annotated[str, F(1, req=True), Meta(description="The name of a backend.")] = ""
    weight: Annotated[
        Integer,
        Meta(
            description="Its part of the sum of all weights. Where all are 0 the traffic is split equally.",
            extra_json_schema={"minimum": 0},
        ),
    ] = 0


class RouteGroupRoute(Struct):
    """Which requests it takes, and what happens to them."""

    path: Annotated[str, Meta(description="The whole path. Not together with pathSubtree.")] = ""
    path_subtree: Annotated[str, Meta(description="The path and all below it.")] = ""
    path_regexp: Annotated[str, Meta(description="An expression that the path must match.")] = ""
    methods: list[Annotated[str, Meta(extra_json_schema={"enum": list(_METHODS)})]] = []
    predicates: Annotated[list[str], Meta(description="Further predicates, one each.")] = []
    filters: Annotated[list[str], Meta(description="Filters, one each, in their order.")] = []
    backends: Annotated[
        list[BackendReference], Meta(description="Instead of the default backends.")
    ] = []


class RouteGroupTLS(Struct):
    """Which secret ends TLS for which hosts."""

    hosts: Annotated[list[Host], F(1, req=True, list="set"), _SOME] = []
    secret_name: Annotated[
        str, F(2, req=True), Meta(description="A secret of the same namespace.")
    ] = ""


class RouteGroupSpec(Struct):
    """Routes of some hosts, and the backends that they share."""

    hosts: Annotated[list[Host], F(1, list="set"), _SOME, Meta(description="All of them.")] = []
    backends: Annotated[
        list[RouteGroupBackend], F(2, req=True), Meta(description="What routes can refer to.")
    ] = []
    default_backends: Annotated[
        list[BackendReference], Meta(description="Of every route that names none.")
    ] = []
    routes: Annotated[
        list[RouteGroupRoute], _SOME, Meta(description="Without any, all goes to the defaults.")
    ] = []
    tls: list[RouteGroupTLS] = []


class RouteGroupIngress(Struct):
    """An address of the load balancer: a name or an IP address."""

    hostname: str = ""
    ip: str = ""


class RouteGroupLoadBalancer(Struct):
    """Where the routes can be reached, for whoever writes DNS records."""

    routegroup: Annotated[list[RouteGroupIngress], F(1, req=True)] = []


class RouteGroupStatus(Struct):
    load_balancer: Annotated[RouteGroupLoadBalancer, F(1, req=True)] = field(
        default_factory=RouteGroupLoadBalancer
    )


@custom_resource(
    GROUP,
    short_names=("rg", "rgs"),
    categories=("all",),
    columns=(
        Column("Hosts", ".spec.hosts", description="The hosts of its routes."),
        Column("Address", ".status.loadBalancer", description="Of the load balancer."),
    ),
)
class RouteGroup(Object):
    """Routes for some hosts, in Skipper's terms."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("RouteGroup")
    spec: Annotated[RouteGroupSpec, F(1, req=True)] = field(default_factory=RouteGroupSpec)
    status: RouteGroupStatus = field(default_factory=RouteGroupStatus)
