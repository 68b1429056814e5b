"""What network policies, pods and namespaces say, as small immutable values that are read once and
matched often.

The rules are those of upstream's documentation of NetworkPolicySpec: a pod that no policy selects
in a direction is open in it; one that is selected lets in (or out) what any rule of any of its
policies allows, and nothing else.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tiphys.api import networking_v1
from tiphys.machinery.finished import is_final
from tiphys.machinery.selectors import EVERYTHING, Selector, from_label_selector

PROTOCOLS = ("TCP", "UDP", "SCTP")
LAST_PORT = 65535

Labels = Mapping[str, str]
Namespaces = Mapping[str, Labels]  # by name


@dataclass(frozen=True, slots=True)
class NamedPort:
    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What policies look at. `address` is empty while the pod has none, once it has ended, and for
    a pod in its node's network: such a pod's traffic is the node's, and no policy is about it."""

    namespace: str
    name: str
    labels: Labels
    address: str = ""
    node: str = ""
    ports: tuple[NamedPort, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


# --- pods, whole or in part ---


class _Port(Protocol):
    name: str
    protocol: str
    container_port: int


class _Container(Protocol):
    @property
    def ports(self) -> Iterable[_Port]: ...

    @property
    def restart_policy(self) -> str | None: ...


class _Meta(Protocol):
    name: str
    namespace: str

    @property
    def labels(self) -> Labels: ...


class _Spec(Protocol):
    node_name: str
    host_network: bool

    @property
    def containers(self) -> Iterable[_Container]: ...

    @property
    def init_containers(self) -> Iterable[_Container]: ...


class _PodIP(Protocol):
    ip: str


class _Status(Protocol):
    phase: str
    pod_ip: str

    @property
    def pod_ips(self) -> Iterable[_PodIP]: ...


class AnyPod(Protocol):
    """A pod of the API, or the part of it that an enforcer watches."""

    @property
    def metadata(self) -> _Meta: ...

    @property
    def spec(self) -> _Spec: ...

    @property
    def status(self) -> _Status: ...


def address_of(addresses: Iterable[str], version: int) -> str:
    """The first of a version of IP; empty where there is none."""
    return next(
        (address for address in addresses if address and (":" in address) == (version == 6)), ""
    )


def facts_of(pod: AnyPod, address: str = "", version: int = 4) -> PodFacts:
    """A pod with its address of a version of IP: `address` where its status does not have it
    yet."""
    meta = pod.metadata
    spec = pod.spec
    status = pod.status
    known = (status.pod_ip, *(pod_ip.ip for pod_ip in status.pod_ips))
    address = address or address_of(known, version)
    if spec.host_network or is_final(status.phase):
        address = ""
    labels = _shared(frozenset(meta.labels.items()))
    return PodFacts(meta.namespace, meta.name, labels, address, spec.node_name, _named_ports(spec))


@functools.lru_cache(8192)
def _shared(labels: frozenset[tuple[str, str]]) -> Labels:
    """Most pods have the labels of many others."""
    return dict(labels)


def _named_ports(spec: _Spec) -> tuple[NamedPort, ...]:
    """Ports of containers and of sidecars, as services resolve them."""
    sidecars = [
        container for container in spec.init_containers if container.restart_policy == "Always"
    ]
    return tuple(
        NamedPort(port.name, port.protocol or "TCP", port.container_port)
        for container in (*spec.containers, *sidecars)
        for port in container.ports
        if port.name
    )


# --- policies ---


@dataclass(frozen=True, slots=True)
class PodPeer:
    """Pods by their labels, in one namespace or in those that `namespaces` selects."""

    pods: Selector
    namespace: str = ""
    namespaces: Selector | None = None

    def selects(self, pod: PodFacts, namespaces: Namespaces) -> bool:
        if self.namespaces is None:
            return pod.namespace == self.namespace and self.pods.matches(pod.labels)
        labels = namespaces.get(
            pod.namespace
        )  # one that is not known yet is not selected by what it lacks
        return (
            labels is not None and self.pods.matches(pod.labels) and self.namespaces.matches(labels)
        )

    def __str__(self) -> str:
        pods = f"pods with {self.pods}" if self.pods.requirements else "all pods"
        if self.namespaces is None:
            return f"{pods} of namespace {self.namespace}"
        if not self.namespaces.requirements:
            return f"{pods} of all namespaces"
        return f"{pods} of namespaces with {self.namespaces}"


@dataclass(frozen=True, slots=True)
class BlockPeer:
    """Addresses of any owner: a network without some of its parts."""

    network: str
    excepted: tuple[str, ...] = ()

    def contains(self, address: str) -> bool:
        if not address or not _within(address, self.network):
            return False
        return not any(_within(address, part) for part in self.excepted)

    def __str__(self) -> str:
        return self.network + (f" except {', '.join(self.excepted)}" if self.excepted else "")


@functools.lru_cache(4096)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text, strict=False)


def _within(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in _network(network)


Peer = PodPeer | BlockPeer


@dataclass(frozen=True, slots=True)
class PortMatch:
    """Ports of one protocol: from `first` to `last`, or those that a target pod gives `name` to."""

    protocol: str
    first: int = 0
    last: int = LAST_PORT
    name: str = ""

    def matches(self, protocol: str, port: int, target: PodFacts | None) -> bool:
        if protocol != self.protocol:
            return False
        if self.name:
            return target is not None and NamedPort(self.name, protocol, port) in target.ports
        return self.first <= port <= self.last

    def __str__(self) -> str:
        if self.name:
            return f"{self.protocol} {self.name}"
        if (self.first, self.last) == (0, LAST_PORT):
            return f"all {self.protocol} ports"
        return f"{self.protocol} {self.first}" + (
            f" to {self.last}" if self.last != self.first else ""
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """What is allowed: any of the peers at any of the ports. None of either means all of them."""

    peers: tuple[Peer, ...] = ()
    ports: tuple[PortMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """`ingress` and `egress` are None in a direction that the policy is not about."""

    namespace: str
    name: str
    pods: Selector
    ingress: tuple[Rule, ...] | None = None
    egress: tuple[Rule, ...] | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    def rules(self, direction: str) -> tuple[Rule, ...] | None:
        return self.ingress if direction == "ingress" else self.egress

    def selects(self, pod: PodFacts) -> bool:
        return pod.namespace == self.namespace and self.pods.matches(pod.labels)


def read(policy: networking_v1.NetworkPolicy) -> Policy:
    """A policy of the API. One without types is about ingress, and about egress if it has rules for
    it."""
    spec = policy.spec
    meta = policy.metadata
    kinds = spec.policy_types or (["Ingress", "Egress"] if spec.egress else ["Ingress"])
    ingress = tuple(_rule(rule.from_, rule.ports, meta.namespace) for rule in spec.ingress)
    egress = tuple(_rule(rule.to, rule.ports, meta.namespace) for rule in spec.egress)
    return Policy(
        meta.namespace,
        meta.name,
        from_label_selector(spec.pod_selector) or EVERYTHING,
        ingress if "Ingress" in kinds else None,
        egress if "Egress" in kinds else None,
    )


def _rule(
    peers: Iterable[networking_v1.NetworkPolicyPeer],
    ports: Iterable[networking_v1.NetworkPolicyPort],
    namespace: str,
) -> Rule:
    return Rule(tuple(_peer(peer, namespace) for peer in peers), tuple(map(_port, ports)))


def _peer(peer: networking_v1.NetworkPolicyPeer, namespace: str) -> Peer:
    if peer.ip_block is not None:
        return BlockPeer(peer.ip_block.cidr, tuple(peer.ip_block.except_))
    pods = from_label_selector(peer.pod_selector) or EVERYTHING
    if peer.namespace_selector is None:
        return PodPeer(pods, namespace)
    return PodPeer(pods, namespaces=from_label_selector(peer.namespace_selector))


def _port(port: networking_v1.NetworkPolicyPort) -> PortMatch:
    protocol = port.protocol or "TCP"
    if port.port is None:
        return PortMatch(protocol)
    if isinstance(port.port, str):
        return PortMatch(protocol, name=port.port)
    return PortMatch(protocol, port.port, port.end_port or port.port)
