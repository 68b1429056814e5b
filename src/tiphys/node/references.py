"""The objects that pods refer to, fetched through the API and kept for a few seconds: one fetch
serves many pods."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from tiphys.api import authentication_v1, core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError, is_not_found

FRESH = 5.0  # seconds for which an object is taken as it was fetched
_MOST_KEPT = 2000  # objects
_TOKEN_AGE = 0.8  # of its time, after which a token is replaced, as upstream


class _Fetch(NamedTuple):
    started_at: float
    result: asyncio.Future[Any]


class _Token(NamedTuple):
    expires: float
    text: str


class References:
    """Fetches with the node's own client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._fetches: dict[tuple[type, str, str], _Fetch] = {}
        self._tokens: dict[tuple[str, ...], _Token] = {}  # the first of a key is the pod's uid

    async def get(self, kind: Any, namespace: str, name: str, fresh: float = FRESH) -> Any | None:
        """The object, at most `fresh` seconds old; None when it does not exist. Raises StatusError,
        Unreachable."""
        key = (kind, namespace, name)
        now = time.monotonic()
        fetch = self._fetches.get(key)
        if fetch is None or now - fetch.started_at > fresh:
            if len(self._fetches) > _MOST_KEPT:
                self._fetches.clear()
            fetch = _Fetch(now, asyncio.ensure_future(self._fetch(kind, namespace, name)))
            self._fetches[key] = fetch
        try:
            # Others wait for the same fetch: one that is cancelled does not cancel it.
            referenced = await asyncio.shield(fetch.result)
        except Exception:
            self._fetches.pop(key, None)
            raise
        if referenced is None:
            self._fetches.pop(key, None)
        return referenced

    async def _fetch(self, kind: Any, namespace: str, name: str) -> Any | None:
        try:
            return await self.client.get(kind, name, namespace)
        except StatusError as error:
            if is_not_found(error):
                return None
            raise

    async def token(self, pod: core_v1.Pod, audience: str, seconds: int) -> str:
        """A token of the pod's service account that is bound to the pod and valid for `seconds`.
        Raises StatusError, Unreachable."""
        meta = pod.metadata
        account = pod.spec.service_account_name
        key = (meta.uid, account, audience, str(seconds))
        now = time.time()
        known = self._tokens.get(key)
        if known is not None and now < known.expires:
            return known.text
        request = authentication_v1.TokenRequest()
        request.spec.audiences = [audience] if audience else []
        request.spec.expiration_seconds = seconds
        request.spec.bound_object_ref = authentication_v1.BoundObjectReference(
            api_version="v1", kind="Pod", name=meta.name, uid=meta.uid
        )
        accounts = resource_of(core_v1.ServiceAccount)
        answer = await self.client.post(accounts, meta.namespace, account, "token", request)
        text = decode(answer, authentication_v1.TokenRequest).status.token
        self._tokens[key] = _Token(now + seconds * _TOKEN_AGE, text)
        return text

    def forget(self, uid: str) -> None:
        """Drops the tokens of a pod that is gone."""
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]
