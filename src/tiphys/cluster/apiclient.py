"""What the commands ask the API server: as the cluster's administrator where one runs, as the node
on another machine that has joined; what a node may not list, as the identity that watches for its
policies."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tiphys.client import servers
from tiphys.cluster.plan import NODE_PEM, POLICY_PEM
from tiphys.cluster.state import Cluster

_JSON = "application/json"


class Answer(NamedTuple):
    status: int
    body: bytes

    @property
    def message(self) -> str:
        """The server's message about a request that it refused."""
        try:
            return str(json.loads(self.body)["message"])
        except (ValueError, LookupError, TypeError):
            return f"HTTP {self.status}"


class _Access(NamedTuple):
    """Where the server is, and the files that we are known by."""

    host: str
    port: int
    certificate: Path
    key: Path


def _accesses(cluster: Cluster, pem: str) -> list[_Access]:
    """At least one; each is tried when none before it can be connected to."""
    pki = cluster.pki
    if cluster.has_server:
        return [_Access("127.0.0.1", cluster.port, pki / "admin.crt", pki / "admin.key")]
    assert cluster.joined is not None
    known = [urlsplit(url).netloc for url in servers.read(cluster.servers_file)]
    places = dict.fromkeys([*known, *cluster.joined.servers])
    urls = [urlsplit(f"//{place}") for place in places]
    return [_Access(place.hostname or "", place.port or 0, pki / pem, pki / pem) for place in urls]


def request(
    cluster: Cluster,
    method: str,
    path: str,
    body: Any = None,
    content: str = _JSON,
    timeout: float = 5.0,
    pem: str = NODE_PEM,
) -> Answer:
    """`body` is written as JSON; `pem` says who asks on a machine without an API server. Raises
    OSError and HTTPException."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": content} if data else {}
    connection = _connected(cluster, timeout, pem)
    try:
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()


def _connected(cluster: Cluster, timeout: float, pem: str) -> http.client.HTTPSConnection:
    """A connection to the first server that is ready; where none is, to the last that takes one.
    Raises OSError."""
    *others, last = _accesses(cluster, pem)
    for access in others:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = _connection(cluster, access, timeout)
            if _says_ready(connection):
                return connection
            connection.close()
    return _connection(cluster, last, timeout)


def _says_ready(connection: http.client.HTTPSConnection) -> bool:
    """Of a server, on a connection that can be used again then. Raises OSError, HTTPException."""
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    response.read()
    return response.status == 200


def _connection(cluster: Cluster, access: _Access, timeout: float) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
    context.load_cert_chain(access.certificate, access.key)
    connection = http.client.HTTPSConnection(
        access.host, access.port, context=context, timeout=timeout
    )
    connection.connect()
    return connection


def get(cluster: Cluster, path: str, timeout: float = 5.0) -> Answer:
    """Raises OSError and HTTPException."""
    return request(cluster, "GET", path, timeout=timeout)


def is_ready(cluster: Cluster) -> bool:
    """Whether the API server's /readyz reports ok within a second."""
    try:
        answer = get(cluster, "/readyz", 1.0)
    except (OSError, http.client.HTTPException):
        return False
    return answer.status == 200


def items(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    """The objects of a list; none while the server does not answer."""
    try:
        answer = request(cluster, "GET", path, pem=POLICY_PEM)
    except (OSError, http.client.HTTPException):
        return []
    return list(json.loads(answer.body)["items"]) if answer.status == 200 else []
