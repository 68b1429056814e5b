"""What policies allow, by the words of the API's documentation: slow, short, and asked by people
and by tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tiphys.network.policy.model import BlockPeer, Namespaces, Peer, PodFacts, Policy, Rule

Party = PodFacts | str
"""One end of a connection: a pod, or the address of something else."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection to be made: where from, where to, and at which port of which protocol."""

    source: Party
    target: Party
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """In one direction. `policies` are those that isolate the pod: none means that it is open.
    `reasons` are what allows the connection, as (policy, number of its rule from 1)."""

    policies: tuple[str, ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()

    @property
    def allowed(self) -> bool:
        return not self.policies or bool(self.reasons)


class Semantics:
    """Policies and the labels of namespaces, to be asked."""

    def __init__(self, policies: Iterable[Policy], namespaces: Namespaces) -> None:
        self._policies = sorted(policies, key=lambda policy: policy.key)
        self._namespaces = namespaces

    def isolating(self, pod: PodFacts, direction: str) -> list[Policy]:
        """The policies that are about a pod in a direction ("ingress" or "egress")."""
        if not pod.address:
            return []
        about = [policy for policy in self._policies if policy.rules(direction) is not None]
        return [policy for policy in about if policy.selects(pod)]

    def allows(self, wanted: Connection) -> bool:
        """Whether both ends allow it. A pod always reaches itself."""
        if wanted.source == wanted.target:
            return True
        return self.verdict("egress", wanted).allowed and self.verdict("ingress", wanted).allowed

    def verdict(self, direction: str, wanted: Connection) -> Verdict:
        """What the pod at that end of the connection has to say: its source for egress, its target
        for ingress."""
        pod = wanted.source if direction == "egress" else wanted.target
        if isinstance(pod, str):
            return Verdict()
        policies = self.isolating(pod, direction)
        reasons = [
            (policy.key, number)
            for policy in policies
            for number, rule in enumerate(policy.rules(direction) or (), 1)
            if self._applies(rule, direction, wanted)
        ]
        return Verdict(tuple(policy.key for policy in policies), tuple(reasons))

    def _applies(self, rule: Rule, direction: str, wanted: Connection) -> bool:
        other = wanted.target if direction == "egress" else wanted.source
        if rule.peers and not any(self.includes(peer, other) for peer in rule.peers):
            return False
        if not rule.ports:
            return True
        target = wanted.target if isinstance(wanted.target, PodFacts) else None
        return any(port.matches(wanted.protocol, wanted.port, target) for port in rule.ports)

    def includes(self, peer: Peer, party: Party) -> bool:
        if isinstance(peer, BlockPeer):
            return peer.contains(party if isinstance(party, str) else party.address)
        if isinstance(party, str) or not party.address:
            return False
        return peer.selects(party, self._namespaces)
