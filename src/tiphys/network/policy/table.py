"""The ruleset of one node, kept as pods, namespaces and policies change. Pure: facts in, `Changes`
for nft out.

A changed pod costs a look at each set of peers that its node uses, and the elements that differ;
no more. Only what policies about pods of this node need is there.
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
from tiphys.network.policy.memberships import Memberships, Pods
from tiphys.network.policy.model import Labels, PodFacts, PodPeer, Policy, PortMatch
from tiphys.network.policy.script import DNS, EGRESS, INGRESS, IPV4, SELF, Changes, Version

_DIRECTIONS = (INGRESS, EGRESS)


class PolicyTable:
    """`node`: whose pods are isolated here; `version` is that of the addresses."""

    def __init__(self, node: str, version: Version = IPV4) -> None:
        self._node = node
        self._version = version
        self._pods = Pods()
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
        self._memberships = Memberships(self._pods, self._namespaces)
        self._written_sets: set[str] = set()
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
        self._pods.put(pod)
        self._memberships.put_pod(pod)
        if pod.node == self._node:
            if old is not None and old.address != pod.address:
                self._ungroup(old)
            self._regroup.add(pod.key)

    def drop_pod(self, key: str) -> None:
        old = self._pods.pop(key)
        if old is None:
            return
        self._memberships.drop_pod(key)
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
        self._memberships.relabel(name, before, labels)
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
        pods = self._pods.of(namespace)
        self._regroup.update(pod.key for pod in pods if pod.node == self._node)

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
        sets = self._memberships.sets
        changes = Changes(
            new_sets=self._types(sets.keys() - self._written_sets),
            old_sets=[name for name in self._written_sets if name not in sets],
            chains={
                name: rules
                for name, rules in self._chains.items()
                if self._written_chains.get(name) != rules
            },
            old_chains=[name for name in self._written_chains if name not in self._chains],
        )
        self._written_sets = set(sets)
        self._written_chains = dict(self._chains)
        for name, elements in self._element_sets():
            added, removed = elements.take()
            if added:
                changes.added[name] = added
            if removed:
                changes.removed[name] = removed
        return changes

    def everything(self) -> Changes:
        """Everything, for a table that is empty."""
        self.changes()
        elements = {name: list(rows) for name, rows in self._element_sets() if len(rows)}
        return Changes(
            new_sets=self._types(self._memberships.sets),
            chains=dict(self._chains),
            added=elements,
        )

    def _types(self, sets: Iterable[str]) -> dict[str, str]:
        return {name: self._memberships.type_of(name) for name in sets}

    def _element_sets(self) -> Iterator[tuple[str, Elements | Verdicts]]:
        yield SELF, self._self
        yield DNS, self._dns
        yield from self._memberships.sets.items()
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
        """Chains are compiled again when a group gets its first pod or loses its last."""
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
        self._memberships.keep(peers, names)

    def _policy(self, direction: str, key: str) -> Compiled:
        policy = self._policies[key.partition("/")[0]][key]
        return compile_policy(policy, direction, self._namespaces, self._version)
