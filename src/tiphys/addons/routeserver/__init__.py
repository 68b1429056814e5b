"""A route server: it reads Ingress and RouteGroup objects, and hundreds of routers read their table from it.

For clusters whose routers would otherwise each list the API: 300 of them every 3 seconds are too much for it. The model is
Skipper's route server (zalando/skipper, `routesrv`): the same objects, the same text (eskip), the same addresses and headers,
so that real Skippers can take their routes from it (`-routes-urls`). `router` is a small stand-in for Skipper.

`compiling` makes routes of objects and `eskip` writes them (both pure); `polling` reads the cluster, `table` keeps what is
served, `serving` answers; `fetching`, `matching` and `proxying` are of the router, `comparing` of its mode Pre.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct

GROUP = "zalando.org"


class Settings(Struct):
    """
    mode: False serves nothing; Pre serves, for routers that compare; Exec serves routers that route by it. The server
        works the same in Pre and Exec: it is the routers that differ
    interval: seconds between two readings of the cluster
    default_filters: of every route to a service, by "service.namespace"
    The others are as Skipper's flags of the same names.
    """

    mode: Literal["False", "Pre", "Exec"] = "Exec"
    address: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 9990
    interval: Annotated[float, Meta(ge=0.1, le=3600)] = 3.0
    ingress_class: str = "skipper"
    route_group_class: str = "skipper"
    path_mode: Literal["kubernetes-ingress", "path-regexp", "path-prefix"] = "kubernetes-ingress"
    traffic: Literal["traffic-predicate", "traffic-segment-predicate"] = "traffic-predicate"
    load_balancer: str = "roundRobin"
    https_redirect: bool = False
    external_names: bool = False
    default_filters: dict[str, str] = {}


def definitions() -> tuple[CustomResourceDefinition, ...]:
    from tiphys.addons.routeserver.types import RouteGroup
    from tiphys.operator import definition

    return (definition(RouteGroup),)


async def run(context: Context) -> None:
    from tiphys.addons.routeserver.server import run as work

    await work(context)


ADDON = OptionalAddon(
    "routeserver",
    "Serves the routes of Ingress and RouteGroup objects to hundreds of routers",
    run,
    settings=Settings,
    rights=(
        rule("list", "services endpoints"),
        rule("list", "endpointslices", "discovery.k8s.io"),
        rule("list", "ingresses", "networking.k8s.io"),
        rule("list", "routegroups", GROUP),
    ),
    definitions=definitions,
    try_next=(
        "kubectl apply -f src/tiphys/addons/routeserver/example/shop.yaml",
        "curl -i http://127.0.0.1:9990/routes",
    ),
)
