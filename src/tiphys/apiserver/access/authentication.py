"""Who is asking: client certificates, static tokens, bootstrap tokens, service account tokens,
other issuers' tokens, and those that a webhook knows, in that order."""

from __future__ import annotations

import csv
import hashlib
import hmac
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from tiphys.apiserver.access.authenticationtypes import Anonymous
from tiphys.apiserver.access.bootstraptokens import BootstrapTokens
from tiphys.apiserver.access.issuers import Issuers, TokenError
from tiphys.apiserver.access.serviceaccounttokens import (
    CREDENTIAL,
    InvalidToken,
    ServiceAccountTokens,
)
from tiphys.apiserver.access.tokenwebhooks import TokenWebhook, WebhookRefusal
from tiphys.apiserver.http.request import ANONYMOUS, AUTHENTICATED, User

_BELIEVED = 10.0  # seconds that another's token is not verified again
_LONGEST_TOKEN = 64 << 10  # characters; an issuer's token with 500 groups has 20,000
_MOST_REMEMBERED = 4096  # tokens, and certificates, that are not read again


class Authenticator:
    """Tries each way in turn. `static` is a file of ``token,user,uid,"group,group"`` lines."""

    def __init__(
        self,
        tokens: ServiceAccountTokens,
        static: Path | None = None,
        issuers: Issuers | None = None,
        webhook: TokenWebhook | None = None,
        anonymous: Anonymous | None = None,
        bootstrap: BootstrapTokens | None = None,
    ) -> None:
        self.tokens = tokens
        self.issuers = issuers or Issuers([])
        self._webhook = webhook
        self._bootstrap = bootstrap
        self._static = _read_static(static) if static else []
        self._certificates: dict[bytes, tuple[User, float]] = {}
        # Users of others' tokens, by a digest of these, and until when that holds.
        self._others: dict[bytes, tuple[User, float]] = {}
        anonymous = anonymous or Anonymous(enabled=True)
        self._lets_anybody = anonymous.enabled and not anonymous.conditions
        self._open_paths = frozenset(condition.path for condition in anonymous.conditions)

    async def close(self) -> None:
        await self.issuers.close()
        if self._webhook is not None:
            await self._webhook.close()

    async def trust(self, issuers: Issuers) -> None:
        """Replaces the trusted issuers."""
        before = self.issuers
        self.issuers = issuers
        self._others.clear()
        await before.close()

    def anonymous(self, path: str) -> User:
        """The user of a request without credentials. Raises InvalidToken where such are
        not let in."""
        if self._lets_anybody or path in self._open_paths:
            return ANONYMOUS
        raise InvalidToken("anonymous requests are not allowed here")

    def certificate(self, der: bytes) -> User | None:
        """The user named by a client certificate that TLS has already verified: CN and O. None when
        it names no user. Raises InvalidToken when it has ended since: connections live longer."""
        user, ends = self._certificates.get(der, (None, 0.0))
        if user is None:
            user, ends = _read_certificate(der)
            if user is None:
                return None
            if len(self._certificates) > _MOST_REMEMBERED:
                self._certificates.clear()
            self._certificates[der] = user, ends
        if self.tokens.now() > ends:
            raise InvalidToken("x509: certificate has expired or is not yet valid")
        return user

    async def token(self, token: str) -> User:
        """The user behind a bearer token. Raises InvalidToken."""
        return (await self.review(token))[0]

    async def review(
        self, token: str, audiences: list[str] | None = None
    ) -> tuple[User, list[str]]:
        """(user behind a bearer token, those of `audiences` that it is for; none: this server).
        Raises InvalidToken."""
        if len(token) > _LONGEST_TOKEN:
            raise InvalidToken
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        own_issuer = self.tokens.issuer
        is_meant_here = own_issuer in (audiences or [own_issuer])
        for known, user in self._static:
            if hmac.compare_digest(known, digest) and is_meant_here:
                return user, [own_issuer]
        joining = self._bootstrap.user(token) if self._bootstrap is not None else None
        if joining is not None and is_meant_here:
            return joining, [own_issuer]
        try:
            return self.tokens.review(token, audiences)
        except InvalidToken as error:
            problem = error
        if is_meant_here and (other := await self._of_issuer(token, digest)) is not None:
            return other, [own_issuer]
        if self._webhook is not None:
            try:
                user, shared = await self._webhook.user(token, audiences or [own_issuer])
                return _authenticated(user), shared
            except WebhookRefusal as refusal:
                raise InvalidToken(str(refusal)) from None
        try:
            raise problem
        finally:
            del problem  # which refers to this frame by its traceback: a cycle, for each bad token

    async def _of_issuer(self, token: str, digest: bytes) -> User | None:
        """The user of another issuer's token, None if it is of none that is known. What was
        verified is remembered for a moment, as upstream does."""
        user, until = self._others.get(digest, (None, 0.0))
        now = self.tokens.now()
        if user is not None and now < until:
            return user
        try:
            verified = await self.issuers.user(token)
        except TokenError as error:
            raise InvalidToken(str(error)) from None
        if verified is None:
            return None
        if len(self._others) >= _MOST_REMEMBERED:
            self._others.clear()
        user = _authenticated(verified[0])
        self._others[digest] = user, min(verified[1], now + _BELIEVED)
        return user


def _authenticated(user: User) -> User:
    return replace(user, groups=_with_authenticated(list(user.groups)))


def _read_certificate(der: bytes) -> tuple[User | None, float]:
    """(user, end in seconds since the epoch). None when it names no user."""
    certificate = x509.load_der_x509_certificate(der)
    names = _values(certificate, x509.NameOID.COMMON_NAME)
    # Of several names the last one counts, as for everybody who reads certificates with Go.
    name = names[-1] if names else ""
    if not name:
        return None, 0.0
    groups = _with_authenticated(_values(certificate, x509.NameOID.ORGANIZATION_NAME))
    extra = {CREDENTIAL: [f"X509SHA256={hashlib.sha256(der).hexdigest()}"]}
    return User(name, groups, extra=extra), certificate.not_valid_after_utc.timestamp()


def _values(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]


def _with_authenticated(groups: list[str]) -> tuple[str, ...]:
    return tuple(groups) if AUTHENTICATED in groups else (*groups, AUTHENTICATED)


def _read_static(path: Path) -> list[tuple[bytes, User]]:
    """(SHA-256 of a token, its user) of each line. Lines with less than three values are none."""
    users = []
    for row in csv.reader(path.read_text().splitlines()):
        if len(row) < 3:
            continue
        token, name, uid = (item.strip() for item in row[:3])
        listed = row[3].split(",") if len(row) > 3 else []
        groups = [group.strip() for group in listed if group.strip()]
        digest = hashlib.sha256(token.encode()).digest()
        users.append((digest, User(name, (*groups, AUTHENTICATED), uid)))
    return users
