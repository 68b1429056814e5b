"""Small builders of API objects for tests."""

from __future__ import annotations

import socket
from typing import Any

from tiphys.api import apps_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta


def pod(name: str = "p", namespace: str = "default", **spec: Any) -> core_v1.Pod:
    """A pod; `spec` is given in JSON's names."""
    spec.setdefault("containers", [{"name": "c", "image": "img"}])
    labels = spec.pop("labels", {})
    return core_v1.Pod(
        metadata=ObjectMeta(name=name, namespace=namespace, labels=labels),
        spec=from_builtins(spec, core_v1.PodSpec),
    )


def machine_address() -> str:
    """An address of this machine that is not the loopback's, which the API server does not connect to for anybody. Nothing
    is sent to find it out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def node(name: str, cpu: str = "4", memory: str = "8Gi", **labels: str) -> core_v1.Node:
    told = {"kubernetes.io/hostname": name} | {k.replace("__", "/"): v for k, v in labels.items()}
    made = core_v1.Node(metadata=ObjectMeta(name=name, labels=told))
    made.status.allocatable = {"cpu": cpu, "memory": memory, "pods": "110"}  # type: ignore[dict-item]
    return made


def deployment(
    name: str = "web", replicas: int = 3, namespace: str = "default", image: str = "img:1"
) -> apps_v1.Deployment:
    made = apps_v1.Deployment(metadata=ObjectMeta(name=name, namespace=namespace))
    made.spec.replicas = replicas
    made.spec.selector = LabelSelector(match_labels={"app": name})
    made.spec.template.metadata.labels = {"app": name}
    made.spec.template.spec.containers = [core_v1.Container(name="c", image=image)]
    return made


def config_map(name: str = "c", namespace: str = "default", **data: str) -> core_v1.ConfigMap:
    return core_v1.ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data=data)


def service(
    name: str = "web", namespace: str = "default", cluster_ip: str = "", port: int = 80
) -> core_v1.Service:
    """A service of one port."""
    made = core_v1.Service(metadata=ObjectMeta(name=name, namespace=namespace))
    made.spec.cluster_ip = cluster_ip
    made.spec.ports = [core_v1.ServicePort(port=port)]
    return made
