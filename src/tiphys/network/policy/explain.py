"""What policies say about a pod, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tiphys.network.policy.model import PROTOCOLS, Peer, PodFacts, Policy, PortMatch, Rule
from tiphys.network.policy.semantics import Connection, Party, Semantics, Verdict

_DIRECTIONS = ("ingress", "egress")
_PORTS = range(1, 65536)


def about(semantics: Semantics, pod: PodFacts) -> Iterator[str]:
    """All that policies say about a pod, line by line."""
    if not pod.address:
        yield f"{pod.key} has no address of its own: no policy is about it"
        return
    yield f"{pod.key} at {pod.address}" + (f" on node {pod.node}" if pod.node else "")
    for direction in _DIRECTIONS:
        policies = semantics.isolating(pod, direction)
        if not policies:
            yield f"{direction.capitalize()}: open, no policy is about it"
            continue
        yield f"{direction.capitalize()}: isolated by {_names(policies)}"
        rules = [
            (policy, *row)
            for policy in policies
            for row in enumerate(policy.rules(direction) or (), 1)
        ]
        for policy, number, rule in rules:
            yield f"  allowed: {_rule(rule, direction)} ({policy.key}, {direction} rule {number})"
        yield f"  nothing else, but for its own node{' and itself' if direction == 'ingress' else ''}"


def _names(policies: Iterable[Policy]) -> str:
    return ", ".join(policy.key for policy in policies)


def _rule(rule: Rule, direction: str) -> str:
    return (
        f"{'from' if direction == 'ingress' else 'to'} {_peers(rule.peers)} at {_ports(rule.ports)}"
    )


def _peers(peers: tuple[Peer, ...]) -> str:
    return " or ".join(map(str, peers)) if peers else "anywhere"


def _ports(ports: Iterable[PortMatch]) -> str:
    return ", ".join(map(str, ports)) or "all ports"


def name_of(party: Party) -> str:
    return party if isinstance(party, str) else party.key


def between(semantics: Semantics, wanted: Connection) -> Iterator[str]:
    """Whether one connection is allowed, and by what."""
    answer = "allowed" if semantics.allows(wanted) else "denied"
    ends = f"{name_of(wanted.source)} to {name_of(wanted.target)}"
    yield f"{ends} at {wanted.protocol} {wanted.port}: {answer}"
    if wanted.source == wanted.target:
        yield "  a pod always reaches itself"
        return
    for direction, party in (("egress", wanted.source), ("ingress", wanted.target)):
        if isinstance(party, PodFacts):
            yield f"  {direction} of {party.key}: {_why(semantics.verdict(direction, wanted), direction)}"


def _why(verdict: Verdict, direction: str) -> str:
    if not verdict.policies:
        return "open, no policy is about it"
    if verdict.reasons:
        return "allowed by " + ", ".join(
            f"{key} ({direction} rule {number})" for key, number in verdict.reasons
        )
    return f"denied, isolated by {', '.join(verdict.policies)}, none of whose rules allows it"


def open_ports(semantics: Semantics, source: Party, target: Party) -> list[PortMatch]:
    """The ports at which one reaches the other. Policies change their mind only where a rule's
    range begins or ends or a named port is, so a look at each of these places is enough."""
    found: list[PortMatch] = []
    edges = sorted(_edges(semantics, source, target))
    for protocol in PROTOCOLS:
        ranges: list[PortMatch] = []
        for first, after in zip(edges, [*edges[1:], _PORTS.stop], strict=True):
            if not semantics.allows(Connection(source, target, protocol, first)):
                continue
            if ranges and ranges[-1].last == first - 1:
                ranges[-1] = replace(ranges[-1], last=after - 1)
            else:
                ranges.append(PortMatch(protocol, first, after - 1))
        found += [
            PortMatch(protocol) if (r.first, r.last) == (1, _PORTS[-1]) else r for r in ranges
        ]
    return found


def _edges(semantics: Semantics, source: Party, target: Party) -> set[int]:
    edges = {1}
    for direction, party in (("egress", source), ("ingress", target)):
        policies = semantics.isolating(party, direction) if isinstance(party, PodFacts) else []
        rules = [rule for policy in policies for rule in policy.rules(direction) or ()]
        for port in (port for rule in rules for port in rule.ports if not port.name):
            edges |= {port.first, port.last + 1}
    for named in target.ports if isinstance(target, PodFacts) else ():
        edges |= {named.number, named.number + 1}
    return edges & set(_PORTS)


def reach(semantics: Semantics, source: Party, target: Party) -> tuple[bool, str]:
    """Whether one reaches the other at all, and where."""
    ports = open_ports(semantics, source, target)
    ends = f"{name_of(source)} to {name_of(target)}"
    if ports == [PortMatch(protocol) for protocol in PROTOCOLS]:
        return True, f"{ends}: allowed at all ports"
    return bool(ports), f"{ends}: " + (
        f"allowed at {_ports(ports)}" if ports else "denied at every port"
    )
