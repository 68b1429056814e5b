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


async def deletable(client: Any) -> tuple[list[Resource], list[str]]:
    """Every namespaced resource the server says it can list and delete (built-in, custom and aggregated), and the
    group versions whose server does not answer now."""
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    found: dict[tuple[str, str], Resource] = {}
    stale: list[str] = []
    for path in ("/api", "/apis"):
        document = msgspec.json.decode(await client.request("GET", path, accept=accept))
        for group in document["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                if version.get("freshness") == "Stale":
                    stale.append(f"{name}/{version['version']}")
                    continue
                for row in version.get("resources", ()):
                    if row["scope"] == "Namespaced" and {"list", "delete"} <= set(row["verbs"]):
                        plural = row["resource"]
                        resource = Resource(
                            name,
                            version["version"],
                            plural,
                            row["responseKind"]["kind"],
                            verbs=tuple(row["verbs"]),
                        )
                        found.setdefault((name, plural), resource)
    found.pop(("events.k8s.io", "events"), None)
    return list(found.values()), stale


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
        left, finalizers, stale, failed = await self._empty(key)
        await self._tell(namespace, left, finalizers, stale, failed)
        if left or stale or failed:
            return 0.3 if left else 3.0
        fresh = await self.client.get(Namespace, key)
        fresh.spec.finalizers = [f for f in fresh.spec.finalizers if f != "kubernetes"]
        await self.client.request("PUT", _NAMESPACES.path("", key, "finalize"), encode(fresh))
        return None

    async def _empty(
        self, namespace: str
    ) -> tuple[dict[str, int], dict[str, int], list[str], list[str]]:
        """Deletes what is there; returns how many of each resource remain, the finalizers that hold them, the group
        versions that could not be looked at, and why something could not be deleted.

        Pods go first, and nothing else goes while one runs: what protects a pod (a network policy, say) outlives it."""
        left: dict[str, int] = {}
        finalizers: dict[str, int] = {}
        failed: list[str] = []
        resources, stale = await deletable(self.client)
        resources.sort(key=lambda resource: resource.group_resource != "pods")
        for resource in resources:
            try:
                remaining = await self._empty_of(resource, namespace)
            except StatusError as error:  # a webhook forbids it, say: the others go all the same
                failed.append(str(error))
                continue
            if remaining:
                left[resource.group_resource] = len(remaining)
            for item in remaining:
                for finalizer in item["metadata"].get("finalizers", ()):
                    finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
            if remaining and resource.group_resource == "pods":
                break
        return left, finalizers, stale, failed

    async def _empty_of(self, resource: Resource, namespace: str) -> list[Any]:
        """Deletes the objects of one resource; the metadata of those that are still there afterwards."""
        items = await self._list(resource, namespace)
        if not items:
            return items
        path = resource.path(namespace)
        if "deletecollection" in resource.verbs:
            await self.client.request("DELETE", path, _BACKGROUND)
        else:
            for item in items:
                await self._delete(f"{path}/{item['metadata']['name']}")
        return await self._list(resource, namespace)

    async def _list(self, resource: Resource, namespace: str) -> list[Any]:
        path, query = resource.path(namespace), {"limit": "500"}
        items: list[Any] = msgspec.json.decode(
            await self.client.request("GET", path, query=query, accept=_METADATA)
        )["items"]
        return items

    async def _delete(self, path: str) -> None:
        try:
            await self.client.request("DELETE", path, _BACKGROUND)
        except StatusError as error:
            if error.code != 404:
                raise

    async def _tell(
        self,
        namespace: Namespace,
        left: dict[str, int],
        finalizers: dict[str, int],
        stale: list[str],
        failed: list[str],
    ) -> None:
        """Keeps the conditions that say what the deletion waits for."""
        remaining = ", ".join(
            f"{name} has {count} resource instances" for name, count in sorted(left.items())
        )
        held = ", ".join(
            f"{name} in {count} resource instances" for name, count in sorted(finalizers.items())
        )
        rows = (
            (
                "NamespaceDeletionDiscoveryFailure",
                "True" if stale else "False",
                "DiscoveryFailed" if stale else "ResourcesDiscovered",
                f"Discovery failed for some groups, {len(stale)} failing: {', '.join(stale)}"
                if stale
                else "All resources successfully discovered",
            ),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                "False",
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            (
                "NamespaceDeletionContentFailure",
                "True" if failed else "False",
                "ContentDeletionFailed" if failed else "ContentDeleted",
                f"Failed to delete all resource types, {len(failed)} remaining: {'; '.join(failed)}"
                if failed
                else "All content successfully deleted, may be waiting on finalization",
            ),
            (
                "NamespaceContentRemaining",
                "True" if left else "False",
                "SomeResourcesRemain" if left else "ContentRemoved",
                f"Some resources are remaining: {remaining}"
                if left
                else "All content successfully removed",
            ),
            (
                "NamespaceFinalizersRemaining",
                "True" if finalizers else "False",
                "SomeFinalizersRemain" if finalizers else "ContentHasNoFinalizers",
                f"Some content in the namespace has finalizers remaining: {held}"
                if finalizers
                else "All content-preserving finalizers finished",
            ),
        )
        standing = {c.type: c for c in namespace.status.conditions}
        if all(
            (c := standing.get(kind)) and (c.status, c.message) == (status, text)
            for kind, status, _, text in rows
        ):
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


_BACKGROUND = b'{"propagationPolicy":"Background"}'
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
