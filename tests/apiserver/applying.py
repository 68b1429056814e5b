"""Server-side apply, as tests ask for it."""

from __future__ import annotations

from typing import Any

from tests.apiserver.builders import call
from tiphys.testing import LocalCluster

APPLY = "application/apply-patch+yaml"


MAPS = "/api/v1/namespaces/default/configmaps"


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
