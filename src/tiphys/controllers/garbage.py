"""The garbage collector: what is owned by nothing that exists any more goes, in the way its owner's deletion asked.

It sees the metadata of every resource, as a graph from owners to dependents by uid.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.catalog import BY_KIND, RESOURCES, Resource
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference, PartialObjectMetadata
from tiphys.client.client import MERGE, METADATA
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Controller
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_PATIENCE = 0.2  # seconds that an owner may come later than what it owns
_REMEMBERED = 5000  # owners that are known to be gone
_IGNORED = frozenset(("events", "events.events.k8s.io"))


@dataclass
class Node:
    """One object in the graph. `known` is False for an owner that was only heard of."""

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
    def holds(self) -> set[str]:
        """The owners whose deletion waits for this object."""
        return {owner.uid for owner in self.owners if owner.block_owner_deletion}

    @property
    def path(self) -> str:
        assert self.resource is not None
        return self.resource.path(self.namespace, self.name)


class Graph:
    """Objects by uid, and who owns whom. Pure: it says which uids to look at again."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def put(self, resource: Resource, meta: ObjectMeta) -> set[str]:
        node = self.nodes.setdefault(meta.uid, Node(meta.uid))
        before, started, held = {o.uid for o in node.owners}, node.deleting, node.holds
        node.resource, node.namespace, node.name, node.known = (
            resource,
            meta.namespace,
            meta.name,
            True,
        )
        node.owners, node.finalizers, node.deleting = (
            meta.owner_references,
            meta.finalizers,
            bool(meta.deletion_timestamp),
        )
        now = {o.uid for o in node.owners}
        for uid in now:
            self.nodes.setdefault(uid, Node(uid)).dependents.add(meta.uid)
        again = set()
        for uid in before - now:
            owner = self.nodes.get(uid)
            if owner is not None:
                owner.dependents.discard(meta.uid)
                self._drop_if_empty(owner)
                again.add(uid)
        if now and (before != now or any(not self.nodes[uid].known for uid in now)):
            again.add(meta.uid)
        if node.deleting and (ORPHAN in node.finalizers or FOREGROUND in node.finalizers):
            again.add(meta.uid)
            again |= node.dependents if FOREGROUND in node.finalizers and not started else set()
        return again | (node.holds if node.deleting else held - node.holds)

    def remove(self, meta: ObjectMeta) -> set[str]:
        node = self.nodes.get(meta.uid)
        if node is None:
            return set()
        again = set(node.dependents)
        for owner in node.owners:
            other = self.nodes.get(owner.uid)
            if other is not None:
                other.dependents.discard(meta.uid)
                again.add(owner.uid)
                self._drop_if_empty(other)
        node.known, node.owners = False, []
        self._drop_if_empty(node)
        return again

    def _drop_if_empty(self, node: Node) -> None:
        if not node.known and not node.dependents:
            self.nodes.pop(node.uid, None)


@dataclass
class _Followed:
    """A custom resource whose objects are in the graph. `rows` are its versions, the one that is watched first."""

    rows: list[Resource]
    informer: Informer[PartialObjectMetadata]
    task: asyncio.Task[Any]


def rows_of(crd: CustomResourceDefinition) -> list[Resource]:
    """The served versions of an established definition, as rows like those of the catalogue."""
    if not any(c.type == "Established" and c.status == "True" for c in crd.status.conditions):
        return []
    names, spec = crd.status.accepted_names, crd.spec
    return [
        Resource(spec.group, version.name, names.plural, names.kind, spec.scope == "Namespaced")
        for version in spec.versions
        if version.served
    ]


class GarbageCollector(Controller):
    name = "garbage-collector"
    workers = 8

    def watch(self) -> None:
        self.graph = Graph()
        self._informers: list[Informer[Any]] = []
        self._own: list[Informer[PartialObjectMetadata]] = []
        self._kinds: dict[tuple[str, str], Resource] = dict(BY_KIND)
        self._custom: dict[str, _Followed] = {}  # by definition
        self._absent: dict[
            str, None
        ] = {}  # uids of owners that were found to be gone, the latest last: none comes back
        self._definitions = self.informer(CustomResourceDefinition)
        for resource in RESOURCES:
            if (
                not (resource.stored and resource.is_storage_version and "watch" in resource.verbs)
                or resource.group_resource in _IGNORED
            ):
                continue
            # What another controller follows is followed already; of the rest, the metadata is enough.
            informer: Informer[Any] | None = self.context.informers.made(resource.type)
            if informer is None:
                informer = Informer(self.client, PartialObjectMetadata, resource=resource)
                self._own.append(informer)
            informer.on_change(self._changed(resource))
            self._informers.append(informer)

    def _changed(self, resource: Resource) -> Any:
        def handler(old: Any, new: Any) -> None:
            if new is not None:
                again = self.graph.put(resource, new.metadata)
            else:
                again = self.graph.remove(old.metadata)
                if (
                    old.metadata.uid in self.graph.nodes
                ):  # it had dependents, which need not wait for it to appear
                    self._note_absent(old.metadata.uid)
            for uid in again:
                self.queue.add(uid)

        return handler

    async def run(self) -> None:
        for own in self._own:
            self.context.tasks.start(own.run(), "gc-informer", vital=True)
        for informer in self._informers:
            await informer.synced.wait()
        # Custom resources come and go. Their objects are seen before anything is judged by their absence.
        self._definitions.on_change(self._defined)
        for followed in list(self._custom.values()):
            await followed.informer.synced.wait()
        await super().run()

    def _defined(
        self, old: CustomResourceDefinition | None, new: CustomResourceDefinition | None
    ) -> None:
        name = (new or old).metadata.name  # type: ignore[union-attr]
        rows = rows_of(new) if new is not None else []
        followed = self._custom.get(name)
        if followed is not None and followed.rows == rows:
            return
        if followed is not None:
            self._forget(name, followed)
        if not rows:
            return
        informer = Informer(self.client, PartialObjectMetadata, resource=rows[0])
        informer.on_change(self._changed(rows[0]))
        task = self.context.tasks.start(informer.run(), f"gc-{name}")
        self._custom[name] = _Followed(rows, informer, task)
        self._kinds |= {(row.api_version, row.kind): row for row in rows}

    def _forget(self, name: str, followed: _Followed) -> None:
        del self._custom[name]
        followed.task.cancel()
        for row in followed.rows:
            self._kinds.pop((row.api_version, row.kind), None)
        for obj in followed.informer:
            for uid in self.graph.remove(obj.metadata):
                self.queue.add(uid)

    async def reconcile(self, key: str) -> float | None:
        node = self.graph.nodes.get(key)
        if node is None or not node.known:
            return None
        if node.deleting and ORPHAN in node.finalizers:
            await self._orphan(node)
        elif node.deleting and FOREGROUND in node.finalizers:
            await self._finish_foreground(node)
        elif node.owners and not node.deleting:
            if not node.waited and not all(self._is_decided(owner.uid) for owner in node.owners):
                node.waited = True
                return _PATIENCE
            await self._judge(node)
        return None

    def _deleting_dependents(self, uid: str) -> bool:
        node = self.graph.nodes.get(uid)
        return node is not None and node.deleting and FOREGROUND in node.finalizers

    def _is_decided(self, uid: str) -> bool:
        """Whether an owner was seen, or was seen to go."""
        node = self.graph.nodes.get(uid)
        return uid in self._absent or (node is not None and node.known)

    def _note_absent(self, uid: str) -> None:
        self._absent[uid] = None
        if len(self._absent) > _REMEMBERED:
            del self._absent[next(iter(self._absent))]

    # --- an owner on its way out ---

    async def _orphan(self, node: Node) -> None:
        for uid in list(node.dependents):
            dependent = self.graph.nodes.get(uid)
            if dependent is not None and dependent.known:
                await self._drop_owners(dependent, {node.uid})
        await self._drop_finalizer(node, ORPHAN)

    async def _finish_foreground(self, node: Node) -> None:
        blocking = []
        for uid in list(node.dependents):
            dependent = self.graph.nodes.get(uid)
            if dependent is None or not dependent.known:
                continue
            if not dependent.deleting:
                self.queue.add(uid)
            if node.uid in dependent.holds:
                blocking.append(uid)
        if not blocking:
            await self._drop_finalizer(node, FOREGROUND)

    # --- a dependent ---

    async def _judge(self, node: Node) -> None:
        if all(
            [await self._owner_state(owner, node.namespace) == "solid" for owner in node.owners]
        ):
            return
        live = await self._live(node)
        if live is None or live.uid != node.uid or live.deletion_timestamp:
            return
        solid: list[OwnerReference] = []
        waiting: list[OwnerReference] = []
        dangling: list[OwnerReference] = []
        for owner in live.owner_references:
            state = await self._owner_state(owner, node.namespace)
            (solid if state == "solid" else waiting if state == "waiting" else dangling).append(
                owner
            )
        if solid:
            if waiting or dangling:
                await self._drop_owners(node, {o.uid for o in [*waiting, *dangling]})
        elif waiting and node.dependents:
            if any(self._deleting_dependents(uid) for uid in node.dependents):
                live = await self._unblock(
                    node, live
                )  # its dependents may be its owners' owners: a circle would hold
            if live is not None:
                await self._delete(node, live, "Foreground")
        elif live.owner_references:
            policy = (
                "Orphan"
                if ORPHAN in live.finalizers
                else "Foreground"
                if FOREGROUND in live.finalizers
                else "Background"
            )
            await self._delete(node, live, policy)

    async def _owner_state(self, owner: OwnerReference, namespace: str) -> str:
        """solid: it exists; waiting: it is deleted in the foreground; dangling: it is gone."""
        known = self.graph.nodes.get(owner.uid)
        if known is not None and known.known:
            if (
                known.resource is not None
                and known.resource.namespaced
                and known.namespace != namespace
            ):
                return "dangling"
            return "waiting" if known.deleting and FOREGROUND in known.finalizers else "solid"
        if owner.uid in self._absent:
            return "dangling"
        resource = self._kinds.get((owner.api_version, owner.kind))
        if resource is None:
            return "solid"  # a kind we do not know: nothing is deleted on a guess
        live = await self._get(resource.path(namespace if resource.namespaced else "", owner.name))
        if live is None or live.uid != owner.uid:
            self._note_absent(owner.uid)
            return "dangling"
        return "waiting" if live.deletion_timestamp and FOREGROUND in live.finalizers else "solid"

    # --- calls ---

    async def _live(self, node: Node) -> ObjectMeta | None:
        return await self._get(node.path)

    async def _get(self, path: str) -> ObjectMeta | None:
        from tiphys.api.base import decode

        try:
            return decode(
                await self.client.request("GET", path, accept=METADATA), PartialObjectMetadata
            ).metadata
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    async def _delete(self, node: Node, live: ObjectMeta, policy: str) -> None:
        options = {
            "preconditions": {"uid": node.uid, "resourceVersion": live.resource_version},
            "propagationPolicy": policy,
        }
        await self._ignore_missing("DELETE", node.path, options)

    async def _drop_owners(self, node: Node, uids: set[str]) -> None:
        live = await self._live(node)
        if live is None or live.uid != node.uid:
            return
        from tiphys.api.base import to_builtins

        kept = [to_builtins(owner) for owner in live.owner_references if owner.uid not in uids]
        change = {
            "metadata": {
                "uid": node.uid,
                "resourceVersion": live.resource_version,
                "ownerReferences": kept or None,
            }
        }
        await self._ignore_missing("PATCH", node.path, change)

    async def _unblock(self, node: Node, live: ObjectMeta) -> ObjectMeta | None:
        """The deletion of its owners waits for it no longer."""
        from tiphys.api.base import to_builtins

        free = [
            to_builtins(owner) | {"blockOwnerDeletion": False} for owner in live.owner_references
        ]
        change = {
            "metadata": {
                "uid": node.uid,
                "resourceVersion": live.resource_version,
                "ownerReferences": free,
            }
        }
        await self._ignore_missing("PATCH", node.path, change)
        return await self._live(node)

    async def _drop_finalizer(self, node: Node, name: str) -> None:
        live = await self._live(node)
        if live is None or live.uid != node.uid or name not in live.finalizers:
            return
        kept = [f for f in live.finalizers if f != name]
        change = {
            "metadata": {
                "uid": node.uid,
                "resourceVersion": live.resource_version,
                "finalizers": kept or None,
            }
        }
        await self._ignore_missing("PATCH", node.path, change)

    async def _ignore_missing(self, method: str, path: str, body: Any) -> None:
        try:
            content = MERGE if method == "PATCH" else "application/json"
            await self.client.request(method, path, msgspec.json.encode(body), content=content)
        except StatusError as error:
            if error.code != 404:
                raise
