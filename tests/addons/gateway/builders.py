"""Gateways and routes that tests of the gateway share."""

from __future__ import annotations

from typing import Any

from tests.addons.gateway.world import World
from tiphys.addons.gateway.types.gateways import (
    Gateway,
    GatewaySpec,
    Listener,
    ListenerTLSConfig,
    SecretObjectReference,
)
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import Condition, ObjectMeta


def gateway(name: str, *listeners: Listener) -> Gateway:
    spec = GatewaySpec(gateway_class_name="tiphys", listeners=list(listeners))
    return Gateway(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)


def terminated(secret_name: str) -> ListenerTLSConfig:
    return ListenerTLSConfig(certificate_refs=[SecretObjectReference(name=secret_name)])


def route(kind: Any, name: str, gateway_name: str, *rules: dict[str, Any], **spec: Any) -> Any:
    plain = {"parentRefs": [{"name": gateway_name}], "rules": list(rules), **spec}
    metadata = {"name": name, "namespace": "default"}
    return from_builtins({"metadata": metadata, "spec": plain}, kind)


def to(*services: str, weight: int = 1) -> list[dict[str, Any]]:
    return [{"name": name, "port": 80, "weight": weight} for name in services]


def said(conditions: list[Condition]) -> dict[str, str]:
    """Status and reason of each condition."""
    return {one.type: f"{one.status} {one.reason}" for one in conditions}


async def address_of(made: World, name: str) -> str:
    async def programmed() -> str:
        found = await made.client.get(Gateway, name, "default")
        if said(found.status.conditions).get("Programmed") != "True Programmed":
            return ""
        return found.status.addresses[0].value

    return str(await made.until(programmed))
