"""Namespaces that are deleted: everything in them goes first, then they do."""

from __future__ import annotations

from typing import Any

import msgspec

from tiphys.api import core_v1
from tiphys.api.base import encode
from tiphys.api.catalog import Resource, resource_of
from tiphys.api.core_v1 import Namespace
from tiphys.controllers.shell import Controller
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError

_NAMESPACES = resource_of(Namespace)


async def deletable(client: Any) -> list[Resource]:
    """Every namespaced resource the server says it can list and delete: built-in, custom and aggregated."""
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    found: dict[tuple[str, str], Resource] = {}
    for path in ("/api", "/apis"):
        document = msgspec.json.decode(await client.request("GET", path, accept=accept))
        for group in document["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                for row in version.get("resources", ()):
                    if row["scope"] == "Namespaced" and {"list", "delete"} <= set(row["verbs"]):
                        plural = row["resource"]
                        resource = Resource(
                            name, version["version"], plural, row["responseKind"]["kind"], verbs=tuple(row["verbs"])
                        )
                        found.setdefault((name, plural), resource)
    found.pop(("events.k8s.io", "events"), None)
    return list(found.values())


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
        if "kubernetes" not in namespace.spec.finalizers:
            return None
        left, finalizers = await self._empty(key)
        if left:
            await self._tell(namespace, left, finalizers)
            return 0.3
        await self._tell(namespace, {}, {})
        fresh = await self.client.get(Namespace, key)
        fresh.spec.finalizers = [f for f in fresh.spec.finalizers if f != "kubernetes"]
        await self.client.request("PUT", _NAMESPACES.path("", key, "finalize"), encode(fresh))
        return None

    async def _empty(self, namespace: str) -> tuple[dict[str, int], dict[str, int]]:
        """Deletes what is there; returns how many of each resource remain, and the finalizers that hold them."""
        left: dict[str, int] = {}
        finalizers: dict[str, int] = {}
        for resource in await deletable(self.client):
            path = resource.path(namespace)
            page = msgspec.json.decode(await self.client.request("GET", path, query={"limit": "500"}, accept=_METADATA))
            if not page["items"]:
                continue
            if "deletecollection" in resource.verbs:
                await self.client.request("DELETE", path)
            else:
                for item in page["items"]:
                    await self._delete(f"{path}/{item['metadata']['name']}")
            remaining = msgspec.json.decode(
                await self.client.request("GET", path, query={"limit": "500"}, accept=_METADATA)
            )["items"]
            if remaining:
                left[resource.group_resource] = len(remaining)
            for item in remaining:
                for finalizer in item["metadata"].get("finalizers", ()):
                    finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
        return left, finalizers

    async def _delete(self, path: str) -> None:
        try:
            await self.client.request("DELETE", path)
        except StatusError as error:
            if error.code != 404:
                raise

    async def _tell(self, namespace: Namespace, left: dict[str, int], finalizers: dict[str, int]) -> None:
        """Keeps the conditions that say what the deletion waits for."""
        remaining = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(left.items()))
        held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
        rows = (
            ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
            ("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
            ("NamespaceDeletionContentFailure", "False", "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ("NamespaceContentRemaining", "True" if left else "False", "SomeResourcesRemain" if left else "ContentRemoved",
             f"Some resources are remaining: {remaining}" if left else "All content successfully removed"),
            ("NamespaceFinalizersRemaining", "True" if finalizers else "False", "SomeFinalizersRemain" if finalizers else "ContentHasNoFinalizers",
             f"Some content in the namespace has finalizers remaining: {held}" if finalizers else "All content-preserving finalizers finished"),
        )  # fmt: skip
        standing = {c.type: c for c in namespace.status.conditions}
        if all((c := standing.get(kind)) and (c.status, c.message) == (status, text) for kind, status, _, text in rows):
            return
        stamp = timestamps.rfc3339(self.context.now())
        fresh = await self.client.get(Namespace, namespace.metadata.name)
        fresh.status.phase = "Terminating"
        fresh.status.conditions = [
            core_v1.NamespaceCondition(
                type=kind, status=status, reason=reason, message=text, last_transition_time=stamp
            )
            for kind, status, reason, text in rows
        ]
        await self.client.update_status(fresh)


_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
