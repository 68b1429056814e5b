"""Who may ask a node's own server what: upstream's delegated authentication and authorization. The API server says whose a
token is, and what users may do with `nodes/...`; a certificate of the cluster's authority names its user itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tiphys.api import authentication_v1, authorization_v1
from tiphys.client.client import Client, Unreachable
from tiphys.machinery.errors import StatusError

_TOKEN_KEPT, _ALLOWED_KEPT, _REFUSED_KEPT = (
    120.0,
    300.0,
    30.0,
)  # seconds that answers count, as upstream
_MOST_KEPT = 1000  # answers of each kind
_LONGEST_TOKEN = 64 << 10
_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_FINE = {"pods": "pods", "runningpods": "pods", "healthz": "healthz", "configz": "configz"}
_COARSE = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}
_OWNERS = "system:masters"  # may do everything, everywhere


class AccessError(Exception):
    """`code` is 401, 403 or, if the API server did not say, 500."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Caller:
    name: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


def subresources(path: Sequence[str]) -> list[str]:
    """What of `nodes` the parts of a path are about. To be allowed one of them is enough."""
    first = path[0] if path else ""
    return [*([_FINE[first]] if first in _FINE else []), _COARSE.get(first, "proxy")]


def caller_of(certificate: Mapping[str, Any] | None) -> Caller | None:
    """The user that a verified certificate names (`ssl.SSLSocket.getpeercert`)."""
    rows = [row for part in (certificate or {}).get("subject", ()) for row in part]
    name = next((value for key, value in rows if key == "commonName"), "")
    return (
        Caller(name, tuple(value for key, value in rows if key == "organizationName"))
        if name
        else None
    )


class Access:
    """For the server of one node. `client` is the node's own."""

    def __init__(self, client: Client, node: str) -> None:
        self._client, self._node = client, node
        self._callers: dict[str, tuple[float, Caller]] = {}
        self._answers: dict[tuple[Caller, str, str], tuple[float, bool]] = {}
        self._asking = asyncio.Semaphore(
            8
        )  # callers that nobody knows cannot keep the API server busy

    async def check(
        self,
        certificate: Mapping[str, Any] | None,
        authorization: str,
        method: str,
        path: Sequence[str],
    ) -> None:
        """Raises AccessError."""
        caller = caller_of(certificate) or await self._bearer(authorization)
        if caller is None:
            raise AccessError(401, "Unauthorized")
        verb, wanted = _VERBS.get(method, ""), subresources(path)
        for subresource in wanted:
            if _OWNERS in caller.groups or await self._may(caller, verb, subresource):
                return
        shown = (
            f"user={caller.name}, verb={verb}, resource=nodes, subresource(s)=[{' '.join(wanted)}]"
        )
        raise AccessError(403, f"Forbidden ({shown})")

    async def _bearer(self, authorization: str) -> Caller | None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
            return None
        kept = self._callers.get(token)
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        review = authentication_v1.TokenReview()
        review.spec.token = token
        status = (await self._ask(review)).status
        if not status.authenticated:
            return None
        user = status.user
        extra = tuple((key, tuple(values)) for key, values in user.extra.items())
        caller = Caller(user.username, tuple(user.groups), user.uid, extra)
        _keep(self._callers, token, (time.monotonic() + _TOKEN_KEPT, caller))
        return caller

    async def _may(self, caller: Caller, verb: str, subresource: str) -> bool:
        kept = self._answers.get((caller, verb, subresource))
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        review = authorization_v1.SubjectAccessReview()
        spec = review.spec
        spec.user, spec.groups, spec.uid = caller.name, list(caller.groups), caller.uid
        spec.extra = {key: list(values) for key, values in caller.extra}
        spec.resource_attributes = authorization_v1.ResourceAttributes(
            verb=verb, version="v1", resource="nodes", subresource=subresource, name=self._node
        )
        allowed = bool((await self._ask(review)).status.allowed)
        until = time.monotonic() + (_ALLOWED_KEPT if allowed else _REFUSED_KEPT)
        _keep(self._answers, (caller, verb, subresource), (until, allowed))
        return allowed

    async def _ask(self, review: Any) -> Any:
        async with self._asking:
            try:
                return await self._client.create(review)
            except (StatusError, Unreachable) as error:
                raise AccessError(
                    500, f"the API server was asked and did not say: {error}"
                ) from None


def _keep(answers: dict[Any, Any], key: Any, value: Any) -> None:
    if len(answers) >= _MOST_KEPT:
        answers.clear()
    answers[key] = value
