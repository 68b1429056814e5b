"""Groups of the API that are not served by the registry: what an add-on that comes with
the cluster runs inside the API server.

Requests have been authenticated, authorized and given a seat before; a resource of the group is in
the catalogue, and so are its verbs.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from tiphys.api.catalog import Resource
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.registry.registry import Registry


@dataclass(frozen=True)
class ServerContext:
    """What a group is given. `node_tls` is for connections to nodes, None where there is none."""

    registry: Registry
    node_tls: ssl.SSLContext | None


class ServedGroup(Protocol):
    """The group of a name."""

    group: str

    async def run(self) -> None:
        """Its work beside requests, until it is cancelled."""

    async def answer(self, call: Call, resource: Resource) -> web.StreamResponse:
        """Of any verb that the resource has. Raises StatusError."""

    async def close(self) -> None: ...


Part = Callable[[ServerContext], ServedGroup]
