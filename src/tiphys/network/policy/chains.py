"""Policies as chains of rules, and the sets that these name. Pure.

    i-…, e-…     what one policy lets in, lets out
    i-…-0        the peers of its first rule, where that has several peers and several ports
    gi-…, ge-…   the policies that are about a pod, one after the other, then drop; pods that are
                 selected by the same policies share it

Sets: `p-…` the addresses of the pods that a peer selects, `n-…` the addresses and numbers behind a
named port. Names are digests: no text of a policy's reaches nft.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tiphys.network.policy import script
from tiphys.network.policy.model import (
    BlockPeer,
    NamedPort,
    Namespaces,
    PodFacts,
    PodPeer,
    Policy,
    PortMatch,
    Rule,
)
from tiphys.network.policy.script import DNS, EGRESS, INGRESS, IPV4, Version

# The cluster's DNS servers live in the nodes' agents. To policies they are what they are elsewhere:
# the pods of kube-dns.
DNS_POD = PodFacts(
    "kube-system",
    "kube-dns",
    {"k8s-app": "kube-dns"},
    ports=(NamedPort("dns", "UDP", 53), NamedPort("dns-tcp", "TCP", 53)),
)

Group = tuple[str, ...]  # keys of the policies that are about a pod in one direction


@dataclass
class Compiled:
    """One policy in one direction: its chains, and the sets that they name."""

    version: Version
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    peers: dict[str, PodPeer] = field(default_factory=dict)
    names: dict[str, PortMatch] = field(default_factory=dict)


def policy_chain(direction: str, key: str) -> str:
    return f"{direction[0]}-{_digest(key)}"


def group_chain(direction: str, group: Group) -> str:
    return f"g{direction[0]}-{_digest(*group)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def group_rules(direction: str, group: Group) -> tuple[str, ...]:
    """Any policy may accept; what none accepts is dropped."""
    return (*(f"jump {policy_chain(direction, key)}" for key in group), "drop")


def compile_policy(
    policy: Policy, direction: str, namespaces: Namespaces, version: Version = IPV4
) -> Compiled:
    """What one policy needs in one direction. `namespaces` matters for that of the DNS servers
    alone."""
    compiled = Compiled(version)
    chain = policy_chain(direction, policy.key)
    lines: list[str] = []
    for number, rule in enumerate(policy.rules(direction) or ()):
        lines += _lines(rule, direction, f"{chain}-{number}", compiled)
        if direction == EGRESS:
            lines += _dns_lines(rule, namespaces, version.ip)
    compiled.chains[chain] = tuple(dict.fromkeys(lines))
    return compiled


def _lines(rule: Rule, direction: str, chain: str, compiled: Compiled) -> Iterator[str]:
    """A rule of a policy as rules of its chain. Many ports of many peers would be a product: then
    the peers are a chain of their own."""
    field = "saddr" if direction == INGRESS else "daddr"
    peers = _peer_matches(rule, field, compiled)
    ports = _port_matches(rule, compiled)
    if len(ports) > 1 and len(peers) > 1:
        compiled.chains[chain] = tuple(f"{peer} accept".lstrip() for peer in peers)
        yield from (f"{match} jump {chain}" for match in ports)
        return
    for match in ports:
        for peer in peers:
            yield " ".join(part for part in (match, peer, "accept") if part)


def _dns_lines(rule: Rule, namespaces: Namespaces, ip: str) -> Iterator[str]:
    pods = [peer for peer in rule.peers if isinstance(peer, PodPeer)]
    if rule.peers and not any(peer.selects(DNS_POD, namespaces) for peer in pods):
        return
    for protocol in ("UDP", "TCP"):
        if not rule.ports or any(port.matches(protocol, 53, DNS_POD) for port in rule.ports):
            yield f"{ip} daddr @{DNS} meta l4proto {protocol.lower()} th dport 53 accept"


def _port_matches(rule: Rule, compiled: Compiled) -> list[str]:
    """The matches of a rule's ports, one empty match for all ports."""
    if not rule.ports:
        return [""]
    ranges = script.port_ranges(rule.ports)
    matches = [script.numbered(protocol, spans) for protocol, spans in ranges.items()]
    for port in rule.ports:
        if port.name:
            name = f"n-{_digest(port.protocol, port.name)}"
            compiled.names[name] = port
            protocol = port.protocol.lower()
            ip = compiled.version.ip
            matches.append(f"meta l4proto {protocol} {ip} daddr . th dport @{name}")
    return list(dict.fromkeys(matches))


def _peer_matches(rule: Rule, field: str, compiled: Compiled) -> list[str]:
    """The matches of a rule's peers, one empty match for all peers."""
    if not rule.peers:
        return [""]
    networks = [peer for peer in rule.peers if isinstance(peer, BlockPeer)]
    matches = script.blocks(networks, field, compiled.version)
    for peer in rule.peers:
        if isinstance(peer, PodPeer):
            name = f"p-{_digest(peer.namespace, str(peer.namespaces), str(peer.pods))}"
            compiled.peers[name] = peer
            matches.append(f"{compiled.version.ip} {field} @{name}")
    return list(dict.fromkeys(matches))
