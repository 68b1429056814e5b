"""Tokens of other issuers: whether they are genuine and for this server, and which user their
claims that it is. The rules, and their order, are upstream's (`oidc.go`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import time
from collections.abc import Callable
from typing import Any

import jwt
import msgspec

from tiphys.apiserver.access.authenticationtypes import JWTAuthenticator, PrefixedClaimOrExpression
from tiphys.apiserver.access.keysets import ALGORITHMS, Key, KeySet
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.http.request import User
from tiphys.machinery.cel import Budget, CelError

CREDENTIAL = "authentication.kubernetes.io/credential-id"
_LEEWAY = 300.0  # seconds that a token may be early, as upstream's library has it
_LONGEST = 256 << 10  # characters of a token
_LIST = "expression must return a string or a list of strings"


class TokenError(Exception):
    """Why a token is not accepted."""


def untrusted_issuer(token: str) -> str:
    """The issuer that a token claims, unverified. Empty for what is no token."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _LONGEST:
        return ""
    try:
        claims = _decoded(parts[1])
    except TokenError:
        return ""
    issuer = claims.get("iss")
    if issuer == "accounts.google.com":  # which omits the scheme
        return "https://accounts.google.com"
    return issuer if isinstance(issuer, str) else ""


def _decoded(part: str) -> dict[str, Any]:
    """The object in a part of a token. Raises TokenError."""
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        value = msgspec.json.decode(data)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise TokenError(f"oidc: malformed token: {error}") from None
    if not isinstance(value, dict):
        raise TokenError("oidc: malformed token: no object")
    return value


class TokenIssuer:
    """One issuer of the configuration. `algorithms` are those that its tokens may be signed by."""

    def __init__(
        self,
        configured: JWTAuthenticator,
        algorithms: tuple[str, ...] = ALGORITHMS,
        now: Callable[[], float] = time.time,
    ) -> None:
        issuer = configured.issuer
        self.url = issuer.url
        self.keys = KeySet(issuer.url, issuer.discovery_url, issuer.certificate_authority)
        self._configured = configured
        self._algorithms = algorithms
        self._now = now

    async def user(self, token: str) -> tuple[User, float]:
        """(who the token is of, when it ends). Raises TokenError."""
        claims = await self._verified(token)
        end = self._check(claims)
        return await self._mapped(claims), end

    # --- genuine ---

    async def _verified(self, token: str) -> dict[str, Any]:
        head, payload, _ = token.split(".")
        header = _decoded(head)
        algorithm = header.get("alg")
        name = header.get("kid", "")
        if algorithm not in self._algorithms:
            raise TokenError(f'oidc: verify token: id token signed with algorithm "{algorithm}"')
        if "crit" in header or not isinstance(name, str):
            raise TokenError("oidc: verify token: the head of the token is not understood")
        if not _is_signed(token, algorithm, name, self.keys.known()):
            # The key may be new.
            keys = await self.keys.refreshed()
            if not keys:
                raise TokenError(self.keys.problem or "oidc: authenticator not initialized")
            if not _is_signed(token, algorithm, name, keys):
                raise TokenError(
                    "oidc: verify token: failed to verify signature: failed to verify id token "
                    "signature"
                )
        return _decoded(payload)

    def _check(self, claims: dict[str, Any]) -> float:
        """When the token ends. Raises TokenError for another audience or outside its validity."""
        now = self._now()
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        wanted = self._configured.issuer.audiences
        if not any(name in wanted for name in audiences if isinstance(name, str)):
            raise TokenError(f"oidc: verify token: oidc: expected audience in {wanted}")
        end = _moment(claims, "exp")
        if end is None or not end > now:
            raise TokenError("oidc: verify token: oidc: token is expired")
        begin = _moment(claims, "nbf")
        if begin is not None and not begin <= now + _LEEWAY:
            raise TokenError("oidc: verify token: oidc: current time before the nbf (not before)")
        return end

    # --- whose ---

    async def _mapped(self, claims: dict[str, Any]) -> User:
        mappings = self._configured.claim_mappings
        name = await self._name(claims)
        groups = await self._groups(mappings.groups, claims)
        uid = await self._uid(claims)
        extra = await self._extra(claims)
        self._require(claims)
        for rule in self._configured.claim_validation_rules:
            if rule.expression:
                await _must_hold(rule, {"claims": claims}, "claim validation expression")
        info = {"username": name, "uid": uid, "groups": groups, "extra": extra}
        for user_rule in self._configured.user_validation_rules:
            await _must_hold(user_rule, {"user": info}, "user info validation rule")
        return User(name, tuple(groups), uid, extra)

    async def _name(self, claims: dict[str, Any]) -> str:
        mapping = self._configured.claim_mappings.username
        if mapping.expression:
            value = await _evaluated(mapping.expression, claims, "username claim expression")
            if not isinstance(value, str):
                raise TokenError(
                    "oidc: error evaluating username claim expression: username claim expression "
                    "must return a string"
                )
            if not value:
                raise TokenError("oidc: empty username via CEL expression is not allowed")
            return value
        name = _text(claims, mapping.claim, f'username claims "{mapping.claim}"')
        if mapping.claim == "email" and "email_verified" in claims:
            verified = claims["email_verified"]
            if not isinstance(verified, bool):
                raise TokenError("oidc: parse 'email_verified' claim: no boolean")
            if not verified:
                raise TokenError("oidc: email not verified")
        return (mapping.prefix or "") + name

    @staticmethod
    async def _groups(mapping: PrefixedClaimOrExpression, claims: dict[str, Any]) -> list[str]:
        if mapping.claim and mapping.claim in claims:
            value = claims[mapping.claim]
            listed = [value] if isinstance(value, str) else value
            if not isinstance(listed, list) or not all(isinstance(group, str) for group in listed):
                raise TokenError(f'oidc: parse groups claim "{mapping.claim}": no list of strings')
            return [(mapping.prefix or "") + group for group in listed]
        if not mapping.expression:
            return []
        source = "group claim expression"
        return _texts(await _evaluated(mapping.expression, claims, source), source)

    async def _uid(self, claims: dict[str, Any]) -> str:
        mapping = self._configured.claim_mappings.uid
        if mapping.claim:
            return _text(claims, mapping.claim, f'uid claim "{mapping.claim}"')
        if not mapping.expression:
            return ""
        value = await _evaluated(mapping.expression, claims, "uid claim expression")
        if not isinstance(value, str):
            raise TokenError(
                "oidc: error evaluating uid claim expression: uid claim expression must return a "
                "string"
            )
        return value

    async def _extra(self, claims: dict[str, Any]) -> dict[str, list[str]]:
        extra: dict[str, list[str]] = {}
        identifier = claims.get("jti")
        if isinstance(identifier, str) and identifier:
            extra[CREDENTIAL] = [f"JTI={identifier}"]
        for mapping in self._configured.claim_mappings.extra:
            source = "extra claim expression"
            values = _texts(await _evaluated(mapping.value_expression, claims, source), source)
            if values:
                extra[mapping.key] = values
        return extra

    def _require(self, claims: dict[str, Any]) -> None:
        for rule in self._configured.claim_validation_rules:
            if not rule.claim:
                continue
            if rule.claim not in claims:
                raise TokenError(f"oidc: required claim {rule.claim} not present in ID token")
            value = _text(claims, rule.claim, f"claim {rule.claim}")
            if value != rule.required_value:
                raise TokenError(
                    f"oidc: required claim {rule.claim} value does not match. Got = {value}, want "
                    f"= {rule.required_value}"
                )


def _is_signed(token: str, algorithm: str, name: str, keys: list[Key]) -> bool:
    """Whether one of the keys that the token may name has signed it."""
    for key in keys:
        if (name and key.id != name) or not key.fits(algorithm):
            continue
        try:
            jwt.PyJWS().decode_complete(token, key.public, algorithms=[algorithm])
            return True
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    return False


def _moment(claims: dict[str, Any], claim: str) -> float | None:
    """Seconds since the epoch; None if absent. Raises TokenError when it is no number."""
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenError(f"oidc: verify token: oidc: failed to unmarshal claims: {claim}")
    return float(value)


def _text(claims: dict[str, Any], claim: str, claim_use: str) -> str:
    value = claims.get(claim)
    if claim not in claims:
        raise TokenError(f"oidc: parse {claim_use}: claim not present")
    if not isinstance(value, str):
        raise TokenError(f"oidc: parse {claim_use}: no string")
    return value


def _texts(value: Any, source: str) -> list[str]:
    """A string, or a list of some, without empty ones."""
    if value is None:
        return []
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise TokenError(f"oidc: error evaluating {source}: {_LIST}")
    return [text for text in listed if text]


async def _evaluated(expression: str, claims: dict[str, Any], source: str) -> Any:
    try:
        return await aside(Budget().run, expression, {"claims": claims})
    except CelError as error:
        raise TokenError(
            f"oidc: error evaluating {source}: expression '{expression}' resulted in error: {error}"
        ) from None


async def _must_hold(rule: Any, variables: dict[str, Any], source: str) -> None:
    try:
        value = await aside(Budget().run, rule.expression, variables)
    except CelError as error:
        raise TokenError(
            f"oidc: error evaluating {source}: expression '{rule.expression}' resulted in error: "
            f"{error}"
        ) from None
    if value is not True:
        raise TokenError(
            f"oidc: error evaluating {source}: validation expression '{rule.expression}' failed: "
            f"{rule.message}"
        )


class Issuers:
    """The issuers of one configuration."""

    def __init__(self, issuers: list[TokenIssuer]) -> None:
        self._by_url = {issuer.url: issuer for issuer in issuers}

    async def user(self, token: str) -> tuple[User, float] | None:
        """As `TokenIssuer.user`; None for a token of an unknown issuer."""
        if not self._by_url:
            return None
        issuer = self._by_url.get(untrusted_issuer(token))
        return None if issuer is None else await issuer.user(token)

    async def are_reached(self, seconds: float) -> str:
        """Asks every issuer for its keys until it has given some. What is missing when the time
        is up, empty if nothing is."""
        try:
            async with asyncio.timeout(seconds):
                for issuer in self._by_url.values():
                    while not issuer.keys.known():
                        await issuer.keys.refreshed()
                        if not issuer.keys.known():
                            await asyncio.sleep(1)
        except TimeoutError:
            problems = (issuer.keys.problem for issuer in self._by_url.values())
            return ", ".join(filter(None, problems)) or "an issuer has no keys"
        return ""

    async def close(self) -> None:
        for issuer in self._by_url.values():
            await issuer.keys.close()
