"""Reports of objects that nobody has created: what a gateway makes of them, without a server."""

from __future__ import annotations

from typing import Any

from tests.addons.gateway.world import pair, secret
from tiphys.addons.addresses import Pool
from tiphys.addons.gateway import CONTROLLER, GROUP
from tiphys.addons.gateway.gateways import Report, compile_gateways
from tiphys.addons.gateway.snapshot import Objects
from tiphys.addons.gateway.types.gateways import Gateway, GatewayClass
from tiphys.addons.gateway.types.http import HTTPRoute
from tiphys.addons.gateway.types.policies import BackendTLSPolicy, ReferenceGrant
from tiphys.api import core_v1, networking_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta


def service(name: str, namespace: str = "default") -> core_v1.Service:
    port = core_v1.ServicePort(name="http", port=80, protocol="TCP")
    meta = ObjectMeta(name=name, namespace=namespace)
    return core_v1.Service(metadata=meta, spec=core_v1.ServiceSpec(ports=[port]))


SERVICES = {f"default/{name}": service(name) for name in ("shop", "news", "rest")}

DEFAULT = networking_v1.IngressClass(
    metadata=ObjectMeta(
        name="ours", annotations={"ingressclass.kubernetes.io/is-default-class": "true"}
    ),
    spec=networking_v1.IngressClassSpec(controller=CONTROLLER),
)


def gateway(listeners: list[dict[str, Any]], name: str = "edge", **spec: Any) -> Gateway:
    plain = {"gatewayClassName": "ours", "listeners": listeners, **spec}
    return from_builtins({"metadata": meta(name), "spec": plain}, Gateway)


def meta(name: str, namespace: str = "default") -> dict[str, str]:
    return {"name": name, "namespace": namespace}


def listener(name: str, protocol: str = "HTTP", port: int = 80, **more: Any) -> dict[str, Any]:
    return {"name": name, "protocol": protocol, "port": port, **more}


def report(*objects: Any, addresses: str = "127.0.80.0/24", **more: Any) -> Report:
    ours = {"metadata": {"name": "ours"}, "spec": {"controllerName": CONTROLLER}}
    made = Objects(services=SERVICES, gateway_classes=[from_builtins(ours, GatewayClass)], **more)
    made.gateways = [one for one in objects if isinstance(one, Gateway)]
    made.grants = [one for one in objects if isinstance(one, ReferenceGrant)]
    made.routes = [one for one in objects if not isinstance(one, Gateway | ReferenceGrant)]
    return compile_gateways(made, Pool(addresses), set())


def http_route(namespace: str = "default", ref: Any = None, **spec: Any) -> HTTPRoute:
    rules = [{"backendRefs": [ref or {"name": "shop", "port": 80}]}]
    parent = {"name": "edge", "namespace": "default", **spec.pop("parent", {})}
    plain = {"parentRefs": [parent], "rules": rules, **spec}
    return from_builtins({"metadata": meta("r", namespace), "spec": plain}, HTTPRoute)


def reasons(made: Report) -> dict[str, str]:
    """Of the first listener, by condition."""
    return {one.type: one.reason for one in made.gateways[0].listeners[0].verdicts()}


def route_reasons(made: Report) -> dict[str, str]:
    return {one.type: one.reason for one in made.routes[0].parents[0][1]}


def grant(kind: str, of: str = "HTTPRoute", name: str = "", to: str = "default") -> ReferenceGrant:
    """Of the namespace `to`, for objects of the namespace `elsewhere`."""
    source = {"group": GROUP, "kind": of, "namespace": "elsewhere"}
    target = {"group": "", "kind": kind, **({"name": name} if name else {})}
    body = {"metadata": meta("g", to), "spec": {"from": [source], "to": [target]}}
    return from_builtins(body, ReferenceGrant)


def policy(name: str, section: str = "", **validation: Any) -> BackendTLSPolicy:
    """For the service `shop`, or one port of it."""
    ref = {"group": "", "kind": "Service", "name": "shop"}
    if section:
        ref["sectionName"] = section
    checked = {"hostname": f"{name}.example", "wellKnownCACertificates": "System"}
    spec = {"targetRefs": [ref], "validation": {**checked, **validation}}
    return from_builtins({"metadata": meta(name), "spec": spec}, BackendTLSPolicy)


SECRETS = {
    f"default/{name}": secret(name, *pair(*names))
    for name, names in {
        "wild": ("*.a.example",),
        "one": ("x.a.example",),
        "b": ("b.example",),
    }.items()
}


def https(name: str, certificate: str, hostname: str) -> dict[str, Any]:
    tls = {"certificateRefs": [{"name": certificate}]}
    return listener(name, "HTTPS", 443, hostname=hostname, tls=tls)
