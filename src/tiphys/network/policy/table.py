"""The ruleset of one node, kept as pods, namespaces and policies change. Pure: facts in, `Changes`
for nft out.

A changed pod costs a look at each set of peers that its node uses, and the elements that differ;
nothing is computed anew. Only what policies about pods of this node need is there.
"""

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
        # Local pods that other policies may be about now.
        self._regroup: set[str] = set()
        self._groups: dict[str, dict[str, Group]] = {}  # local pod → direction → group
        self._uses: Counter[tuple[str, Group]] = Counter()  # how many local pods are of a group
        self._compile = False
        # By the policy's chain, while nothing that it depends on changes.
        self._compiled: dict[str, Compiled] = {}
        self._chains: dict[str, tuple[str, ...]] = {}
        self._written_chains: dict[str, tuple[str, ...]] = {}
        self._peers: dict[str, PodPeer] = {}  # set → whom it holds
        self._names: dict[str, PortMatch] = {}  # set → which port it holds
        self._sets: dict[str, Elements] = {}
        self._written_sets: set[str] = set()
        self._memberships: dict[str, dict[str, list[str]]] = {}  # pod → set → its elements there
        self._verdicts = {direction: Verdicts() for direction in _DIRECTIONS}
        self._self = Elements()
        self._dns = Elements()
        self._dns_addresses: frozenset[str] = frozenset()

    # --- the state of the cluster ---

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
            self._update_memberships(pod)
        if pod.node == self._node:
            if old is not None and old.address != pod.address:
                self._ungroup(old)
            self._regroup.add(pod.key)

    def drop_pod(self, key: str) -> None:
        old = self._pods.pop(key, None)
        if old is None:
            return
        keys = self._by_namespace[old.namespace]
        keys.discard(key)
        if not keys:
            del self._by_namespace[old.namespace]
        self._replace_elements(self._memberships.pop(key, {}), {})
        self._regroup.discard(key)
        self._ungroup(old)

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
            set_name for set_name, peer in self._peers.items() if _differs(peer, before, labels)
        ]
        for key in self._by_namespace.get(name, ()) if changed else ():
            for set_name in changed:
                self._update_membership(self._pods[key], set_name)
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
        self._dns.replace(self._dns_addresses, wanted)
        self._dns_addresses = wanted

    def isolates(self, key: str) -> bool:
        """Whether some policy is about a local pod."""
        pod = self._pods.get(key)
        if pod is None:
            return False
        return any(policy.selects(pod) for policy in self._policies_of(pod.namespace))

    # --- changes to write ---

    def changes(self) -> Changes:
        """What has changed since the last call."""
        for key in self._regroup:
            self._group(self._pods[key])
        self._regroup.clear()
        if self._compile:
            self._compile = False
            self._compile_chains()
        changes = Changes(
            new_sets=self._types(self._sets.keys() - self._written_sets),
            old_sets=[name for name in self._written_sets if name not in self._sets],
            chains={
                name: rules
                for name, rules in self._chains.items()
                if self._written_chains.get(name) != rules
            },
            old_chains=[name for name in self._written_chains if name not in self._chains],
        )
        self._written_sets = set(self._sets)
        self._written_chains = dict(self._chains)
        for name, elements in self._element_sets():
            added, removed = elements.take()
            if added:
                changes.added[name] = added
            if removed:
                changes.removed[name] = removed
        return changes

    def whole(self) -> Changes:
        """Everything, for a table that is empty."""
        self.changes()
        elements = {name: list(rows) for name, rows in self._element_sets() if len(rows)}
        return Changes(new_sets=self._types(self._sets), chains=dict(self._chains), added=elements)

    def _types(self, sets: Iterable[str]) -> dict[str, str]:
        return {name: ADDRESSES if name in self._peers else ADDRESS_PORTS for name in sets}

    def _element_sets(self) -> Iterator[tuple[str, Elements | Verdicts]]:
        yield SELF, self._self
        yield DNS, self._dns
        yield from self._sets.items()
        yield from self._verdicts.items()

    # --- local pods and the policies about them ---

    def _policies_of(self, namespace: str) -> Iterable[Policy]:
        return self._policies.get(namespace, {}).values()

    def _group(self, pod: PodFacts) -> None:
        """Finds the policies about a local pod, and leads its packets to them."""
        after = self._groups_of(pod)
        if after == self._groups.get(pod.key, {}):
            return
        self._ungroup(pod)
        for direction, group in after.items():
            self._verdicts[direction].put(
                pod.address, pod.key, f"goto {group_chain(direction, group)}"
            )
            self._use(direction, group, 1)
        if after:
            self._self.add(f"{pod.address} . {pod.address}")
            self._groups[pod.key] = after

    def _groups_of(self, pod: PodFacts) -> dict[str, Group]:
        """By direction; a direction in which no policy is about the pod is not in it."""
        if not pod.address:
            return {}
        about = [policy for policy in self._policies_of(pod.namespace) if policy.selects(pod)]
        groups: dict[str, Group] = {}
        for direction in _DIRECTIONS:
            keys = [policy.key for policy in about if policy.rules(direction) is not None]
            if keys:
                groups[direction] = tuple(sorted(keys))
        return groups

    def _ungroup(self, pod: PodFacts) -> None:
        """No policy is about a pod any more, or it has another address."""
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
        after = before + more
        self._uses[direction, group] = after
        if not before or not after:
            self._compile = True
        if not after:
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
        for policy in compiled.values():
            chains |= policy.chains
            peers |= policy.peers
            names |= policy.names
        self._chains = chains
        self._compiled = compiled
        self._keep_sets(peers, names)

    def _policy(self, direction: str, key: str) -> Compiled:
        return compile_policy(
            self._policies[key.partition("/")[0]][key], direction, self._namespaces
        )

    # --- sets ---

    def _keep_sets(self, peers: dict[str, PodPeer], names: dict[str, PortMatch]) -> None:
        """Fills the sets that are new, and gives up those that nobody names any more."""
        unused = [name for name in self._sets if name not in peers and name not in names]
        if unused:
            self._drop_sets(unused)
        new = [name for name in (*peers, *names) if name not in self._sets]
        self._peers = peers
        self._names = names
        for name in new:
            self._fill(name)

    def _drop_sets(self, names: list[str]) -> None:
        for name in names:
            del self._sets[name]
        for key, rows in list(self._memberships.items()):
            for name in names:
                rows.pop(name, None)
            if not rows:
                del self._memberships[key]

    def _fill(self, name: str) -> None:
        """Makes a set, with the elements of all pods that belong to it."""
        self._sets[name] = Elements()
        for pod in self._candidates(self._peers.get(name)):
            elements = self._elements_of(pod, name)
            if elements:
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
        return [
            f"{pod.address} . {port.number}"
            for port in pod.ports
            if (port.name, port.protocol) == (match.name, match.protocol)
        ]

    def _update_membership(self, pod: PodFacts, name: str) -> None:
        """Whether a pod belongs to one set now."""
        rows = self._memberships.get(pod.key, {})
        before = rows.get(name, [])
        after = self._elements_of(pod, name)
        if before == after:
            return
        self._sets[name].replace(before, after)
        others = {key: elements for key, elements in rows.items() if key != name}
        self._put_memberships(pod, others | {name: after} if after else others)

    def _put_memberships(self, pod: PodFacts, rows: dict[str, list[str]]) -> None:
        if rows:
            self._memberships[pod.key] = rows
        else:
            self._memberships.pop(pod.key, None)

    def _update_memberships(self, pod: PodFacts) -> None:
        """Puts a pod into the sets it belongs to now, and takes it out of the others."""
        everywhere = {name: self._elements_of(pod, name) for name in self._sets}
        after = {name: elements for name, elements in everywhere.items() if elements}
        self._replace_elements(self._memberships.get(pod.key, {}), after)
        self._put_memberships(pod, after)

    def _replace_elements(self, before: dict[str, list[str]], after: dict[str, list[str]]) -> None:
        for name in before.keys() | after.keys():
            old = before.get(name, [])
            new = after.get(name, [])
            if old != new:
                self._sets[name].replace(old, new)


def _differs(peer: PodPeer, before: Labels | None, after: Labels | None) -> bool:
    """Whether the labels of a namespace make a difference to whom a peer selects there. Mostly they
    make none."""
    selector = peer.namespaces
    if selector is None:
        return False
    was_selected = before is not None and selector.matches(before)
    is_selected = after is not None and selector.matches(after)
    return was_selected != is_selected
