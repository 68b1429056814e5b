"""Who may ask a node's own server for what: upstream's delegated authentication and authorization.

The API server says whose a token is, and what users may do with `nodes/...`. A certificate of the
cluster's authority names its user itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tiphys.api import authentication_v1, authorization_v1
from tiphys.client.client import Client, Unreachable
from tiphys.machinery.errors import StatusError

K = TypeVar("K")
V = TypeVar("V")

# Seconds for which an answer of the API server counts, as upstream.
_TOKEN_KEPT = 120.0
_ALLOWED_KEPT = 300.0
_DENIED_KEPT = 30.0
_MOST_KEPT = 1000  # answers of each kind
_LONGEST_TOKEN = 64 << 10  # bytes
_MOST_REVIEWS = 8  # at the same time: unknown callers must not keep the API server busy

_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# First part of a path -> subresource of nodes. Upstream asks for the fine one before the coarse.
_FINE = {"pods": "pods", "runningpods": "pods", "healthz": "healthz", "configz": "configz"}
_COARSE = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}
_ANY_OTHER = "proxy"
_MASTERS = "system:masters"  # may do everything, everywhere


class AccessError(Exception):
    """`code` is 401, 403 or, if the API server did not answer, 500."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    name: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class _Kept(Generic[K, V]):
    """Answers that count for some seconds each."""

    def __init__(self) -> None:
        self._answers: dict[K, tuple[float, V]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: K) -> V | None:
        expires, answer = self._answers.get(key, (0.0, None))
        return answer if time.monotonic() < expires else None

    def put(self, key: K, answer: V, seconds: float) -> None:
        if len(self._answers) >= _MOST_KEPT:
            self._answers.clear()
        self._answers[key] = time.monotonic() + seconds, answer


def subresources(path: Sequence[str]) -> list[str]:
    """The subresources of `nodes` that a path, given as its parts, is about. To be allowed one of
    them is enough."""
    first = path[0] if path else ""
    fine = [_FINE[first]] if first in _FINE else []
    return [*fine, _COARSE.get(first, _ANY_OTHER)]


def caller_of(certificate: Mapping[str, Any] | None) -> Caller | None:
    """The user that a verified certificate names (`ssl.SSLSocket.getpeercert`).

    Of several common names the last one counts, as for the API server and for whoever signs:
    somebody who may ask for a certificate of his own name must not come with another's in front.
    """
    subject = (certificate or {}).get("subject", ())
    attributes = [attribute for names in subject for attribute in names]
    groups = tuple(value for key, value in attributes if key == "organizationName")
    names = [value for key, value in attributes if key == "commonName"]
    return Caller(names[-1], groups) if names and names[-1] else None


class Access:
    """For the server of the node of a name. `client` is the node's own."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._callers = _Kept[str, Caller]()
        self._decisions = _Kept[tuple[Caller, str, str], bool]()
        self._reviewing = asyncio.Semaphore(_MOST_REVIEWS)

    async def check(
        self,
        certificate: Mapping[str, Any] | None,
        authorization: str,
        method: str,
        path: Sequence[str],
    ) -> None:
        """Raises AccessError unless the caller, who has the certificate or the Authorization
        header, may use the method on the path."""
        caller = caller_of(certificate) or await self._bearer(authorization)
        if caller is None:
            raise AccessError(401, "Unauthorized")
        verb = _VERBS.get(method, "")
        wanted = subresources(path)
        for subresource in wanted:
            if _MASTERS in caller.groups or await self._may(caller, verb, subresource):
                return
        subject = f"user={caller.name}, verb={verb}, resource=nodes"
        shown = f"{subject}, subresource(s)=[{' '.join(wanted)}]"
        raise AccessError(403, f"Forbidden ({shown})")

    async def _bearer(self, authorization: str) -> Caller | None:
        """Whose a bearer token is."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
            return None
        known = self._callers.get(token)
        if known is not None:
            return known
        review = authentication_v1.TokenReview()
        review.spec.token = token
        status = (await self._review(review)).status
        if not status.authenticated:
            return None
        user = status.user
        extra = tuple((key, tuple(values)) for key, values in user.extra.items())
        caller = Caller(user.username, tuple(user.groups), user.uid, extra)
        self._callers.put(token, caller, _TOKEN_KEPT)
        return caller

    async def _may(self, caller: Caller, verb: str, subresource: str) -> bool:
        key = (caller, verb, subresource)
        known = self._decisions.get(key)
        if known is not None:
            return known
        review = authorization_v1.SubjectAccessReview()
        spec = review.spec
        spec.user = caller.name
        spec.groups = list(caller.groups)
        spec.uid = caller.uid
        spec.extra = {name: list(values) for name, values in caller.extra}
        spec.resource_attributes = authorization_v1.ResourceAttributes(
            verb=verb, version="v1", resource="nodes", subresource=subresource, name=self._node
        )
        allowed = bool((await self._review(review)).status.allowed)
        self._decisions.put(key, allowed, _ALLOWED_KEPT if allowed else _DENIED_KEPT)
        return allowed

    async def _review(self, review: Any) -> Any:
        async with self._reviewing:
            try:
                return await self._client.create(review)
            except (StatusError, Unreachable) as error:
                text = f"the API server did not answer a review: {error}"
                raise AccessError(500, text) from None
