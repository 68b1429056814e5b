"""The objects that pods refer to, fetched through the API and kept for a few seconds: one fetch serves many pods."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tiphys.api import authentication_v1, core_v1
from tiphys.api.catalog import resource_of
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError

FRESH = 5.0  # seconds an object is taken as it was fetched


class References:
    def __init__(self, client: Client) -> None:
        self.client = client
        self._kept: dict[tuple[type, str, str], tuple[float, asyncio.Future[Any]]] = {}
        self._tokens: dict[tuple[str, ...], tuple[float, str]] = {}

    async def get(self, kind: Any, namespace: str, name: str, fresh: float = FRESH) -> Any | None:
        """The object, at most `fresh` seconds old; None when it does not exist."""
        key, now = (kind, namespace, name), time.monotonic()
        standing = self._kept.get(key)
        if standing is None or now - standing[0] > fresh:
            if len(self._kept) > 2000:
                self._kept.clear()
            standing = self._kept[key] = (
                now,
                asyncio.ensure_future(self._fetch(kind, namespace, name)),
            )
        try:
            found = await asyncio.shield(standing[1])
        except Exception:
            self._kept.pop(key, None)
            raise
        if found is None:
            self._kept.pop(key, None)
        return found

    async def _fetch(self, kind: Any, namespace: str, name: str) -> Any | None:
        try:
            return await self.client.get(kind, name, namespace)
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    async def token(self, pod: core_v1.Pod, audience: str, seconds: int) -> str:
        """A token of the pod's service account, bound to the pod; a new one when most of its time is over."""
        meta, account = pod.metadata, pod.spec.service_account_name
        key, now = (meta.uid, account, audience, str(seconds)), time.time()
        standing = self._tokens.get(key)
        if standing is not None and now < standing[0]:
            return standing[1]
        request = authentication_v1.TokenRequest()
        request.spec.audiences = [audience] if audience else []
        request.spec.expiration_seconds = seconds
        request.spec.bound_object_ref = authentication_v1.BoundObjectReference(
            api_version="v1", kind="Pod", name=meta.name, uid=meta.uid
        )
        from tiphys.api.base import decode

        answer = await self.client.post(
            resource_of(core_v1.ServiceAccount), meta.namespace, account, "token", request
        )
        token = decode(answer, authentication_v1.TokenRequest).status.token
        self._tokens[key] = (now + seconds * 0.8, token)
        return token

    def forget(self, uid: str) -> None:
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]
