"""Tokens that a webhook authenticates: it gets a TokenReview, and its answers are cached for a
while. Upstream's `--authentication-token-webhook-config-file`."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tiphys.apiserver.http.request import User
from tiphys.client.config import load
from tiphys.client.posting import Poster, PostError

_MOST_KEPT = 4096
_TRIES, _PAUSE, _FACTOR = 5, 0.5, 1.5
VERSIONS = ("v1", "v1beta1")


class WebhookRefusal(Exception):
    """The webhook does not know the token, or does not answer."""


class _UserInfo(msgspec.Struct):
    username: str = ""
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class _Status(msgspec.Struct):
    authenticated: bool = False
    user: _UserInfo | None = None
    audiences: list[str] | None = None
    error: str = ""


class _Review(msgspec.Struct):
    status: _Status


@dataclass(frozen=True)
class TokenWebhookOptions:
    """`config_file` is a kubeconfig, `cache_ttl` in seconds."""

    config_file: Path
    version: str = "v1"
    cache_ttl: float = 120.0


class TokenWebhook:
    """`audiences` are this server's own."""

    def __init__(
        self,
        options: TokenWebhookOptions,
        audiences: list[str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if options.version not in VERSIONS:
            raise ValueError(
                f'unsupported authentication webhook version "{options.version}", supported '
                f"versions are {', '.join(VERSIONS)}"
            )
        self._poster = Poster(load(options.config_file))
        self._version = options.version
        self._ttl = options.cache_ttl
        self._audiences = audiences
        self._now = now
        self._kept: dict[bytes, tuple[_Status, float]] = {}

    async def close(self) -> None:
        await self._poster.close()

    async def user(self, token: str, audiences: list[str]) -> tuple[User, list[str]]:
        """(user of a token, those of `audiences` that it is for). Raises WebhookRefusal."""
        status = await self._status(token, audiences)
        if not status.authenticated:
            raise WebhookRefusal(status.error or "the token is not known")
        # From a webhook without audience support, tokens are for this server.
        meant = status.audiences or self._audiences
        shared = [audience for audience in meant if audience in audiences]
        if not shared:
            raise WebhookRefusal("the token is for others")
        info = status.user or _UserInfo()
        if not info.username:
            raise WebhookRefusal("the webhook names no user")
        return User(info.username, tuple(info.groups or ()), info.uid, info.extra or {}), shared

    async def _status(self, token: str, audiences: list[str]) -> _Status:
        key = hashlib.sha256("\0".join([token, *audiences]).encode(errors="surrogatepass")).digest()
        status, end = self._kept.get(key, (None, 0.0))
        if status is None or self._now() >= end:
            status = await self._review(token, audiences)
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            if self._ttl > 0:
                self._kept[key] = status, self._now() + self._ttl
        return status

    async def _review(self, token: str, audiences: list[str]) -> _Status:
        spec: dict[str, Any] = {"token": token}
        if self._version == "v1" or audiences != self._audiences:
            spec["audiences"] = audiences
        review = {
            "kind": "TokenReview",
            "apiVersion": f"authentication.k8s.io/{self._version}",
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": {"user": {}},
        }
        try:
            body = msgspec.json.encode(review)
        except UnicodeEncodeError:
            raise WebhookRefusal("the token is no text") from None
        pause = _PAUSE
        for attempt in range(1, _TRIES + 1):
            try:
                return msgspec.json.decode(await self._poster.post(body), type=_Review).status
            except msgspec.DecodeError as error:
                raise WebhookRefusal(f"the webhook's answer cannot be read: {error}") from None
            except PostError as error:
                if attempt == _TRIES or not error.is_transient:
                    raise WebhookRefusal(str(error)) from None
            await asyncio.sleep(pause)
            pause *= _FACTOR
        raise AssertionError("unreachable")
