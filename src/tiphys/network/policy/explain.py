"""What policies say about a pod, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tiphys.network.policy.model import (
    LAST_PORT,
    PROTOCOLS,
    Peer,
    PodFacts,
    Policy,
    PortMatch,
    Rule,
)
from tiphys.network.policy.semantics import Connection, Party, Semantics, Verdict

_DIRECTIONS = ("ingress", "egress")
_FIRST_PORT = 1


def about(semantics: Semantics, pod: PodFacts) -> Iterator[str]:
    """All that policies say about a pod, line by line."""
    if not pod.address:
        yield f"{pod.key} has no address of its own: no policy is about it"
        return
    place = f" on node {pod.node}" if pod.node else ""
    yield f"{pod.key} at {pod.address}{place}"
    for direction in _DIRECTIONS:
        yield from _about_direction(direction, semantics.isolating(pod, direction))


def _about_direction(direction: str, policies: list[Policy]) -> Iterator[str]:
    title = direction.capitalize()
    if not policies:
        yield f"{title}: open, no policy is about it"
        return
    yield f"{title}: isolated by {', '.join(policy.key for policy in policies)}"
    for policy in policies:
        for number, rule in enumerate(policy.rules(direction) or (), 1):
            source = f"{policy.key}, {direction} rule {number}"
            yield f"  allowed: {_rule(rule, direction)} ({source})"
    itself = " and itself" if direction == "ingress" else ""
    yield f"  nothing else, but for its own node{itself}"


def _rule(rule: Rule, direction: str) -> str:
    preposition = "from" if direction == "ingress" else "to"
    return f"{preposition} {_peers(rule.peers)} at {_ports(rule.ports)}"


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
            verdict = semantics.verdict(direction, wanted)
            yield f"  {direction} of {party.key}: {_reason(verdict, direction)}"


def _reason(verdict: Verdict, direction: str) -> str:
    if not verdict.policies:
        return "open, no policy is about it"
    if not verdict.reasons:
        policies = ", ".join(verdict.policies)
        return f"denied, isolated by {policies}, none of whose rules allows it"
    rules = (f"{key} ({direction} rule {number})" for key, number in verdict.reasons)
    return f"allowed by {', '.join(rules)}"


def open_ports(semantics: Semantics, source: Party, target: Party) -> list[PortMatch]:
    """The ports at which one reaches the other. The answer changes only where a rule's range starts
    or ends or a named port is, so a look at each of these places is enough."""
    edges = sorted(_edges(semantics, source, target))
    ports: list[PortMatch] = []
    for protocol in PROTOCOLS:
        ranges: list[PortMatch] = []
        for first, next_edge in zip(edges, [*edges[1:], LAST_PORT + 1], strict=True):
            if semantics.allows(Connection(source, target, protocol, first)):
                _extend(ranges, PortMatch(protocol, first, next_edge - 1))
        ports += map(_simplified, ranges)
    return ports


def _extend(ranges: list[PortMatch], ports: PortMatch) -> None:
    """Appends ports, or makes the last range longer that they follow upon."""
    if ranges and ranges[-1].last == ports.first - 1:
        ranges[-1] = replace(ranges[-1], last=ports.last)
    else:
        ranges.append(ports)


def _simplified(ports: PortMatch) -> PortMatch:
    """All ports of a protocol are shown as the protocol alone."""
    is_whole = (ports.first, ports.last) == (_FIRST_PORT, LAST_PORT)
    return PortMatch(ports.protocol) if is_whole else ports


def _edges(semantics: Semantics, source: Party, target: Party) -> set[int]:
    """The ports at which the answer may be another than at the one before."""
    edges = {_FIRST_PORT}
    for direction, party in (("egress", source), ("ingress", target)):
        policies = semantics.isolating(party, direction) if isinstance(party, PodFacts) else []
        for policy in policies:
            for rule in policy.rules(direction) or ():
                edges |= _edges_of(rule)
    for named in target.ports if isinstance(target, PodFacts) else ():
        edges |= {named.number, named.number + 1}
    return {edge for edge in edges if _FIRST_PORT <= edge <= LAST_PORT}


def _edges_of(rule: Rule) -> set[int]:
    numbered = [port for port in rule.ports if not port.name]
    return {port.first for port in numbered} | {port.last + 1 for port in numbered}


def reach(semantics: Semantics, source: Party, target: Party) -> tuple[bool, str]:
    """Whether one reaches the other at all, and where."""
    ports = open_ports(semantics, source, target)
    ends = f"{name_of(source)} to {name_of(target)}"
    if not ports:
        return False, f"{ends}: denied at every port"
    if ports == [PortMatch(protocol) for protocol in PROTOCOLS]:
        return True, f"{ends}: allowed at all ports"
    return True, f"{ends}: allowed at {_ports(ports)}"
