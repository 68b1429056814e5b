"""Who a sidecar is: the ServiceAccount of the pod that its token is bound to, in the API server's
word.

The token is for the mesh alone (its audience), so it opens nothing else; and the API server takes
none whose pod is gone.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import Any

import msgspec

from tiphys.addons.mesh import AUDIENCE
from tiphys.api import authentication_v1
from tiphys.client.client import Client

_LONGEST = 6000  # bytes of a token; from 8 KiB on gRPC refuses metadata by lot
_AT_ONCE = 8  # token reviews at a time
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_PREFIX = "system:serviceaccount:"
_BEARER = "Bearer "


class NotAdmitted(Exception):
    """The text is for the sidecar's log."""


@dataclass(frozen=True)
class Workload:
    """A pod and its account."""

    namespace: str
    account: str
    pod: str
    uid: str

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.pod}"


class Admittance:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def identify(self, metadata: Any) -> Workload:
        """By the metadata of a call. Raises NotAdmitted, and what a client raises when the API
        server cannot say."""
        token = bearer(metadata)
        if not is_meant_for_us(token):
            raise NotAdmitted(f"the token is not for {AUDIENCE}")
        spec = authentication_v1.TokenReviewSpec(token=token, audiences=[AUDIENCE])
        async with self._turn:
            review = await self._client.create(authentication_v1.TokenReview(spec=spec))
        return workload_of(review.status)


def bearer(metadata: Any) -> str:
    """The token of a call. Raises NotAdmitted."""
    values = [value for name, value in metadata or () if name == "authorization"]
    if len(values) != 1 or not isinstance(values[0], str) or not values[0].startswith(_BEARER):
        raise NotAdmitted("a sidecar says with one bearer token whose it is")
    token: str = values[0].removeprefix(_BEARER)
    if len(token) > _LONGEST:
        raise NotAdmitted(f"a token has at most {_LONGEST} bytes")
    return token


def is_meant_for_us(token: str) -> bool:
    """By its own claims, before a token review verifies them: others are no work for
    the API server."""
    parts = token.split(".")
    if len(parts) != 3:
        return False
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        audience = msgspec.json.decode(claims)["aud"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return AUDIENCE in (audience if isinstance(audience, list) else [audience])


def workload_of(status: authentication_v1.TokenReviewStatus) -> Workload:
    """Raises NotAdmitted for who is no pod."""
    if not status.authenticated or AUDIENCE not in status.audiences:
        raise NotAdmitted(f"the API server does not take the token: {status.error}")
    kind, _, rest = status.user.username.partition(_PREFIX)
    namespace, colon, account = rest.partition(":")
    pod = status.user.extra.get(_POD_NAME, [])
    uid = status.user.extra.get(_POD_UID, [])
    if kind or not colon or len(pod) != 1 or len(uid) != 1:
        raise NotAdmitted("the token is not bound to a pod")
    return Workload(namespace, account, pod[0], uid[0])
