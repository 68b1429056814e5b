"""What a server says of requests: the code and the message, as tests compare them."""

from __future__ import annotations

import json
from typing import Any

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


async def told(
    server: LocalCluster, method: str, path: str, body: Any = None, **more: Any
) -> tuple[int, str]:
    text = body if isinstance(body, str | None) else json.dumps(body)
    data = text.encode() if text is not None else None
    try:
        await server.client.request(method, path, data, **more)
    except StatusError as error:
        return error.code, error.status.message
    return 0, ""


async def with_pod(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    await server.client.create(pod("a"))


def invalid(kind: str, why: str) -> tuple[int, str]:
    return 422, f'{kind}.meta.k8s.io "" is invalid: {why}'
