"""Which pods are in which sets of the kernel, as both change. Pure.

There is a set for each peer and for each named port that some policy about a pod of this node has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tiphys.network.policy.elements import Elements
from tiphys.network.policy.model import Labels, Namespaces, PodFacts, PodPeer, PortMatch
from tiphys.network.policy.script import ADDRESS_PORTS, ADDRESSES


class Pods:
    """All pods of the cluster, by key and by namespace."""

    def __init__(self) -> None:
        self._pods: dict[str, PodFacts] = {}
        self._by_namespace: dict[str, dict[str, PodFacts]] = {}

    def __iter__(self) -> Iterator[PodFacts]:
        return iter(self._pods.values())

    def __getitem__(self, key: str) -> PodFacts:
        return self._pods[key]

    def get(self, key: str) -> PodFacts | None:
        return self._pods.get(key)

    def put(self, pod: PodFacts) -> None:
        self._pods[pod.key] = pod
        self._by_namespace.setdefault(pod.namespace, {})[pod.key] = pod

    def pop(self, key: str) -> PodFacts | None:
        pod = self._pods.pop(key, None)
        if pod is not None:
            in_namespace = self._by_namespace[pod.namespace]
            del in_namespace[key]
            if not in_namespace:
                del self._by_namespace[pod.namespace]
        return pod

    def of(self, namespace: str) -> Iterable[PodFacts]:
        return self._by_namespace.get(namespace, {}).values()


class Memberships:
    """The sets, and each pod's elements there.

    `pods` and `namespaces` are the table's own: they are changed there, and reported here.
    """

    def __init__(self, pods: Pods, namespaces: Namespaces) -> None:
        self._pods = pods
        self._namespaces = namespaces
        self._peers: dict[str, PodPeer] = {}  # set → whom it holds
        self._names: dict[str, PortMatch] = {}  # set → which port it holds
        self._elements: dict[str, dict[str, list[str]]] = {}  # pod → set → its elements there
        self.sets: dict[str, Elements] = {}

    def type_of(self, name: str) -> str:
        """The type of a set, as nft spells it."""
        return ADDRESSES if name in self._peers else ADDRESS_PORTS

    # --- sets come and go ---

    def keep(self, peers: dict[str, PodPeer], names: dict[str, PortMatch]) -> None:
        """Fills the sets that are new, and drops those that are no longer used."""
        unused = [name for name in self.sets if name not in peers and name not in names]
        if unused:
            self._drop_sets(unused)
        new = [name for name in (*peers, *names) if name not in self.sets]
        self._peers = peers
        self._names = names
        for name in new:
            self._fill(name)

    def _drop_sets(self, names: list[str]) -> None:
        for name in names:
            del self.sets[name]
        for key, rows in list(self._elements.items()):
            for name in names:
                rows.pop(name, None)
            if not rows:
                del self._elements[key]

    def _fill(self, name: str) -> None:
        """Makes a set, with the elements of all pods that belong to it."""
        self.sets[name] = Elements()
        for pod in self._candidates(self._peers.get(name)):
            elements = self._elements_of(pod, name)
            if elements:
                self._elements.setdefault(pod.key, {})[name] = elements
            for element in elements:
                self.sets[name].add(element)

    def _candidates(self, peer: PodPeer | None) -> Iterable[PodFacts]:
        if peer is None or peer.namespaces is not None:
            return self._pods
        return self._pods.of(peer.namespace)

    # --- pods come and go ---

    def put_pod(self, pod: PodFacts) -> None:
        """Puts a pod into the sets it belongs to now, and takes it out of the others."""
        everywhere = {name: self._elements_of(pod, name) for name in self.sets}
        after = {name: elements for name, elements in everywhere.items() if elements}
        self._replace(self._elements.get(pod.key, {}), after)
        self._put_elements(pod, after)

    def drop_pod(self, key: str) -> None:
        self._replace(self._elements.pop(key, {}), {})

    def _elements_of(self, pod: PodFacts, name: str) -> list[str]:
        """What a pod has in a set; nothing, where it does not belong to it."""
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

    def _replace(self, before: dict[str, list[str]], after: dict[str, list[str]]) -> None:
        for name in before.keys() | after.keys():
            old = before.get(name, [])
            new = after.get(name, [])
            if old != new:
                self.sets[name].replace(old, new)

    def _put_elements(self, pod: PodFacts, rows: dict[str, list[str]]) -> None:
        if rows:
            self._elements[pod.key] = rows
        else:
            self._elements.pop(pod.key, None)

    # --- namespaces change ---

    def relabel(self, namespace: str, before: Labels | None, after: Labels | None) -> None:
        """The labels of a namespace were others; None: it was not there, or is not any more."""
        changed = [name for name, peer in self._peers.items() if _differs(peer, before, after)]
        if not changed:
            return
        for pod in self._pods.of(namespace):
            for name in changed:
                self._update(pod, name)

    def _update(self, pod: PodFacts, name: str) -> None:
        """Whether a pod belongs to one set now."""
        rows = self._elements.get(pod.key, {})
        before = rows.get(name, [])
        after = self._elements_of(pod, name)
        if before == after:
            return
        self.sets[name].replace(before, after)
        others = {key: elements for key, elements in rows.items() if key != name}
        self._put_elements(pod, others | {name: after} if after else others)


def _differs(peer: PodPeer, before: Labels | None, after: Labels | None) -> bool:
    """Whether the labels of a namespace make a difference to whom a peer selects there. Mostly they
    make none."""
    selector = peer.namespaces
    if selector is None:
        return False
    was_selected = before is not None and selector.matches(before)
    is_selected = after is not None and selector.matches(after)
    return was_selected != is_selected
