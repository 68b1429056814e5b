"""The ruleset of one node, kept as pods, namespaces and policies change. Pure: facts in, `Changes`
for nft out.

A changed pod costs a look at each set of peers that its node uses, and the elements that differ;
nothing is computed anew. Only what policies about pods of this node need is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tiphys.network.policy.chains import (
    DNS_POD,
    Compiled,
    Group,
    compile_policy,
    group_chain,
    group_rules,
    policy_chain,
)
from tiphys.network.policy.elements import Elements, Verdicts
from tiphys.network.policy.model import Labels, PodFacts, PodPeer, Policy, PortMatch
from tiphys.network.policy.script import (
    ADDRESS_PORTS,
    ADDRESSES,
    DNS,
    EGRESS,
    INGRESS,
    SELF,
    Changes,
)

_DIRECTIONS = (INGRESS, EGRESS)


class PolicyTable:
    """`node`: whose pods are isolated here."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._pods: dict[str, PodFacts] = {}
        self._by_namespace: dict[str, set[str]] = {}
        self._namespaces: dict[str, Labels] = {}
        self._policies: dict[str, dict[str, Policy]] = {}  # namespace → key → policy
        self._groups: dict[str, dict[str, Group]] = {}  # local pod → direction → group
        self._uses: Counter[tuple[str, Group]] = Counter()  # how many local pods are of a group
        self._chains: dict[str, tuple[str, ...]] = {}
        self._compiled: dict[
            str, Compiled
        ] = {}  # by the policy's chain, while nothing it depends on changes
        self._written: dict[str, tuple[str, ...]] = {}
        self._peers: dict[str, PodPeer] = {}  # set → whom it holds
        self._names: dict[str, PortMatch] = {}  # set → which port it holds
        self._sets: dict[str, Elements] = {}
        self._written_sets: set[str] = set()
        self._memberships: dict[str, dict[str, list[str]]] = {}  # pod → set → its elements there
        self._verdicts = {direction: Verdicts() for direction in _DIRECTIONS}
        self._self, self._dns = Elements(), Elements()
        self._addresses_of_dns: frozenset[str] = frozenset()
        self._regroup: set[str] = set()  # local pods that other policies may be about now
        self._compile = False

    # --- what is so ---

    def put_pod(self, pod: PodFacts) -> None:
        """A pod as it is now."""
        old = self._pods.get(pod.key)
        if old == pod:
            return
        if old is not None and old.node != pod.node:
            self.drop_pod(old.key)
        self._pods[pod.key] = pod
        self._by_namespace.setdefault(pod.namespace, set()).add(pod.key)
        if self._sets:
            self._enlist(pod)
        if pod.node == self._node:
            if old is not None and old.address != pod.address:
                self._let_go(old)
            self._regroup.add(pod.key)

    def drop_pod(self, key: str) -> None:
        old = self._pods.pop(key, None)
        if old is None:
            return
        keys = self._by_namespace[old.namespace]
        keys.discard(key)
        if not keys:
            del self._by_namespace[old.namespace]
        self._resign(key, self._memberships.pop(key, {}), {})
        self._regroup.discard(key)
        self._let_go(old)

    def put_namespace(self, name: str, labels: Labels | None) -> None:
        """The labels of a namespace, None for one that is gone."""
        before = self._namespaces.get(name)
        if before == labels:
            return
        if labels is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = labels
        changed = [
            set_name for set_name, peer in self._peers.items() if _minds(peer, before, labels)
        ]
        for key in self._by_namespace.get(name, ()) if changed else ():
            for set_name in changed:
                self._reconsider(self._pods[key], set_name)
        if name == DNS_POD.namespace:
            self._compiled.clear()
            self._compile = True

    def put_policy(self, key: str, policy: Policy | None) -> None:
        """A policy as it is now, None for one that is gone."""
        namespace = key.partition("/")[0]
        policies = self._policies.setdefault(namespace, {})
        if policies.get(key) == policy:
            return
        if policy is not None:
            policies[key] = policy
        else:
            del policies[key]
        for direction in _DIRECTIONS:
            self._compiled.pop(policy_chain(direction, key), None)
        self._compile = True
        keys = self._by_namespace.get(namespace, ())
        self._regroup.update(k for k in keys if self._pods[k].node == self._node)

    def put_dns(self, addresses: Iterable[str]) -> None:
        """Where the cluster's DNS servers are."""
        wanted = frozenset(addresses)
        self._dns.replace(self._addresses_of_dns, wanted)
        self._addresses_of_dns = wanted

    def isolates(self, key: str) -> bool:
        """Whether some policy is about a local pod."""
        pod = self._pods.get(key)
        return pod is not None and any(policy.selects(pod) for policy in self._about(pod.namespace))

    # --- what to write ---

    def changes(self) -> Changes:
        """What has changed since the last call."""
        for key in self._regroup:
            self._group(self._pods[key])
        self._regroup.clear()
        if self._compile:
            self._compile = False
            self._compile_chains()
        made = Changes()
        made.new_sets = {
            name: ADDRESSES if name in self._peers else ADDRESS_PORTS
            for name in self._sets.keys() - self._written_sets
        }
        made.old_sets = [name for name in self._written_sets if name not in self._sets]
        self._written_sets = set(self._sets)
        made.chains = {
            name: rules for name, rules in self._chains.items() if self._written.get(name) != rules
        }
        made.old_chains = [name for name in self._written if name not in self._chains]
        self._written = dict(self._chains)
        for name, elements in self._element_sets():
            added, removed = elements.take()
            if added:
                made.added[name] = added
            if removed:
                made.removed[name] = removed
        return made

    def whole(self) -> Changes:
        """Everything, for a table that is empty."""
        self.changes()
        sets = {name: ADDRESSES if name in self._peers else ADDRESS_PORTS for name in self._sets}
        elements = {name: list(rows) for name, rows in self._element_sets() if len(rows)}
        return Changes(new_sets=sets, chains=dict(self._chains), added=elements)

    def _element_sets(self) -> Iterator[tuple[str, Elements | Verdicts]]:
        yield SELF, self._self
        yield DNS, self._dns
        yield from self._sets.items()
        yield from self._verdicts.items()

    # --- local pods and the policies about them ---

    def _about(self, namespace: str) -> Iterable[Policy]:
        return self._policies.get(namespace, {}).values()

    def _group(self, pod: PodFacts) -> None:
        """Finds the policies about a local pod, and leads its packets to them."""
        policies = self._about(pod.namespace) if pod.address else ()
        about = [policy for policy in policies if policy.selects(pod)]
        before = self._groups.get(pod.key, {})
        after: dict[str, Group] = {}
        for direction in _DIRECTIONS:
            if keys := sorted(
                policy.key for policy in about if policy.rules(direction) is not None
            ):
                after[direction] = tuple(keys)
        if after == before:
            return
        self._let_go(pod)
        for direction, group in after.items():
            self._verdicts[direction].put(
                pod.address, pod.key, f"goto {group_chain(direction, group)}"
            )
            self._use(direction, group, 1)
        if after:
            self._self.add(f"{pod.address} . {pod.address}")
            self._groups[pod.key] = after

    def _let_go(self, pod: PodFacts) -> None:
        groups = self._groups.pop(pod.key, None)
        if groups is None:
            return
        for direction, group in groups.items():
            self._verdicts[direction].drop(pod.address, pod.key)
            self._use(direction, group, -1)
        self._self.discard(f"{pod.address} . {pod.address}")

    def _use(self, direction: str, group: Group, more: int) -> None:
        """Chains are compiled anew when a group gets its first pod or loses its last."""
        before = self._uses[direction, group]
        self._uses[direction, group] = before + more
        if not before or not before + more:
            self._compile = True
        if not before + more:
            del self._uses[direction, group]

    # --- chains ---

    def _compile_chains(self) -> None:
        peers: dict[str, PodPeer] = {}
        names: dict[str, PortMatch] = {}
        chains: dict[str, tuple[str, ...]] = {}
        compiled: dict[str, Compiled] = {}
        for direction, group in sorted(self._uses):
            for key in group:
                chain = policy_chain(direction, key)
                if chain not in compiled:
                    compiled[chain] = self._compiled.get(chain) or self._policy(direction, key)
            chains[group_chain(direction, group)] = group_rules(direction, group)
        for one in compiled.values():
            chains |= one.chains
            peers |= one.peers
            names |= one.names
        self._chains, self._compiled = chains, compiled
        self._hold(peers, names)

    def _policy(self, direction: str, key: str) -> Compiled:
        return compile_policy(
            self._policies[key.partition("/")[0]][key], direction, self._namespaces
        )

    # --- sets ---

    def _hold(self, peers: dict[str, PodPeer], names: dict[str, PortMatch]) -> None:
        """Fills the sets that are new, and gives up those that nobody names any more."""
        gone = [name for name in self._sets if name not in peers and name not in names]
        for name in gone:
            del self._sets[name]
        if gone:
            for key, rows in list(self._memberships.items()):
                for name in gone:
                    rows.pop(name, None)
                if not rows:
                    del self._memberships[key]
        new = [name for name in (*peers, *names) if name not in self._sets]
        self._peers, self._names = peers, names
        for name in new:
            self._sets[name] = Elements()
            for pod in self._candidates(peers.get(name)):
                if elements := self._elements_of(pod, name):
                    self._memberships.setdefault(pod.key, {})[name] = elements
                    for element in elements:
                        self._sets[name].add(element)

    def _candidates(self, peer: PodPeer | None) -> Iterable[PodFacts]:
        if peer is None or peer.namespaces is not None:
            return self._pods.values()
        return [self._pods[key] for key in self._by_namespace.get(peer.namespace, ())]

    def _elements_of(self, pod: PodFacts, name: str) -> list[str]:
        if not pod.address:
            return []
        peer = self._peers.get(name)
        if peer is not None:
            return [pod.address] if peer.selects(pod, self._namespaces) else []
        match = self._names[name]
        named = [
            port for port in pod.ports if (port.name, port.protocol) == (match.name, match.protocol)
        ]
        return [f"{pod.address} . {port.number}" for port in named]

    def _reconsider(self, pod: PodFacts, name: str) -> None:
        """Whether a pod belongs to one set now."""
        rows = self._memberships.get(pod.key, {})
        before, after = rows.get(name, []), self._elements_of(pod, name)
        if before == after:
            return
        self._sets[name].replace(before, after)
        rows = {key: elements for key, elements in rows.items() if key != name}
        if after:
            rows[name] = after
        if rows:
            self._memberships[pod.key] = rows
        else:
            self._memberships.pop(pod.key, None)

    def _enlist(self, pod: PodFacts) -> None:
        """Puts a pod into the sets it belongs to now, and takes it out of the others."""
        found = ((name, self._elements_of(pod, name)) for name in self._sets)
        after = {name: elements for name, elements in found if elements}
        self._resign(pod.key, self._memberships.get(pod.key, {}), after)
        if after:
            self._memberships[pod.key] = after
        else:
            self._memberships.pop(pod.key, None)

    def _resign(self, key: str, before: dict[str, list[str]], after: dict[str, list[str]]) -> None:
        for name in before.keys() | after.keys():
            old, new = before.get(name, []), after.get(name, [])
            if old != new:
                self._sets[name].replace(old, new)


def _minds(peer: PodPeer, before: Labels | None, after: Labels | None) -> bool:
    """Whether the labels of a namespace make a difference to whom a peer selects there. Mostly they
    make none."""
    selector = peer.namespaces
    if selector is None:
        return False
    was, now = (labels is not None and selector.matches(labels) for labels in (before, after))
    return was != now
