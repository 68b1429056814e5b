"""Small objects of a shop: service `shop` with two pods, `next` with one, `bare` with none, `away`
outside."""

from __future__ import annotations

from typing import Any

from tiphys.addons.routeserver.compiling.objects import (
    EndpointSlice,
    Ingress,
    Objects,
    RouteGroup,
    Service,
)
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.compiling.tables import Compiled, compile_routes
from tiphys.addons.routeserver.eskip import Route, read_routes
from tiphys.api.base import from_builtins

HOST = "shop.example.org"


def service(name: str, **spec: Any) -> Service:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"type": "ClusterIP", "ports": ports, **spec}
    return from_builtins({"metadata": {"name": name, "namespace": "a"}, "spec": spec}, Service)


def pods(name: str, *addresses: str, zone: str = "", **conditions: bool) -> EndpointSlice:
    endpoints = [
        {"addresses": [address], "conditions": conditions, "zone": zone} for address in addresses
    ]
    labels = {"kubernetes.io/service-name": name}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    plain = {"metadata": {"name": name, "namespace": "a", "labels": labels}}
    return from_builtins({**plain, "endpoints": endpoints, "ports": ports}, EndpointSlice)


def path(
    text: str = "/", to: str = "shop", kind: str = "Prefix", port: str = "http"
) -> dict[str, Any]:
    backend = {"service": {"name": to, "port": {"name": port}}}
    return {"path": text, "pathType": kind, "backend": backend}


def ingress(*paths: dict[str, Any], host: str = HOST, **annotations: str) -> Ingress:
    """`annotations` without the zalando.org/ before them, underscores for dashes."""
    rules = [{"host": host, "http": {"paths": list(paths)}}]
    plain = {"metadata": _metadata(annotations), "spec": {"rules": rules if paths else []}}
    return from_builtins(plain, Ingress)


def group(*routes: dict[str, Any], hosts: tuple[str, ...] = (HOST,), **more: Any) -> RouteGroup:
    annotations = more.pop("annotations", {})
    backends = [
        {"name": "shop", "type": "service", "serviceName": "shop", "servicePort": 80},
        {"name": "next", "type": "service", "serviceName": "next", "servicePort": 80},
        {"name": "nothing", "type": "shunt"},
    ]
    default = [{"backendName": "shop"}]
    spec = {"hosts": list(hosts), "backends": backends, "defaultBackends": default, **more}
    plain = {"metadata": _metadata(annotations), "spec": {**spec, "routes": list(routes)}}
    return from_builtins(plain, RouteGroup)


def _metadata(annotations: dict[str, str]) -> dict[str, Any]:
    keys = {f"zalando.org/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {"name": "x", "namespace": "a", "uid": "1", "annotations": keys}


def cluster(
    *objects: Ingress | RouteGroup,
    slices: list[EndpointSlice] | None = None,
    services: list[Service] | None = None,
) -> Objects:
    found = [pods("shop", "10.0.0.1", "10.0.0.2"), pods("next", "10.0.0.3")]
    outside = service("away", type="ExternalName", externalName="away.example.com")
    known = [service("shop"), service("next"), service("bare"), outside]
    return Objects(
        [each for each in objects if isinstance(each, Ingress)],
        [each for each in objects if isinstance(each, RouteGroup)],
        known if services is None else services,
        endpoint_slices=found if slices is None else slices,
    )


def compiled(
    *objects: Ingress | RouteGroup,
    slices: list[EndpointSlice] | None = None,
    services: list[Service] | None = None,
    **options: Any,
) -> Compiled:
    """`options` are as in `Options`; routes for what nothing takes are left out unless they are
    asked for."""
    wanted = Options(**{"catch_all": False, **options})
    return compile_routes(cluster(*objects, slices=slices, services=services), wanted)


def by_id(text: str) -> dict[str, Route]:
    return {route.id: route.canonical() for route in read_routes(text)}


def same(made: Compiled, text: str) -> bool:
    return {route.id: route.canonical() for route in made.routes} == by_id(text)


ON_HOST = 'Host("^(shop[.]example[.]org[.]?(:[0-9]+)?)$")'
TWO = '<roundRobin, "http://10.0.0.1:8080", "http://10.0.0.2:8080">'
ONE = '"http://10.0.0.3:8080"'
NONE = 'status(502) -> inlineContent("no endpoints") -> <shunt>'
SHOP = "kube_a__x__shop_example_org_____shop"
GROUP = "kube_rg__a__x__all__0_0"
SUBTREE = f'{ON_HOST} && PathSubtree("/")'
CATCH_ALL = f"kube_rg____shop_example_org__catchall__0_0: {ON_HOST} -> <shunt>;"
INSIDE = "www.shop.inside"
ON_INSIDE = 'Host("^(www[.]shop[.]inside[.]?(:[0-9]+)?)$")'
