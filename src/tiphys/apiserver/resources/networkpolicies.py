"""Network policies."""

from __future__ import annotations

import ipaddress
import itertools

from tiphys.api.core_v1 import Node
from tiphys.api.networking_v1 import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)
from tiphys.apiserver.http.request import warn
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column, selector_text
from tiphys.apiserver.resources.lookups import Objects
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import port_name_errors

_POLICY_TYPES = ("Egress", "Ingress")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
# Part of a node's bytes. Nodes are not decoded: there may be thousands of them.
_HOLLOW = b'"containerRuntimeVersion":"hollow'
_HOLLOW_WARNING = "network policies are not enforced on hollow nodes: their pods have no network"


class NetworkPolicyStrategy(Strategy[NetworkPolicy]):
    columns = (NAME, Column("Pod-Selector", lambda o: selector_text(o.spec.pod_selector)), AGE)
    generation = True

    def default(self, obj: NetworkPolicy) -> None:
        spec = obj.spec
        if not spec.policy_types:
            spec.policy_types = ["Ingress", "Egress"] if spec.egress else ["Ingress"]
        ports = [rule.ports for rule in spec.ingress] + [rule.ports for rule in spec.egress]
        for port in itertools.chain.from_iterable(ports):
            port.protocol = port.protocol or "TCP"

    def validate_new(self, obj: NetworkPolicy, objects: Objects) -> list[FieldError]:
        if any(_HOLLOW in node.data for node in objects.entries(Node)):
            warn(_HOLLOW_WARNING)
        return self.validate(obj)

    def validate(self, obj: NetworkPolicy) -> list[FieldError]:
        spec = obj.spec
        violations = checks.label_selector(spec.pod_selector, "spec.podSelector")
        for index, kind in enumerate(spec.policy_types):
            violations += checks.one_of(kind, _POLICY_TYPES, f"spec.policyTypes[{index}]")
        for index, incoming in enumerate(spec.ingress):
            path = f"spec.ingress[{index}]"
            violations += _ports(incoming.ports, f"{path}.ports")
            violations += _peers(incoming.from_, f"{path}.from")
        for index, outgoing in enumerate(spec.egress):
            path = f"spec.egress[{index}]"
            violations += _ports(outgoing.ports, f"{path}.ports")
            violations += _peers(outgoing.to, f"{path}.to")
        return violations


# --- ports ---


def _ports(ports: list[NetworkPolicyPort], path: str) -> list[FieldError]:
    violations = []
    for index, port in enumerate(ports):
        field = f"{path}[{index}]"
        violations += checks.one_of(port.protocol, _PROTOCOLS, f"{field}.protocol")
        violations += checks.port(port.port, f"{field}.port")
        if isinstance(port.port, str):
            violations += checks.named(port.port, port_name_errors, f"{field}.port")
        violations += _end_port(port, f"{field}.endPort")
    return violations


def _end_port(port: NetworkPolicyPort, path: str) -> list[FieldError]:
    """The last port of a range that starts at `port.port`."""
    end = port.end_port
    if end is None:
        return []
    if port.port is None:
        detail = "may not be specified when `port` is not specified"
        return [errors.invalid_value(path, end, detail)]
    if isinstance(port.port, str):
        detail = "may not be specified when `port` is non-numeric"
        return [errors.invalid_value(path, end, detail)]
    if end < port.port:
        return [errors.invalid_value(path, end, "must be greater than or equal to `port`")]
    return checks.port(end, path)


# --- peers ---


def _peers(peers: list[NetworkPolicyPeer], path: str) -> list[FieldError]:
    violations = []
    for index, peer in enumerate(peers):
        violations += _peer(peer, f"{path}[{index}]")
    return violations


def _peer(peer: NetworkPolicyPeer, path: str) -> list[FieldError]:
    violations = checks.label_selector(peer.pod_selector, f"{path}.podSelector")
    violations += checks.label_selector(peer.namespace_selector, f"{path}.namespaceSelector")
    selected = peer.pod_selector is not None or peer.namespace_selector is not None
    if peer.ip_block is None:
        if not selected:
            violations.append(errors.required(path, "must specify a peer"))
        return violations
    if selected:
        detail = "may not specify both ipBlock and another peer"
        violations.append(errors.forbidden_field(path, detail))
    return violations + _ip_block(peer.ip_block, f"{path}.ipBlock")


def _ip_block(block: IPBlock, path: str) -> list[FieldError]:
    if not block.cidr:
        return [errors.required(f"{path}.cidr")]
    if violations := checks.network(block.cidr, f"{path}.cidr"):
        return violations
    violations = []
    for index, cidr in enumerate(block.except_):
        field = f"{path}.except[{index}]"
        malformed = checks.network(cidr, field)
        violations += malformed
        if not malformed and not _is_inside(cidr, block.cidr):
            detail = "must be a strict subset of `cidr`"
            violations.append(errors.invalid_value(field, cidr, detail))
    return violations


def _is_inside(inner: str, outer: str) -> bool:
    small = ipaddress.ip_network(inner, strict=False)
    large = ipaddress.ip_network(outer, strict=False)
    if small.version != large.version or small == large:
        return False
    return small.subnet_of(large)  # type: ignore[arg-type]
