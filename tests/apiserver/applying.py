"""Server-side apply, as tests ask for it."""

from __future__ import annotations

import json
from typing import Any

from tiphys.testing import LocalCluster

APPLY = "application/apply-patch+yaml"


MAPS = "/api/v1/namespaces/default/configmaps"


async def call(
    server: LocalCluster,
    method: str,
    path: str,
    body: Any = None,
    content: str = "application/json",
    **query: str,
) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    return json.loads(await server.client.request(method, path, data, query or None, content))


async def apply(
    server: LocalCluster, path: str, body: Any, manager: str = "one", **query: str
) -> Any:
    return await call(
        server,
        "PATCH",
        f"{path}/{body['metadata']['name']}",
        body,
        APPLY,
        fieldManager=manager,
        **query,
    )
