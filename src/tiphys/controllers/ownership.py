"""Who owns whom: every object of the cluster as a graph by uid, and what is to become of one.
Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference

ORPHAN = "orphan"  # finalizers that say how an object is deleted
FOREGROUND = "foregroundDeletion"


@dataclass
class Node:
    """One object in the graph. `known` is False for an owner that only references name."""

    uid: str
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""
    owners: list[OwnerReference] = field(default_factory=list)
    dependents: set[str] = field(default_factory=set)
    deleting: bool = False
    finalizers: list[str] = field(default_factory=list)
    known: bool = False
    waited: bool = False  # for its owners to be seen: they may come later than their dependents

    @property
    def blocks(self) -> set[str]:
        """The owners whose deletion in the foreground waits for this object."""
        return {owner.uid for owner in self.owners if owner.block_owner_deletion}

    @property
    def orphans(self) -> bool:
        """Whether it is being deleted, and its dependents stay."""
        return self.deleting and ORPHAN in self.finalizers

    @property
    def waits_for_dependents(self) -> bool:
        """Whether it is being deleted in the foreground."""
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def path(self) -> str:
        assert self.resource is not None
        return self.resource.path(self.namespace, self.name)


class Graph:
    """Objects by uid, and who owns whom. Every change says which uids to look at again."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def put(self, resource: Resource, meta: ObjectMeta) -> set[str]:
        """An object is there, or has changed."""
        node = self.nodes.setdefault(meta.uid, Node(meta.uid))
        owners_before = {owner.uid for owner in node.owners}
        blocked_before = node.blocks
        waited_before = node.waits_for_dependents
        node.resource = resource
        node.namespace = meta.namespace
        node.name = meta.name
        node.known = True
        node.owners = meta.owner_references
        node.finalizers = meta.finalizers
        node.deleting = bool(meta.deletion_timestamp)
        owners = {owner.uid for owner in node.owners}
        for uid in owners:
            self.nodes.setdefault(uid, Node(uid)).dependents.add(meta.uid)
        again: set[str] = set()
        for uid in owners_before - owners:
            again |= self._drop_dependent(uid, meta.uid)
        is_unsure = any(not self.nodes[uid].known for uid in owners)
        if owners and (owners_before != owners or is_unsure):
            again.add(meta.uid)
        if node.orphans or node.waits_for_dependents:
            again.add(meta.uid)
        if node.waits_for_dependents and not waited_before:
            again |= node.dependents
        if node.deleting:
            again |= node.blocks
        else:
            again |= blocked_before - node.blocks
        return again

    def remove(self, meta: ObjectMeta) -> set[str]:
        """An object is gone."""
        node = self.nodes.get(meta.uid)
        if node is None:
            return set()
        again = set(node.dependents)
        for owner in node.owners:
            again |= self._drop_dependent(owner.uid, meta.uid)
        node.known = False
        node.owners = []
        self._drop_if_empty(node)
        return again

    def _drop_dependent(self, owner: str, dependent: str) -> set[str]:
        node = self.nodes.get(owner)
        if node is None:
            return set()
        node.dependents.discard(dependent)
        self._drop_if_empty(node)
        return {owner}

    def _drop_if_empty(self, node: Node) -> None:
        if not node.known and not node.dependents:
            self.nodes.pop(node.uid, None)

    def known(self, uid: str) -> Node | None:
        """The object of that uid, None for one that only references name."""
        node = self.nodes.get(uid)
        return node if node is not None and node.known else None

    def dependents(self, node: Node) -> list[Node]:
        """The objects that were seen and are owned by one."""
        nodes = [self.known(uid) for uid in node.dependents]
        return [dependent for dependent in nodes if dependent is not None]


class OwnerState(Enum):
    """What an owner is to its dependent."""

    SOLID = "it exists"
    WAITING = "it is being deleted in the foreground"
    DANGLING = "it is gone"


class Action(Enum):
    """What is to become of a dependent."""

    KEEP = "nothing"
    DROP_OWNERS = "references to owners that are going or gone are dropped"
    DELETE_FOREGROUND = "it is deleted, after its own dependents"
    DELETE = "it is deleted"


def decide(states: list[OwnerState], has_dependents: bool) -> Action:
    """What is to become of an object whose owners are in these states.

    One solid owner keeps it. Otherwise it goes: in the foreground if an owner that is deleted so
    waits for it and it has dependents of its own. The rule is attemptToDeleteItem of upstream's
    collector.
    """
    if not states:
        return Action.KEEP
    if OwnerState.SOLID in states:
        others = [state for state in states if state is not OwnerState.SOLID]
        return Action.DROP_OWNERS if others else Action.KEEP
    if OwnerState.WAITING in states and has_dependents:
        return Action.DELETE_FOREGROUND
    return Action.DELETE


def policy_of(finalizers: list[str]) -> str:
    """How an object that goes with its owners is deleted: as its finalizers say."""
    if ORPHAN in finalizers:
        return "Orphan"
    if FOREGROUND in finalizers:
        return "Foreground"
    return "Background"
