"""What is served: /api, /apis, their versions, and the aggregated document that clients prefer."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import msgspec

from tiphys.api.catalog import RESOURCES, GroupVersion, Resource, Subresource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def groups() -> dict[str, list[GroupVersion]]:
    """Group → its versions, the preferred one first."""
    found: dict[str, list[GroupVersion]] = {}
    for resource in RESOURCES:
        versions = found.setdefault(resource.group, [])
        if resource.gv not in versions:
            versions.append(resource.gv)
    return found


def _group(name: str, versions: list[GroupVersion]) -> dict[str, Any]:
    listed = [{"groupVersion": str(gv), "version": gv.version} for gv in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def api_versions(address: str) -> bytes:
    where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return msgspec.json.encode({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where})


@functools.cache
def api_groups() -> bytes:
    listed = [_group(name, versions) for name, versions in groups().items() if name]
    return msgspec.json.encode({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})


@functools.cache
def api_group(name: str) -> bytes | None:
    versions = groups().get(name)
    if not versions or not name:
        return None
    return msgspec.json.encode({"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)})


def _resource(resource: Resource) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": list(resource.verbs),
    }  # fmt: skip
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    if resource.stored and resource.is_storage_version:
        row["storageVersionHash"] = (
            hashlib.sha256(f"{resource.api_version}/{resource.kind}".encode()).hexdigest()[:11] + "="
        )
    return row


def _subresource(resource: Resource, sub: Subresource) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": f"{resource.plural}/{sub.name}", "singularName": "", "namespaced": resource.namespaced,
        "kind": sub.kind or resource.kind, "verbs": list(sub.verbs),
    }  # fmt: skip
    if sub.group is not None:
        row |= {"group": sub.group, "version": sub.version}
    return row


@functools.cache
def api_resources(group: str, version: str) -> bytes | None:
    rows = []
    for resource in RESOURCES:
        if (resource.group, resource.version) == (group, version):
            rows.append(_resource(resource))
            rows += [_subresource(resource, sub) for sub in resource.subresources]
    if not rows:
        return None
    gv = str(GroupVersion(group, version))
    return msgspec.json.encode({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": rows})


@functools.cache
def aggregated(core: bool) -> tuple[bytes, str]:
    """(APIGroupDiscoveryList, ETag) of /api or /apis."""
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
            "versions": [_version(gv) for gv in versions],
        }
        for name, versions in groups().items()
        if (name == "") == core
    ]
    body = msgspec.json.encode(
        {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}
    )
    return body, hashlib.sha256(body).hexdigest().upper()


def _version(gv: GroupVersion) -> dict[str, Any]:
    rows = []
    for resource in RESOURCES:
        if resource.gv != gv:
            continue
        row: dict[str, Any] = {
            "resource": resource.plural, "responseKind": {"group": gv.group, "version": gv.version, "kind": resource.kind},
            "scope": "Namespaced" if resource.namespaced else "Cluster", "singularResource": resource.singular,
            "verbs": list(resource.verbs),
        }  # fmt: skip
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
