"""Namespaces that are deleted: everything in them goes first, then they do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tiphys.api.base import encode
from tiphys.api.catalog import Resource, resource_of
from tiphys.api.core_v1 import Namespace, NamespaceCondition
from tiphys.controllers.discovery import deletable
from tiphys.controllers.shell import Controller
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_not_found

FINALIZER = "kubernetes"  # of spec.finalizers: what is in the namespace has to be deleted
_NAMESPACES = resource_of(Namespace)
_WHILE_EMPTYING = 0.3  # seconds between looks
_AFTER_FAILURE = 3.0
_PAGE = "500"  # objects of a resource that are listed
_BACKGROUND = b'{"propagationPolicy":"Background"}'
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


# --- the core: pure ---


@dataclass
class Remains:
    """What is left of a namespace: how many objects of each resource, and with each finalizer; the
    group versions that could not be listed; and why something could not be deleted."""

    objects: dict[str, int] = field(default_factory=dict)
    finalizers: Counter[str] = field(default_factory=Counter)
    stale: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def wait(self) -> float | None:
        """Seconds until the next check; None when nothing is left."""
        if self.objects:
            return _WHILE_EMPTYING
        return _AFTER_FAILURE if self.stale or self.failures else None


def deletion_conditions(remains: Remains) -> list[NamespaceCondition]:
    """The conditions that say what a deletion waits for, without their times. The sentences are
    upstream's, of status_condition_utils.go."""
    stale = ", ".join(remains.stale)
    failures = "; ".join(remains.failures)
    objects = _listed(remains.objects, "{} has {} resource instances")
    finalizers = _listed(remains.finalizers, "{} in {} resource instances")
    return [
        _condition(
            "NamespaceDeletionDiscoveryFailure",
            bool(stale),
            ("ResourcesDiscovered", "All resources successfully discovered"),
            (
                "DiscoveryFailed",
                f"Discovery failed for some groups, {len(remains.stale)} failing: {stale}",
            ),
        ),
        _condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
            ("", ""),
        ),
        _condition(
            "NamespaceDeletionContentFailure",
            bool(failures),
            (
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            (
                "ContentDeletionFailed",
                "Failed to delete all resource types, "
                f"{len(remains.failures)} remaining: {failures}",
            ),
        ),
        _condition(
            "NamespaceContentRemaining",
            bool(objects),
            ("ContentRemoved", "All content successfully removed"),
            ("SomeResourcesRemain", f"Some resources are remaining: {objects}"),
        ),
        _condition(
            "NamespaceFinalizersRemaining",
            bool(finalizers),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            (
                "SomeFinalizersRemain",
                f"Some content in the namespace has finalizers remaining: {finalizers}",
            ),
        ),
    ]


def _condition(
    kind: str, flag: bool, if_not: tuple[str, str], if_so: tuple[str, str]
) -> NamespaceCondition:
    """A condition with the (reason, message) that belongs to its status."""
    reason, message = if_so if flag else if_not
    status = conditions.status_of(flag)
    return NamespaceCondition(type=kind, status=status, reason=reason, message=message)


def _listed(counts: dict[str, int], form: str) -> str:
    return ", ".join(form.format(name, count) for name, count in sorted(counts.items()))


# --- the shell ---


class NamespaceController(Controller):
    name = "namespace"

    def watch(self) -> None:
        self._namespaces = self.informer(Namespace)
        self._namespaces.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        if new is not None and new.metadata.deletion_timestamp:
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or not namespace.metadata.deletion_timestamp:
            return None
        if FINALIZER not in namespace.spec.finalizers:
            return None
        remains = await self._empty(key)
        await self._note(namespace, remains)
        if remains.wait is None:
            await self._finalize(key)
        return remains.wait

    async def _finalize(self, name: str) -> None:
        """Takes the last hold off the namespace: the server then removes it."""
        namespace = await self.client.get(Namespace, name)
        others = [finalizer for finalizer in namespace.spec.finalizers if finalizer != FINALIZER]
        namespace.spec.finalizers = others
        path = _NAMESPACES.path("", name, "finalize")
        await self.client.request("PUT", path, encode(namespace))

    async def _empty(self, namespace: str) -> Remains:
        """Deletes what is in the namespace. Pods go first, and nothing else goes while one runs:
        what protects a pod, a network policy for example, outlives it."""
        resources, stale = await deletable(self.client)
        remains = Remains(stale=stale)
        resources.sort(key=lambda resource: resource.group_resource != "pods")
        for resource in resources:
            try:
                remaining = await self._empty_of(resource, namespace)
            except StatusError as error:
                # A webhook may forbid it: the others go all the same.
                remains.failures.append(str(error))
                continue
            if not remaining:
                continue
            remains.objects[resource.group_resource] = len(remaining)
            for item in remaining:
                remains.finalizers.update(item["metadata"].get("finalizers", ()))
            if resource.group_resource == "pods":
                break
        return remains

    async def _empty_of(self, resource: Resource, namespace: str) -> list[Any]:
        """Deletes the objects of one resource. Returns the metadata of those that are still
        there."""
        items = await self._list(resource, namespace)
        if not items:
            return items
        path = resource.path(namespace)
        if "deletecollection" in resource.verbs:
            await self.client.request("DELETE", path, _BACKGROUND)
        else:
            for item in items:
                await self._delete_one(f"{path}/{item['metadata']['name']}")
        return await self._list(resource, namespace)

    async def _list(self, resource: Resource, namespace: str) -> list[Any]:
        path = resource.path(namespace)
        query = {"limit": _PAGE}
        body = await self.client.request("GET", path, query=query, accept=_METADATA)
        items: list[Any] = msgspec.json.decode(body)["items"]
        return items

    async def _delete_one(self, path: str) -> None:
        try:
            await self.client.request("DELETE", path, _BACKGROUND)
        except StatusError as error:
            if not is_not_found(error):
                raise

    async def _note(self, namespace: Namespace, remains: Remains) -> None:
        """Keeps the conditions that say what the deletion waits for."""
        wanted = deletion_conditions(remains)
        standing = namespace.status.conditions
        differing = (
            condition
            for condition in wanted
            if conditions.differs(conditions.find(standing, condition.type), condition)
        )
        if not any(differing):
            return
        live = await self.client.get(Namespace, namespace.metadata.name)
        live.status.phase = "Terminating"
        now = self.context.now()
        for condition in wanted:
            live.status.conditions = conditions.updated(live.status.conditions, condition, now)
        await self.client.update_status(live)
