"""Services, slices, pods and routes of the mesh's tests."""

from __future__ import annotations

from typing import Any

from tiphys.addons.mesh.types import RouteBackend, ServiceRoute, ServiceRouteSpec
from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta

NAMESPACE = "shop"


def service(name: str, *ports: core_v1.ServicePort, ip: str = "10.96.0.7") -> core_v1.Service:
    spec = core_v1.ServiceSpec(cluster_ip=ip, ports=list(ports) or [port()])
    return core_v1.Service(metadata=ObjectMeta(name=name, namespace=NAMESPACE), spec=spec)


def port(name: str = "http", number: int = 80, **said: Any) -> core_v1.ServicePort:
    return core_v1.ServicePort(name=name, port=number, **said)


def slice_of(service_name: str, **pods: str) -> discovery_v1.EndpointSlice:
    """Endpoints by the name of their pods."""
    ready = discovery_v1.EndpointConditions(ready=True, serving=True)
    endpoints = [
        discovery_v1.Endpoint(
            addresses=[address],
            conditions=ready,
            target_ref=core_v1.ObjectReference(kind="Pod", name=name, namespace=NAMESPACE),
        )
        for name, address in pods.items()
    ]
    return discovery_v1.EndpointSlice(
        metadata=ObjectMeta(
            name=f"{service_name}-1",
            namespace=NAMESPACE,
            labels={"kubernetes.io/service-name": service_name},
        ),
        address_type="IPv4",
        endpoints=endpoints,
        ports=[discovery_v1.EndpointPort(name="http", port=8080)],
    )


def route(name: str, *backends: tuple[str, int], service: str = "", **spec: Any) -> ServiceRoute:
    """Backends are services and their weights; all at port 80."""
    refs = [RouteBackend(name=one, port=80, weight=weight) for one, weight in backends]
    meta = ObjectMeta(
        name=name, namespace=NAMESPACE, uid=name, creation_timestamp=spec.pop("created", None)
    )
    made = ServiceRouteSpec(service=service or name, backend_refs=refs, **spec)
    return ServiceRoute(metadata=meta, spec=made)


def pod(**container: Any) -> dict[str, Any]:
    """As it comes to the webhook."""
    web = {"name": "web", "image": "web", "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"containers": [{**web, **container}]},
    }
