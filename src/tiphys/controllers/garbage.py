"""The garbage collector: what is owned by nothing that exists any more goes, in the way its owner's
deletion asked for.

It sees the metadata of every resource, as a graph from owners to dependents (`ownership`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import decode, to_builtins
from tiphys.api.catalog import BY_KIND, RESOURCES, Resource
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference, PartialObjectMetadata
from tiphys.client.client import MERGE, METADATA
from tiphys.client.informer import Informer
from tiphys.controllers.ownership import (
    FOREGROUND,
    ORPHAN,
    Action,
    Graph,
    Node,
    OwnerState,
    decide,
    policy_of,
)
from tiphys.controllers.shell import Controller
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_not_found

_PATIENCE = 0.2  # seconds that an owner may come later than what it owns
_REMEMBERED = 5000  # owners that are known to be gone
_IGNORED = frozenset(("events", "events.events.k8s.io"))


def is_collected(resource: Resource) -> bool:
    """Whether objects of a resource are in the graph: each kind once, in the version it is stored
    in. Events own nothing and are owned by nothing, as upstream."""
    if not resource.stored or not resource.is_storage_version:
        return False
    return "watch" in resource.verbs and resource.group_resource not in _IGNORED


def rows_of(definition: CustomResourceDefinition) -> list[Resource]:
    """The served versions of an established definition, as rows like those of the catalogue."""
    if not conditions.is_true(definition.status.conditions, "Established"):
        return []
    names = definition.status.accepted_names
    group = definition.spec.group
    namespaced = definition.spec.scope == "Namespaced"
    return [
        Resource(group, version.name, names.plural, names.kind, namespaced)
        for version in definition.spec.versions
        if version.served
    ]


@dataclass
class _Followed:
    """A custom resource whose objects are in the graph. `rows` are its versions, the one that is
    watched first."""

    rows: list[Resource]
    informer: Informer[PartialObjectMetadata]
    task: asyncio.Task[Any]


class GarbageCollector(Controller):
    """Keys are uids."""

    name = "garbage-collector"
    workers = 8

    def watch(self) -> None:
        self.graph = Graph()
        self._informers: list[Informer[Any]] = []
        self._own: list[Informer[PartialObjectMetadata]] = []  # of them, those that we run
        self._kinds: dict[tuple[str, str], Resource] = dict(BY_KIND)
        self._custom: dict[str, _Followed] = {}  # by name of the definition
        # Uids of owners that were found to be gone, the latest last: none comes back.
        self._absent: dict[str, None] = {}
        self._definitions = self.informer(CustomResourceDefinition)
        for resource in filter(is_collected, RESOURCES):
            # What another controller follows is followed already; of the rest the metadata will do.
            informer: Informer[Any] | None = self.context.informers.existing(resource.type)
            if informer is None:
                informer = Informer(self.client, PartialObjectMetadata, resource=resource)
                self._own.append(informer)
            informer.on_change(self._objects_changed(resource))
            self._informers.append(informer)

    def _objects_changed(self, resource: Resource) -> Callable[[Any, Any], None]:
        """A handler for the objects of a resource."""

        def handler(old: Any, new: Any) -> None:
            if new is not None:
                again = self.graph.put(resource, new.metadata)
            else:
                again = self.graph.remove(old.metadata)
                if old.metadata.uid in self.graph.nodes:  # dependents need not wait to see it
                    self._note_absent(old.metadata.uid)
            for uid in again:
                self.queue.add(uid)

        return handler

    async def run(self) -> None:
        for own in self._own:
            self.context.tasks.start(own.run(), "gc-informer", vital=True)
        for informer in self._informers:
            await informer.synced.wait()
        # Custom resources come and go. Their objects are seen before anything is judged by their
        # absence.
        self._definitions.on_change(self._definition_changed)
        for followed in list(self._custom.values()):
            await followed.informer.synced.wait()
        await super().run()

    # --- custom resources ---

    def _definition_changed(
        self, old: CustomResourceDefinition | None, new: CustomResourceDefinition | None
    ) -> None:
        definition = new or old
        assert definition is not None
        name = definition.metadata.name
        rows = rows_of(new) if new is not None else []
        followed = self._custom.get(name)
        if followed is not None:
            if followed.rows == rows:
                return
            self._unfollow(name, followed)
        if rows:
            self._follow(name, rows)

    def _follow(self, name: str, rows: list[Resource]) -> None:
        informer = Informer(self.client, PartialObjectMetadata, resource=rows[0])
        informer.on_change(self._objects_changed(rows[0]))
        task = self.context.tasks.start(informer.run(), f"gc-{name}")
        self._custom[name] = _Followed(rows, informer, task)
        self._kinds |= {(row.api_version, row.kind): row for row in rows}

    def _unfollow(self, name: str, followed: _Followed) -> None:
        del self._custom[name]
        followed.task.cancel()
        for row in followed.rows:
            self._kinds.pop((row.api_version, row.kind), None)
        for obj in followed.informer:
            for uid in self.graph.remove(obj.metadata):
                self.queue.add(uid)

    # --- one object ---

    async def reconcile(self, key: str) -> float | None:
        node = self.graph.known(key)
        if node is None:
            return None
        if node.orphans:
            await self._orphan(node)
        elif node.waits_for_dependents:
            await self._finish_foreground(node)
        elif node.owners and not node.deleting:
            if not node.waited and not all(self._is_decided(owner.uid) for owner in node.owners):
                node.waited = True
                return _PATIENCE
            await self._judge(node)
        return None

    def _is_decided(self, uid: str) -> bool:
        """Whether an owner was seen, or was found to be gone."""
        return uid in self._absent or self.graph.known(uid) is not None

    def _note_absent(self, uid: str) -> None:
        self._absent[uid] = None
        if len(self._absent) > _REMEMBERED:
            del self._absent[next(iter(self._absent))]

    async def _orphan(self, node: Node) -> None:
        """Frees the dependents of an object that is being deleted, and then the object."""
        for dependent in self.graph.dependents(node):
            await self._drop_owners(dependent, {node.uid})
        await self._drop_finalizer(node, ORPHAN)

    async def _finish_foreground(self, node: Node) -> None:
        """Lets an object go once no dependent that blocks its deletion is left."""
        is_blocked = False
        for dependent in self.graph.dependents(node):
            if not dependent.deleting:
                self.queue.add(dependent.uid)
            if node.uid in dependent.blocks:
                is_blocked = True
        if not is_blocked:
            await self._drop_finalizer(node, FOREGROUND)

    async def _judge(self, node: Node) -> None:
        """Decides what becomes of a dependent: first by what is known here, and before anything is
        done to it once more by what the server says."""
        states = await self._states(node.owners, node.namespace)
        if decide(list(states.values()), bool(node.dependents)) is Action.KEEP:
            return
        live = await self._live(node)
        if live is None or live.uid != node.uid or live.deletion_timestamp:
            return
        states = await self._states(live.owner_references, node.namespace)
        action = decide(list(states.values()), bool(node.dependents))
        if action is Action.DROP_OWNERS:
            going = {uid for uid, state in states.items() if state is not OwnerState.SOLID}
            await self._drop_owners(node, going)
        elif action is Action.DELETE_FOREGROUND:
            if any(dependent.waits_for_dependents for dependent in self.graph.dependents(node)):
                # One of its dependents may be its owners' owner: a circle would hold forever.
                live = await self._unblock(node, live)
            if live is not None:
                await self._delete(node, live, "Foreground")
        elif action is Action.DELETE:
            await self._delete(node, live, policy_of(live.finalizers))

    async def _states(self, owners: list[OwnerReference], namespace: str) -> dict[str, OwnerState]:
        """By uid: what the owners are to their dependent."""
        return {owner.uid: await self._state(owner, namespace) for owner in owners}

    async def _state(self, owner: OwnerReference, namespace: str) -> OwnerState:
        node = self.graph.known(owner.uid)
        if node is not None:
            is_namespaced = node.resource is not None and node.resource.namespaced
            if is_namespaced and node.namespace != namespace:
                return OwnerState.DANGLING  # nothing is owned across namespaces
            return OwnerState.WAITING if node.waits_for_dependents else OwnerState.SOLID
        if owner.uid in self._absent:
            return OwnerState.DANGLING
        resource = self._kinds.get((owner.api_version, owner.kind))
        if resource is None:
            return OwnerState.SOLID  # a kind that is not known: nothing is deleted on a guess
        live = await self._get(resource.path(namespace if resource.namespaced else "", owner.name))
        if live is None or live.uid != owner.uid:
            self._note_absent(owner.uid)
            return OwnerState.DANGLING
        if live.deletion_timestamp and FOREGROUND in live.finalizers:
            return OwnerState.WAITING
        return OwnerState.SOLID

    # --- calls ---

    async def _live(self, node: Node) -> ObjectMeta | None:
        return await self._get(node.path)

    async def _get(self, path: str) -> ObjectMeta | None:
        try:
            body = await self.client.request("GET", path, accept=METADATA)
        except StatusError as error:
            if is_not_found(error):
                return None
            raise
        return decode(body, PartialObjectMetadata).metadata

    async def _delete(self, node: Node, live: ObjectMeta, policy: str) -> None:
        options = {
            "preconditions": {"uid": node.uid, "resourceVersion": live.resource_version},
            "propagationPolicy": policy,
        }
        await self._write("DELETE", node.path, options)

    async def _drop_owners(self, node: Node, uids: set[str]) -> None:
        live = await self._live(node)
        if live is None or live.uid != node.uid:
            return
        kept = [to_builtins(owner) for owner in live.owner_references if owner.uid not in uids]
        await self._patch(node, live, {"ownerReferences": kept or None})

    async def _unblock(self, node: Node, live: ObjectMeta) -> ObjectMeta | None:
        """The deletion of its owners is not to wait for the object any longer. Returns it as it is
        after that."""
        owners: list[dict[str, Any]] = to_builtins(live.owner_references)
        unblocked = [{**owner, "blockOwnerDeletion": False} for owner in owners]
        await self._patch(node, live, {"ownerReferences": unblocked})
        return await self._live(node)

    async def _drop_finalizer(self, node: Node, name: str) -> None:
        live = await self._live(node)
        if live is None or live.uid != node.uid or name not in live.finalizers:
            return
        kept = [finalizer for finalizer in live.finalizers if finalizer != name]
        await self._patch(node, live, {"finalizers": kept or None})

    async def _patch(self, node: Node, live: ObjectMeta, change: dict[str, Any]) -> None:
        """Changes the metadata of an object as it was seen."""
        known = {"uid": node.uid, "resourceVersion": live.resource_version}
        await self._write("PATCH", node.path, {"metadata": {**known, **change}})

    async def _write(self, method: str, path: str, body: Any) -> None:
        content = MERGE if method == "PATCH" else "application/json"
        try:
            await self.client.request(method, path, msgspec.json.encode(body), content=content)
        except StatusError as error:
            if not is_not_found(error):
                raise
