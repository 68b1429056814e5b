"""The scale subresource of whatever kind has one: its path by discovery, its number of replicas."""

from __future__ import annotations

import msgspec

from tiphys.api import autoscaling_v1
from tiphys.api.base import decode
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError, is_not_found


class Scales:
    """Finds scale subresources, and remembers the plurals of kinds."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._plurals: dict[tuple[str, str], str] = {}

    async def path(self, namespace: str, api_version: str, kind: str, name: str) -> str:
        """The path of an object's scale. Raises LookupError when the group has no such kind,
        ValueError when `api_version` is none, and StatusError when discovery fails."""
        plural = await self.plural(api_version, kind)
        root = _root(api_version or "v1")
        return f"{root}/namespaces/{namespace}/{plural}/{name}/scale"

    async def plural(self, api_version: str, kind: str) -> str:
        """The resource of a kind. Raises as `path` does."""
        version = api_version or "v1"
        if version.count("/") > 1:
            raise ValueError(f"unexpected GroupVersion string: {version}")
        if (version, kind) not in self._plurals:
            self._plurals[version, kind] = await self._discovered(version, kind)
        return self._plurals[version, kind]

    async def _discovered(self, version: str, kind: str) -> str:
        try:
            listed = msgspec.json.decode(await self._client.request("GET", _root(version)))
        except StatusError as error:
            if not is_not_found(error):
                raise
            listed = {"resources": []}
        for resource in listed["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                return str(resource["name"])
        group = version.rpartition("/")[0]
        raise LookupError(f'no matches for kind "{kind}" in group "{group}"')

    async def get(
        self, namespace: str, api_version: str, kind: str, name: str
    ) -> autoscaling_v1.Scale:
        """An object's scale. Raises as `path` does."""
        path = await self.path(namespace, api_version, kind, name)
        return decode(await self._client.request("GET", path), autoscaling_v1.Scale)


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"
