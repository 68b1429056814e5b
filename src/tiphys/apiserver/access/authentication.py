"""Who is asking: client certificates, static tokens, bootstrap tokens, service account tokens,
other issuers' tokens, and those that a webhook knows, in that order."""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.api.catalog import BY_PATH, Resource
from tiphys.apiserver.access.authenticationconfiguration import Anonymous
from tiphys.apiserver.access.bootstraptokens import BootstrapTokens
from tiphys.apiserver.access.issuers import Issuers, TokenError
from tiphys.apiserver.access.tokenwebhooks import TokenWebhook, WebhookRefusal
from tiphys.apiserver.http.request import ANONYMOUS, User
from tiphys.machinery import goformat, timestamps
from tiphys.store.store import Store

AUTHENTICATED = "system:authenticated"
_ALGORITHM = "ES256"
# Seconds that clocks may differ, and that a token outlives the deletion of what it is bound to.
_LEEWAY = 60
_POD = BY_PATH["", "v1", "pods"]
_ACCOUNT = BY_PATH["", "v1", "serviceaccounts"]
_SECRET = BY_PATH["", "v1", "secrets"]
_NODE = BY_PATH["", "v1", "nodes"]
_BELIEVED = 10.0  # seconds that another's token is not verified again
_LONGEST_TOKEN = 64 << 10  # characters, of whoever comes: an issuer's with 500 groups has 20,000
_MOST_REMEMBERED = 4096  # tokens, and certificates, that are not read again
_CREDENTIAL = "authentication.kubernetes.io/credential-id"


class InvalidToken(Exception):
    """The token is not one of ours, or not valid any more."""


class _Reference(msgspec.Struct):
    name: str
    uid: str = ""


class _Private(msgspec.Struct):
    namespace: str
    serviceaccount: _Reference
    pod: _Reference | None = None
    secret: _Reference | None = None
    node: _Reference | None = None


class _Claims(msgspec.Struct):
    """What a token says. Times are seconds since the epoch."""

    sub: str
    exp: float
    private: _Private = msgspec.field(name="kubernetes.io")
    aud: list[str] = []
    nbf: float = 0
    iat: float = 0
    jti: str = ""


def _audiences(claim: object) -> object:
    """A token for one audience may name it without a list."""
    if claim is None:
        return []
    return [claim] if isinstance(claim, str) else claim


def _listed(names: list[str]) -> str:
    return "[" + " ".join(goformat.quoted(name) for name in names) + "]"


def _extra(kind: str, reference: _Reference) -> dict[str, list[str]]:
    return {
        f"authentication.kubernetes.io/{kind}-name": [reference.name],
        f"authentication.kubernetes.io/{kind}-uid": [reference.uid],
    }


class _Meta(msgspec.Struct):
    uid: str = ""
    deletionTimestamp: str | None = None


class _Identity(msgspec.Struct):
    metadata: _Meta


_identity = msgspec.json.Decoder(_Identity).decode


class ServiceAccountTokens:
    """Signs and checks the tokens of service accounts. A token is bound to its account and, when it
    says so, to a pod, secret or node: it ends with them."""

    def __init__(
        self, key: bytes, issuer: str, store: Store, now: Callable[[], float] = time.time
    ) -> None:
        private = serialization.load_pem_private_key(key, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        self._private, self.public = private, private.public_key()
        self.issuer = issuer
        self._store = store
        self.now = now
        der = self.public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.key_id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
        self._known: dict[str, _Claims] = {}

    def sign(
        self,
        namespace: str,
        name: str,
        uid: str,
        seconds: int,
        audiences: list[str] | None = None,
        bound: tuple[str, str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> tuple[str, float]:
        """(token, expiry). `bound` is (kind, name, uid) of what the token ends with."""
        now = int(self.now())
        private: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": uid},
        }
        if bound:
            private[bound[0].lower()] = {"name": bound[1], "uid": bound[2]}
        private.update(extra or {})
        claims = {
            "aud": audiences or [self.issuer],
            "exp": now + seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        return jwt.encode(claims, self._private, _ALGORITHM, {"kid": self.key_id}), now + seconds

    @staticmethod
    def credential_id(token: str) -> str:
        """What audit events call a token that was signed here."""
        claims = jwt.decode(token, options={"verify_signature": False})
        return f"JTI={claims['jti']}"

    def review(self, token: str, audiences: list[str] | None = None) -> tuple[User, list[str]]:
        """(user of a valid token, those of `audiences` that it is for). Raises InvalidToken."""
        claims = self._claims(token)
        self._check_times(claims)
        wanted = audiences or [self.issuer]
        shared = [audience for audience in claims.aud or [self.issuer] if audience in wanted]
        if not shared:
            raise InvalidToken(
                f"token audiences {_listed(claims.aud)} is invalid "
                f"for the target audiences {_listed(wanted)}"
            )
        private = claims.private
        self._check(_ACCOUNT, private.namespace, private.serviceaccount)
        extra = {_CREDENTIAL: [f"JTI={claims.jti}"]} if claims.jti else {}
        if private.pod is not None:
            self._check(_POD, private.namespace, private.pod)
            extra |= _extra("pod", private.pod)
        if private.secret is not None:
            self._check(_SECRET, private.namespace, private.secret)
        if private.node is not None:
            # A pod's token names its node as well; it ends with the pod.
            if private.pod is None:
                self._check(_NODE, "", private.node)
            extra |= _extra("node", private.node)
        groups = (
            "system:serviceaccounts",
            f"system:serviceaccounts:{private.namespace}",
            AUTHENTICATED,
        )
        return User(claims.sub, groups, private.serviceaccount.uid, extra), shared

    def _claims(self, token: str) -> _Claims:
        claims = self._known.get(token)
        if claims is None:
            claims = self._read(token)
            if len(self._known) > _MOST_REMEMBERED:
                self._known.clear()
            self._known[token] = claims
        return claims

    def _read(self, token: str) -> _Claims:
        """The claims of a token that we signed. Its times are checked with each use."""
        options: Any = {
            "verify_aud": False,
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "require": ["exp", "sub"],
        }
        try:
            read = jwt.decode(token, self.public, [_ALGORITHM], issuer=self.issuer, options=options)
            claims = msgspec.convert({**read, "aud": _audiences(read.get("aud"))}, _Claims)
        # The decoder raises many exceptions for what is no token: none of them is an error of the
        # server's.
        except (
            jwt.PyJWTError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
        ) as error:
            raise InvalidToken(str(error)) from None
        private = claims.private
        account = f"system:serviceaccount:{private.namespace}:{private.serviceaccount.name}"
        if claims.sub != account:
            raise InvalidToken("the token's subject is not its service account")
        return claims

    def _check_times(self, claims: _Claims) -> None:
        now = self.now()
        if not claims.exp > now - _LEEWAY:
            raise InvalidToken("service account token has expired")
        if claims.nbf > now + _LEEWAY:
            raise InvalidToken("service account token is not valid yet")
        if claims.iat > now + _LEEWAY:
            raise InvalidToken("service account token is issued in the future")

    def _check(self, resource: Resource, namespace: str, claim: _Reference) -> None:
        """What a token ends with must be there, the very same, and not marked as deleted for longer
        than the leeway."""
        entry = self._store.cache(resource.prefix).get(resource.key(namespace, claim.name))
        meta = _identity(entry.data).metadata if entry else None
        if meta is None or not claim.uid or meta.uid != claim.uid:
            raise InvalidToken(f"{resource.kind} {claim.name} has been deleted")
        if (
            meta.deletionTimestamp
            and timestamps.parse(meta.deletionTimestamp) < self.now() - _LEEWAY
        ):
            raise InvalidToken("service account token has been invalidated")

    def jwks(self) -> dict[str, Any]:
        """The public key as a JSON web key set."""
        numbers = self.public.public_numbers()

        def text(value: int) -> str:
            return base64.urlsafe_b64encode(value.to_bytes(32, "big")).decode().rstrip("=")

        key = {
            "use": "sig",
            "kty": "EC",
            "kid": self.key_id,
            "crv": "P-256",
            "alg": _ALGORITHM,
            "x": text(numbers.x),
            "y": text(numbers.y),
        }
        return {"keys": [key]}


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
        self._open_paths = frozenset(one.path for one in anonymous.conditions)

    async def close(self) -> None:
        await self.issuers.close()
        if self._webhook is not None:
            await self._webhook.close()

    async def trust(self, issuers: Issuers) -> None:
        """From here on these issuers are believed, and no others."""
        before, self.issuers = self.issuers, issuers
        self._others.clear()
        await before.close()

    def anonymous(self, path: str) -> User:
        """The user of a request that does not say who sends it. Raises InvalidToken where such are
        not let in."""
        if self._lets_anybody or path in self._open_paths:
            return ANONYMOUS
        raise InvalidToken("anonymous requests are not allowed here")

    def certificate(self, der: bytes) -> User | None:
        """The user named by a client certificate that TLS has already verified: CN and O. None when
        it names nobody. Raises InvalidToken when it has ended since: connections live longer."""
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
        here = self.tokens.issuer
        is_meant_here = here in (audiences or [here])
        for known, user in self._static:
            if hmac.compare_digest(known, digest) and is_meant_here:
                return user, [here]
        joining = self._bootstrap.user(token) if self._bootstrap is not None else None
        if joining is not None and is_meant_here:
            return joining, [here]
        try:
            return self.tokens.review(token, audiences)
        except InvalidToken as error:
            problem = error
        if is_meant_here and (other := await self._of_issuer(token, digest)) is not None:
            return other, [here]
        if self._webhook is not None:
            try:
                user, shared = await self._webhook.user(token, audiences or [here])
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
            found = await self.issuers.user(token)
        except TokenError as error:
            raise InvalidToken(str(error)) from None
        if found is None:
            return None
        if len(self._others) >= _MOST_REMEMBERED:
            self._others.clear()
        user = _authenticated(found[0])
        self._others[digest] = user, min(found[1], now + _BELIEVED)
        return user


def _authenticated(user: User) -> User:
    return replace(user, groups=_with_authenticated(list(user.groups)))


def _read_certificate(der: bytes) -> tuple[User | None, float]:
    """(user, end in seconds since the epoch). None when it names nobody."""
    certificate = x509.load_der_x509_certificate(der)
    names = _values(certificate, x509.NameOID.COMMON_NAME)
    # Of several names the last one counts, as for everybody who reads certificates with Go.
    name = names[-1] if names else ""
    if not name:
        return None, 0.0
    groups = _with_authenticated(_values(certificate, x509.NameOID.ORGANIZATION_NAME))
    extra = {_CREDENTIAL: [f"X509SHA256={hashlib.sha256(der).hexdigest()}"]}
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
