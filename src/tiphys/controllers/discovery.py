"""What the server says it can list and delete, by aggregated discovery."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tiphys.api.catalog import Resource
from tiphys.client.client import Client

_ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_EVENTS = ("events.k8s.io", "events")  # the same objects as the core group's


class Deletable(NamedTuple):
    """Every namespaced resource that can be listed and deleted, built-in, custom and aggregated;
    and the group versions (``GROUP/VERSION``) whose server does not answer now."""

    resources: list[Resource]
    stale: list[str]


async def deletable(client: Client) -> Deletable:
    """Asks the server. Raises StatusError and Unreachable."""
    resources: dict[tuple[str, str], Resource] = {}
    stale: list[str] = []
    for path in ("/api", "/apis"):
        document = msgspec.json.decode(await client.request("GET", path, accept=_ACCEPT))
        for group in document["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                if version.get("freshness") == "Stale":
                    stale.append(f"{name}/{version['version']}")
                    continue
                for row in version.get("resources", ()):
                    if row["scope"] != "Namespaced" or not {"list", "delete"} <= set(row["verbs"]):
                        continue
                    resource = Resource(
                        name,
                        version["version"],
                        row["resource"],
                        row["responseKind"]["kind"],
                        verbs=tuple(row["verbs"]),
                    )
                    resources.setdefault((name, row["resource"]), resource)
    resources.pop(_EVENTS, None)
    return Deletable(list(resources.values()), stale)
