"""A second reading of the words about network policies, straight from the API's objects, and a
kernel that is a dict.

`allowed` is what the documentation of NetworkPolicySpec says, as naively as it can be written.
`Kernel` takes the changes of a `PolicyTable` as nft would (what is not there cannot be deleted,
what is named cannot go) and says what becomes of a packet.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import networking_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.network.policy.model import NamedPort, PodFacts
from tiphys.network.policy.script import Changes

HTTP = NamedPort("http", "TCP", 80)


def policy(name: str, namespace: str = "x", **spec: Any) -> networking_v1.NetworkPolicy:
    """A policy; `spec` is given in JSON's names. It selects all pods of its namespace unless it
    says otherwise."""
    spec.setdefault("podSelector", {})
    made = networking_v1.NetworkPolicy(metadata=ObjectMeta(name=name, namespace=namespace))
    made.spec = from_builtins(spec, networking_v1.NetworkPolicySpec)
    return made


def facts(
    name: str, address: str, namespace: str = "x", node: str = "n1", **labels: str
) -> PodFacts:
    return PodFacts(namespace, name, labels, address, node, (HTTP,))


# --- what is documented ---


def _selected(selector: LabelSelector, labels: Any) -> bool:
    for expression in selector.match_expressions:
        value = labels.get(expression.key)
        if not {
            "In": value in expression.values,
            "NotIn": value not in expression.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[expression.operator]:
            return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items())


def _peer(
    peer: networking_v1.NetworkPolicyPeer, home: str, other: PodFacts, namespaces: Any
) -> bool:
    if peer.ip_block is not None:
        address = ipaddress.ip_address(other.address)
        inside = address in ipaddress.ip_network(peer.ip_block.cidr)
        return inside and not any(
            address in ipaddress.ip_network(part) for part in peer.ip_block.except_
        )
    if other.namespace == "":  # no pod
        return False
    if peer.namespace_selector is None:
        right_namespace = other.namespace == home
    else:
        right_namespace = _selected(peer.namespace_selector, namespaces[other.namespace])
    return right_namespace and (
        peer.pod_selector is None or _selected(peer.pod_selector, other.labels)
    )


def _port(
    wanted: networking_v1.NetworkPolicyPort, target: PodFacts, protocol: str, port: int
) -> bool:
    if (wanted.protocol or "TCP") != protocol:
        return False
    if isinstance(wanted.port, str):
        return any(
            (p.name, p.protocol, p.number) == (wanted.port, protocol, port) for p in target.ports
        )
    return wanted.port is None or wanted.port <= port <= (wanted.end_port or wanted.port)


def _side(
    kind: str,
    policies: Any,
    namespaces: Any,
    source: PodFacts,
    target: PodFacts,
    protocol: str,
    port: int,
) -> bool:
    pod, other = (target, source) if kind == "Ingress" else (source, target)
    about = [
        p
        for p in policies
        if kind in p.spec.policy_types
        and p.metadata.namespace == pod.namespace
        and _selected(p.spec.pod_selector, pod.labels)
    ]
    for one in about:
        rows = (
            [(r.from_, r.ports) for r in one.spec.ingress]
            if kind == "Ingress"
            else [(r.to, r.ports) for r in one.spec.egress]
        )
        for peers, ports in rows:
            if not peers or any(
                _peer(peer, one.metadata.namespace, other, namespaces) for peer in peers
            ):
                if not ports or any(_port(p, target, protocol, port) for p in ports):
                    return True
    return not about


def allowed(
    policies: Any, namespaces: Any, source: PodFacts, target: PodFacts, protocol: str, port: int
) -> bool:
    """Whether a connection is allowed. What is no pod has no namespace."""
    if source.address == target.address:
        return True
    asked = (policies, namespaces, source, target, protocol, port)
    return _side("Egress", *asked) and _side("Ingress", *asked)


# --- a kernel ---


@dataclass
class Kernel:
    sets: dict[str, set[str]] = field(default_factory=lambda: {"self": set(), "dns": set()})
    maps: dict[str, dict[str, str]] = field(default_factory=lambda: {"ingress": {}, "egress": {}})
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def take(self, changes: Changes) -> None:
        for name in changes.new_sets:
            assert name not in self.sets
            self.sets[name] = set()
        for name, elements in changes.removed.items():
            for element in elements:
                self._remove(name, element)
        self.chains |= changes.chains
        for name, elements in changes.added.items():
            for element in elements:
                self._add(name, element)
        for name in changes.old_chains:
            del self.chains[name]
        for name in changes.old_sets:
            del self.sets[name]
        self._check()

    def _remove(self, name: str, element: str) -> None:
        if name in self.maps:
            key, _, verdict = element.partition(" : ")
            assert self.maps[name].pop(key) == verdict
        else:
            self.sets[name].remove(element)

    def _add(self, name: str, element: str) -> None:
        if name in self.maps:
            key, _, verdict = element.partition(" : ")
            assert key not in self.maps[name]
            self.maps[name][key] = verdict
        else:
            assert element not in self.sets[name]
            self.sets[name].add(element)

    def _check(self) -> None:
        """Whatever is named is there."""
        for rules in self.chains.values():
            for rule in rules:
                assert all(name in self.sets for name in re.findall(r"@(\S+)", rule)), rule
                assert all(name in self.chains for name in re.findall(r"jump (\S+)", rule)), rule
        for rows in self.maps.values():
            assert all(verdict.removeprefix("goto ") in self.chains for verdict in rows.values())

    def passes(self, source: str, target: str, protocol: str, port: int) -> bool:
        """What the two base chains do with the first packet of a connection."""
        if f"{source} . {target}" in self.sets["self"]:
            return True
        packet = {"saddr": source, "daddr": target, "l4proto": protocol.lower(), "dport": str(port)}
        chains = (self.maps["egress"].get(source), self.maps["ingress"].get(target))
        return all(
            self._verdict(chain.removeprefix("goto "), packet) == "accept"
            for chain in chains
            if chain
        )

    def _verdict(self, chain: str, packet: dict[str, str]) -> str:
        for rule in self.chains[chain]:
            if not self._matches(rule, packet):
                continue
            last = rule.split()[-1]
            if last in ("accept", "drop"):
                return last
            if verdict := self._verdict(last, packet):
                return verdict
        return ""

    def _matches(self, rule: str, packet: dict[str, str]) -> bool:
        if "ip daddr . th dport @" in rule:
            name = rule.split("ip daddr . th dport @")[1].split()[0]
            if f"{packet['daddr']} . {packet['dport']}" not in self.sets[name]:
                return False
            rule = rule.replace(f"ip daddr . th dport @{name}", "")
        pattern = r"(saddr|daddr|l4proto|dport) (!= )?(\{[^}]*\}|\S+)"
        return all(
            self._among(packet[name], values) != bool(negated)
            for name, negated, values in re.findall(pattern, rule)
        )

    def _among(self, value: str, values: str) -> bool:
        if values.startswith("@"):
            return value in self.sets[values[1:]]
        for one in values.strip("{} ").split(", "):
            if value == one:
                return True
            if "." in one and "-" in one:
                first, last = (ipaddress.ip_address(part) for part in one.split("-"))
                if first <= ipaddress.ip_address(value) <= last:  # type: ignore[operator]
                    return True
            elif "." in one and ipaddress.ip_address(value) in ipaddress.ip_network(one):
                return True
            if re.fullmatch(r"\d+-\d+", one) and int(one.split("-")[0]) <= int(value) <= int(
                one.split("-")[1]
            ):
                return True
        return False
