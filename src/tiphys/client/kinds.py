"""What a caller may name a kind by, and which resource serves it.

A kind is a struct type of `tiphys.api`, or a dictionary with `apiVersion` and `kind` (a whole
manifest will do). Objects come back in the form they were asked for: structs for struct types,
dictionaries for dictionaries. Built-in kinds are in the catalogue; others are looked up in the
server's discovery, as client-go's RESTMapper does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tiphys.api.base import Struct, decoder
from tiphys.api.catalog import BY_KIND, Resource, resource_of
from tiphys.machinery.errors import StatusError, is_not_found

Manifest = dict[str, Any]
Named = type[Struct] | Struct | Mapping[str, Any]

# What is written from our types has no field that the server does not know: it need not look for
# any.
_TYPED_QUERY = {"fieldValidation": "Ignore"}
# A dictionary may have a misspelt field: kubectl has the server refuse those, and so do we.
_MANIFEST_QUERY = {"fieldValidation": "Strict"}


class UnknownKind(LookupError):
    """The server has no resource of that kind."""


@dataclass(frozen=True)
class Target:
    """How objects of one kind are addressed and read."""

    resource: Resource
    decode: Callable[[bytes | msgspec.Raw], Any]
    write_query: dict[str, str]

    def collection_path(self, namespace: str) -> str:
        """Where an object is created; without a namespace: in `default`."""
        return self.resource.path(namespace or "default")

    def object_path(self, namespace: str, name: str, subresource: str = "") -> str:
        """Raises ValueError without a name: the path would be that of the whole collection."""
        if not name:
            raise ValueError(f"which {self.resource.kind}? it has no name")
        return self.resource.path(namespace or "default", name, subresource)


class Kinds:
    """Finds the resource of a kind. `get` fetches a path of the server."""

    def __init__(self, get: Callable[[str], Awaitable[bytes]]) -> None:
        self._get = get
        self._typed: dict[type[Struct], Target] = {}
        self._discovered: dict[tuple[str, str], Resource] = {}

    async def find(self, kind: object) -> Target:
        """Raises UnknownKind, and ValueError for a dictionary that names no kind."""
        if isinstance(kind, Mapping):
            return Target(await self._resource(kind), msgspec.json.decode, _MANIFEST_QUERY)
        struct_type: type[Struct] = kind if isinstance(kind, type) else type(kind)
        target = self._typed.get(struct_type)
        if target is None:
            target = Target(resource_of(struct_type), decoder(struct_type).decode, _TYPED_QUERY)
            self._typed[struct_type] = target
        return target

    async def _resource(self, manifest: Mapping[str, Any]) -> Resource:
        api_version = manifest.get("apiVersion")
        kind = manifest.get("kind")
        if not (isinstance(api_version, str) and isinstance(kind, str) and api_version and kind):
            raise ValueError("the dictionary must have apiVersion and kind")
        key = (api_version, kind)
        resource = BY_KIND.get(key) or self._discovered.get(key)
        if resource is None:
            resource = self._discovered[key] = await self._discover(api_version, kind)
        return resource

    async def _discover(self, api_version: str, kind: str) -> Resource:
        group, _, version = api_version.rpartition("/")
        try:
            listed = msgspec.json.decode(
                await self._get(f"/apis/{api_version}" if group else f"/api/{version}")
            )
        except StatusError as error:
            if not is_not_found(error):
                raise
            listed = {"resources": []}
        for row in listed["resources"]:
            if row["kind"] == kind and "/" not in row["name"]:
                return Resource(group, version, row["name"], kind, namespaced=row["namespaced"])
        raise UnknownKind(f'no matches for kind "{kind}" in version "{api_version}"')


def name_of(obj: object) -> str:
    return _of_metadata(obj, "name")


def namespace_of(obj: object) -> str:
    return _of_metadata(obj, "namespace")


def _of_metadata(obj: object, field: str) -> str:
    metadata = obj.get("metadata") if isinstance(obj, Mapping) else getattr(obj, "metadata", None)
    value = metadata.get(field) if isinstance(metadata, Mapping) else getattr(metadata, field, "")
    return str(value or "")
