"""Who may ask a node's own server for what: paths stand for subresources of `nodes`, as in
upstream's kubelet, and the API server decides (`tiphys.client.delegation`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.client.client import Client
from tiphys.client.delegation import Asked, Delegation, ReviewError, caller_of

_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# First part of a path -> subresource of nodes. Upstream asks for the fine one before the coarse.
_FINE = {"pods": "pods", "runningpods": "pods", "healthz": "healthz", "configz": "configz"}
_COARSE = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}
_ANY_OTHER = "proxy"


class AccessError(Exception):
    """`code` is 401, 403 or, if the API server did not answer, 500."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def subresources(path: Sequence[str]) -> list[str]:
    """The subresources of `nodes` that a path, given as its parts, is about. To be allowed one of
    them is enough."""
    first = path[0] if path else ""
    fine = [_FINE[first]] if first in _FINE else []
    return [*fine, _COARSE.get(first, _ANY_OTHER)]


class Access:
    """For the server of the node of a name. `client` is the node's own."""

    def __init__(self, client: Client, node: str) -> None:
        self.delegation = Delegation(client)
        self._node = node

    async def check(
        self,
        certificate: Mapping[str, Any] | None,
        authorization: str,
        method: str,
        path: Sequence[str],
    ) -> None:
        """Raises AccessError unless the caller, who has the certificate or the Authorization
        header, may use the method on the path."""
        try:
            await self._check(certificate, authorization, method, path)
        except ReviewError as error:
            raise AccessError(500, str(error)) from None

    async def _check(
        self,
        certificate: Mapping[str, Any] | None,
        authorization: str,
        method: str,
        path: Sequence[str],
    ) -> None:
        caller = caller_of(certificate) or await self.delegation.bearer(authorization)
        if caller is None:
            raise AccessError(401, "Unauthorized")
        verb = _VERBS.get(method, "")
        wanted = subresources(path)
        for subresource in wanted:
            asked = Asked(verb, node=self._node, subresource=subresource)
            if await self.delegation.allows(caller, asked):
                return
        subject = f"user={caller.name}, verb={verb}, resource=nodes"
        shown = f"{subject}, subresource(s)=[{' '.join(wanted)}]"
        raise AccessError(403, f"Forbidden ({shown})")
