"""The public keys of an issuer: discovered, fetched and kept.

What an issuer answers is bounded in time, bytes and keys; redirects are not followed, and what a
token's header names of other keys (`jku`, `x5u`, `jwk`) is ignored. However many tokens wait
for keys, they are fetched once, and not more often than every second; keys that are older than ten
minutes are fetched again behind the requests that use them.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tiphys.client.answers import TooLong, body_of
from tiphys.client.tasks import TaskGroup

log = logging.getLogger(__name__)

ALGORITHMS = ("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_WELL_KNOWN = "/.well-known/openid-configuration"
_SECONDS = 10.0  # that an issuer may take
_MOST_BYTES = 1 << 20
_MOST_KEYS = 100
_MOST_BITS = 8192  # of an RSA key: what is longer takes long to verify
_PAUSE = 1.0  # seconds between two attempts
_FRESH = 600.0  # seconds after which keys are fetched again


class IssuerError(Exception):
    """The issuer cannot be reached, or does not answer as it should."""


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey

    def fits(self, algorithm: str) -> bool:
        """Whether the algorithm is one of this key's kind, and of its curve."""
        if isinstance(self.public, rsa.RSAPublicKey):
            return algorithm[:2] in ("RS", "PS")
        return _CURVES.get(algorithm) == self.public.curve.name


class KeySet:
    """The keys of the issuer at `url`; `discovery_url` is where its document is, if not there."""

    def __init__(
        self,
        url: str,
        discovery_url: str,
        authority: str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._discovery = discovery_url or url.rstrip("/") + _WELL_KNOWN
        self._tls = ssl.create_default_context(cadata=authority or None)
        self._now = now
        self._session: aiohttp.ClientSession | None = None
        self._tasks = TaskGroup("issuer")
        self._jwks_uri = ""
        self._keys: list[Key] = []
        self._fetched = self._tried = -_FRESH
        self._under_way: asyncio.Task[None] | None = None
        self.problem = f'oidc: authenticator for issuer "{url}" is not initialized'

    async def close(self) -> None:
        await self._tasks.stop()
        if self._session is not None:
            await self._session.close()

    def known(self) -> list[Key]:
        """The keys at hand. Old ones are refetched meanwhile."""
        now = self._now()
        if self._keys and now - self._fetched > _FRESH and now - self._tried > _PAUSE:
            self._begin()
        return self._keys

    async def refreshed(self) -> list[Key]:
        """The keys as the issuer has them now, or as they were if it was asked a moment ago."""
        if self._under_way is None and self._now() - self._tried < _PAUSE:
            return self._keys
        task = self._under_way or self._begin()
        await asyncio.shield(task)
        return self._keys

    def _begin(self) -> asyncio.Task[None]:
        if self._under_way is None:
            self._under_way = self._tasks.start(self._refresh(), "keys")
        return self._under_way

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                if not self._jwks_uri:
                    self._jwks_uri = await self._discovered()
                data = await self._get(self._jwks_uri)
            keys = await asyncio.to_thread(read_keys, data)
            self._keys = keys
            self._fetched = self._now()
            self.problem = ""
        except (IssuerError, TimeoutError) as error:
            self._jwks_uri = ""  # it may have moved
            self.problem = f'oidc: issuer "{self._url}": {error or "it took too long"}'
            log.warning("The keys of an issuer cannot be fetched: %s", self.problem)
        finally:
            self._tried = self._now()
            self._under_way = None

    async def _discovered(self) -> str:
        document = _object(await self._get(self._discovery))
        if document.get("issuer") != self._url:
            raise IssuerError(
                "issuer did not match the issuer returned by provider, expected "
                f'"{self._url}" got "{document.get("issuer")}"'
            )
        place = document.get("jwks_uri")
        if not isinstance(place, str) or not place.startswith("https://"):
            raise IssuerError("provider did not return JWKS URL")
        return place

    async def _get(self, url: str) -> bytes:
        try:
            answer = await self._http().get(url, ssl=self._tls, allow_redirects=False)
            async with answer:
                if answer.status != 200:
                    raise IssuerError(f"{url} answered {answer.status}")
                return await body_of(answer, _MOST_BYTES)
        except (aiohttp.ClientError, OSError, ValueError, TooLong) as error:
            raise IssuerError(f"{url}: {error}") from None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IssuerError(f"the answer is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise IssuerError("the answer is no object")
    return document


def read_keys(data: bytes) -> list[Key]:
    """The keys of a JSON web key set that signatures can be verified with. Raises IssuerError."""
    listed = _object(data).get("keys")
    if not isinstance(listed, list):
        raise IssuerError("the answer has no keys")
    if len(listed) > _MOST_KEYS:
        raise IssuerError(f"the answer has more than {_MOST_KEYS} keys")
    return [key for web_key in listed if (key := _key(web_key)) is not None]


def _key(web_key: Any) -> Key | None:
    """A key, None for one of another kind, and for a private one: it is none any more."""
    if not isinstance(web_key, dict) or web_key.get("kty") not in ("RSA", "EC") or "d" in web_key:
        return None
    try:
        public = jwt.PyJWK(web_key, algorithm=_algorithm(web_key)).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(public, rsa.RSAPublicKey):
        if not 1024 <= public.key_size <= _MOST_BITS:
            return None
    elif not isinstance(public, ec.EllipticCurvePublicKey):
        return None
    name = web_key.get("kid", "")
    return Key(name if isinstance(name, str) else "", public)


def _algorithm(web_key: dict[str, Any]) -> str:
    """An algorithm to read the key by. Which ones it is good for is decided by its kind."""
    curves = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
    return "RS256" if web_key["kty"] == "RSA" else curves[str(web_key.get("crv"))]
