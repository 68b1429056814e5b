"""The objects of a moment, and what is looked up in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tiphys.addons.gateway import GROUP
from tiphys.addons.gateway.types.gateways import Gateway, GatewayClass
from tiphys.addons.gateway.types.policies import BackendTLSPolicy, ReferenceGrant
from tiphys.api import core_v1, networking_v1

Route = Any
"""An HTTPRoute, GRPCRoute, TLSRoute or TCPRoute."""


@dataclass
class Objects:
    """By ``namespace/name`` where they are looked up."""

    ingresses: list[networking_v1.Ingress] = field(default_factory=list)
    ingress_classes: dict[str, networking_v1.IngressClass] = field(default_factory=dict)
    services: dict[str, core_v1.Service] = field(default_factory=dict)
    secrets: dict[str, core_v1.Secret] = field(default_factory=dict)
    config_maps: dict[str, core_v1.ConfigMap] = field(default_factory=dict)
    namespaces: dict[str, core_v1.Namespace] = field(default_factory=dict)
    gateway_classes: list[GatewayClass] = field(default_factory=list)
    gateways: list[Gateway] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    grants: list[ReferenceGrant] = field(default_factory=list)
    policies: list[BackendTLSPolicy] = field(default_factory=list)

    def permits(self, source: Any, group: str, kind: str, namespace: str, name: str) -> bool:
        """Whether an object may refer to another: in its own namespace, or where a ReferenceGrant
        says so."""
        if namespace == source.metadata.namespace:
            return True
        return any(
            _grants(one, source, group, kind, name)
            for one in self.grants
            if one.metadata.namespace == namespace
        )


def _grants(grant: ReferenceGrant, source: Any, group: str, kind: str, name: str) -> bool:
    is_from = any(
        (one.group, one.kind, one.namespace) == (GROUP, source.kind, source.metadata.namespace)
        for one in grant.spec.from_
    )
    return is_from and any(
        (one.group, one.kind) == (group, kind) and one.name in (None, "", name)
        for one in grant.spec.to
    )


def oldest_first(objects: Iterable[Any]) -> list[Any]:
    """The oldest object has what two claim; of the same second, the first by name."""
    return sorted(
        objects,
        key=lambda one: (
            one.metadata.creation_timestamp or "",
            one.metadata.namespace,
            one.metadata.name,
        ),
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition to be: its type, whether it is true, and why."""

    type: str
    ok: bool
    reason: str
    message: str = ""
