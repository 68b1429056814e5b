"""What the commands ask the API server, as the cluster's administrator."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from tiphys.cluster.state import Cluster


def get(cluster: Cluster, path: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """(status, body) of a GET. Raises OSError and HTTPException."""
    pki = cluster.pki
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    connection = http.client.HTTPSConnection(
        "127.0.0.1", cluster.port, context=context, timeout=timeout
    )
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def is_ready(cluster: Cluster) -> bool:
    """Whether the API server's /readyz reports ok within a second."""
    try:
        status, _ = get(cluster, "/readyz", 1.0)
    except (OSError, http.client.HTTPException):
        return False
    return status == 200


def items(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    """The objects of a list; none while the server does not answer."""
    try:
        status, body = get(cluster, path)
    except (OSError, http.client.HTTPException):
        return []
    return list(json.loads(body)["items"]) if status == 200 else []
