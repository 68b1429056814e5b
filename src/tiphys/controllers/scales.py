"""The scale subresource of whatever kind has one: its path by discovery, its number of replicas."""

from __future__ import annotations

import msgspec

from tiphys.api import autoscaling_v1
from tiphys.api.base import decode
from tiphys.client.client import Client


class Scales:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._paths: dict[tuple[str, str], str] = {}

    async def path(self, namespace: str, api_version: str, kind: str, name: str) -> str:
        """Raises LookupError when the group has no such kind, StatusError when there is no such group."""
        key = (api_version or "v1", kind)
        if key not in self._paths:
            base = f"/apis/{key[0]}" if "/" in key[0] else f"/api/{key[0]}"
            listed = msgspec.json.decode(await self._client.request("GET", base))
            plural = next((r["name"] for r in listed["resources"] if r["kind"] == kind and "/" not in r["name"]), None)
            if plural is None:
                raise LookupError(f'no matches for kind "{kind}" in group "{key[0]}"')
            self._paths[key] = f"{base}/namespaces/{{}}/{plural}/{{}}/scale"
        return self._paths[key].format(namespace, name)

    async def get(self, namespace: str, api_version: str, kind: str, name: str) -> autoscaling_v1.Scale:
        """Raises LookupError, StatusError."""
        path = await self.path(namespace, api_version, kind, name)
        return decode(await self._client.request("GET", path), autoscaling_v1.Scale)
