"""What is served: /api, /apis, their versions, and the aggregated document that clients prefer."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from tiphys.api.catalog import GroupVersion, Resource, Subresource
from tiphys.apiserver.proxying.aggregation import Aggregator
from tiphys.apiserver.proxying.remotes import Remote
from tiphys.apiserver.registry.served import CUSTOM_PRIORITY, PRIORITIES, ServedResources
from tiphys.machinery.derived import Derived

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def _group(name: str, versions: list[GroupVersion]) -> dict[str, Any]:
    listed = [{"groupVersion": str(gv), "version": gv.version} for gv in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resource(resource: Resource) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    if resource.stored:
        row["storageVersionHash"] = _storage_hash(resource)
    return row


def _storage_hash(resource: Resource) -> str:
    """Shows clients when the stored version of a resource has changed: they may want to rewrite
    all objects."""
    stored = f"{resource.group}/{resource.stored_version}/{resource.kind}"
    digest = hashlib.sha256(stored.encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _subresource(resource: Resource, sub: Subresource) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": f"{resource.plural}/{sub.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": sub.kind or resource.kind,
        "verbs": list(sub.verbs),
    }
    if sub.group is not None:
        row |= {"group": sub.group, "version": sub.version}
    return row


class Discovery:
    """The documents for a catalogue, made once for each of its generations."""

    def __init__(self, served: ServedResources, aggregator: Aggregator) -> None:
        self._served = served
        self._aggregator = aggregator
        self._kept: Derived[dict[Any, Any]] = Derived(self._generations, dict)

    def _generations(self) -> tuple[int, int]:
        return self._served.generation, self._aggregator.generation

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        kept = self._kept.get()
        if key not in kept:
            kept[key] = make()
        return kept[key]

    def _versions(self) -> dict[str, list[GroupVersion]]:
        """Group → versions, as upstream lists them: by the priority that their APIServices have,
        then by name."""
        versions_by_group = self._served.group_versions()
        remotes = sorted(
            self._aggregator.remotes.values(),
            key=lambda r: (
                -r.service.spec.group_priority_minimum,
                r.gv.group,
                -r.service.spec.version_priority,
            ),
        )
        for remote in remotes:
            versions = versions_by_group.setdefault(remote.gv.group, [])
            if remote.gv not in versions:
                versions.append(remote.gv)
        priorities = PRIORITIES | {
            r.gv.group: r.service.spec.group_priority_minimum for r in remotes
        }
        names = sorted(
            versions_by_group, key=lambda name: (-priorities.get(name, CUSTOM_PRIORITY), name)
        )
        return {name: versions_by_group[name] for name in names}

    def paths(self) -> list[str]:
        """Of every group and version."""
        return [
            "/apis",
            "/apis/",
            *(
                f"/apis/{path}"
                for group, versions in self._versions().items()
                if group
                for path in (group, *map(str, versions))
            ),
        ]

    def api_versions(self, address: str) -> bytes:
        where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
        return msgspec.json.encode(
            {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where}
        )

    def api_groups(self) -> bytes:
        def make() -> bytes:
            listed = [_group(name, versions) for name, versions in self._versions().items() if name]
            return msgspec.json.encode(
                {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
            )

        return self._once("groups", make)  # type: ignore[no-any-return]

    def api_group(self, name: str) -> bytes | None:
        versions = self._versions().get(name)
        if not versions or not name:
            return None
        return msgspec.json.encode(
            {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}
        )

    def api_resources(self, group: str, version: str) -> bytes | None:
        def make() -> bytes | None:
            rows = []
            for resource in self._served:
                if (resource.group, resource.version) == (group, version):
                    rows.append(_resource(resource))
                    rows += [_subresource(resource, sub) for sub in resource.subresources]
            if not rows:
                return None
            gv = str(GroupVersion(group, version))
            return msgspec.json.encode(
                {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": gv,
                    "resources": rows,
                }
            )

        return self._once((group, version), make)  # type: ignore[no-any-return]

    def aggregated(self, core: bool) -> tuple[bytes, str]:
        """(APIGroupDiscoveryList, ETag) of /api or /apis."""

        def make() -> tuple[bytes, str]:
            items = [
                self._group(name, versions)
                for name, versions in self._versions().items()
                if (name == "") == core
            ]
            document = {
                "kind": "APIGroupDiscoveryList",
                "apiVersion": "apidiscovery.k8s.io/v2",
                "metadata": {},
                "items": items,
            }
            body = msgspec.json.encode(document)
            return body, hashlib.sha256(body).hexdigest().upper()

        return self._once(("aggregated", core), make)  # type: ignore[no-any-return]

    def _group(self, name: str, versions: Iterable[GroupVersion]) -> dict[str, Any]:
        """The core group has no name, and shows none."""
        metadata: dict[str, Any] = {"name": name} if name else {}
        metadata["creationTimestamp"] = None
        return {"metadata": metadata, "versions": [self._version(gv) for gv in versions]}

    def _version(self, gv: GroupVersion) -> dict[str, Any]:
        remote = self._aggregator.find(gv.group, gv.version)
        return _version(gv, self._served) if remote is None else _remote_version(remote)


def _remote_version(remote: Remote) -> dict[str, Any]:
    """Another server's discovery, in the form of the aggregated document."""
    rows: dict[str, dict[str, Any]] = {}
    for listed in remote.resources:
        plural, _, sub = listed["name"].partition("/")
        kind = {
            "group": listed.get("group") or remote.gv.group,
            "version": listed.get("version") or remote.gv.version,
            "kind": listed.get("kind", ""),
        }
        if sub:
            if plural in rows:
                below = {"subresource": sub, "responseKind": kind, "verbs": listed.get("verbs", [])}
                rows[plural].setdefault("subresources", []).append(below)
            continue
        rows[plural] = {
            "resource": plural,
            "responseKind": kind,
            "scope": "Namespaced" if listed.get("namespaced") else "Cluster",
            "singularResource": listed.get("singularName") or kind["kind"].lower(),
            "verbs": listed.get("verbs", []),
            **{key: listed[key] for key in ("shortNames", "categories") if listed.get(key)},
        }
    freshness = "Current" if remote.available else "Stale"
    return {"version": remote.gv.version, "resources": list(rows.values()), "freshness": freshness}


def _version(gv: GroupVersion, served: ServedResources) -> dict[str, Any]:
    rows = []
    for resource in served:
        if resource.gv != gv:
            continue
        row: dict[str, Any] = {
            "resource": resource.plural,
            "responseKind": {"group": gv.group, "version": gv.version, "kind": resource.kind},
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "singularResource": resource.singular,
            "verbs": list(resource.verbs),
        }
        if resource.short_names:
            row["shortNames"] = list(resource.short_names)
        if resource.categories:
            row["categories"] = list(resource.categories)
        if resource.subresources:
            row["subresources"] = [
                {
                    "subresource": sub.name,
                    "responseKind": {
                        "group": gv.group if sub.group is None else sub.group,
                        "version": sub.version or gv.version,
                        "kind": sub.kind or resource.kind,
                    },
                    "verbs": list(sub.verbs),
                }
                for sub in resource.subresources
            ]
        rows.append(row)
    return {"version": gv.version, "resources": rows, "freshness": "Current"}
