"""Upstream's delegated authentication and authorization: servers beside the API server ask it whose
a token is, and what users may do. A certificate of the cluster's authority names its user itself.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
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
MASTERS = "system:masters"  # may do everything, everywhere


class ReviewError(Exception):
    """The API server did not answer a review."""


@dataclass(frozen=True)
class Caller:
    """The authenticated caller."""

    name: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


ANONYMOUS = Caller("system:anonymous", ("system:unauthenticated",))


@dataclass(frozen=True)
class Asked:
    """What a caller wants to do: a verb on a path, or on a subresource of the node of that name."""

    verb: str
    path: str = ""
    node: str = ""
    subresource: str = ""


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


def has_ended(certificate: Mapping[str, Any]) -> bool:
    """Whether a certificate is not good any more: connections live longer."""
    return ssl.cert_time_to_seconds(certificate["notAfter"]) < time.time()


def caller_of(certificate: Mapping[str, Any] | None) -> Caller | None:
    """The user that a verified certificate names (`ssl.SSLSocket.getpeercert`), until it ends.

    Of several common names the last one counts, as for the API server and for signers:
    a user who may request a certificate for its own name must not prepend another's.
    """
    if not certificate or has_ended(certificate):
        return None
    subject = certificate.get("subject", ())
    attributes = [attribute for names in subject for attribute in names]
    groups = tuple(value for key, value in attributes if key == "organizationName")
    names = [value for key, value in attributes if key == "commonName"]
    return Caller(names[-1], groups) if names and names[-1] else None


class Delegation:
    """`client` is the server's own; it may create reviews (the role system:auth-delegator)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.callers = _Kept[str, Caller]()
        self._decisions = _Kept[tuple[Caller, Asked], bool]()
        self._reviewing = asyncio.Semaphore(_MOST_REVIEWS)

    async def bearer(self, authorization: str) -> Caller | None:
        """Whose the token in an Authorization header is. Raises ReviewError."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
            return None
        known = self.callers.get(token)
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
        self.callers.put(token, caller, _TOKEN_KEPT)
        return caller

    async def allows(self, caller: Caller, asked: Asked) -> bool:
        """Raises ReviewError."""
        if MASTERS in caller.groups:
            return True
        key = (caller, asked)
        known = self._decisions.get(key)
        if known is not None:
            return known
        review = authorization_v1.SubjectAccessReview()
        spec = review.spec
        spec.user = caller.name
        spec.groups = list(caller.groups)
        spec.uid = caller.uid
        spec.extra = {name: list(values) for name, values in caller.extra}
        if asked.path:
            spec.non_resource_attributes = authorization_v1.NonResourceAttributes(
                path=asked.path, verb=asked.verb
            )
        else:
            spec.resource_attributes = authorization_v1.ResourceAttributes(
                verb=asked.verb,
                version="v1",
                resource="nodes",
                subresource=asked.subresource,
                name=asked.node,
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
                raise ReviewError(text) from None
