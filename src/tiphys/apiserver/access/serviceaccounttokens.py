"""Tokens of service accounts: their claims, their signatures, and whether they are still valid."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.api.catalog import BY_PATH, Resource
from tiphys.apiserver.http.request import AUTHENTICATED, User
from tiphys.machinery import goformat, timestamps
from tiphys.store.store import Store

_ALGORITHM = "ES256"
# Seconds that clocks may differ, and that a token outlives the deletion of what it is bound to.
_LEEWAY = 60
_POD = BY_PATH["", "v1", "pods"]
_ACCOUNT = BY_PATH["", "v1", "serviceaccounts"]
_SECRET = BY_PATH["", "v1", "secrets"]
_NODE = BY_PATH["", "v1", "nodes"]
CREDENTIAL = "authentication.kubernetes.io/credential-id"
_MOST_REMEMBERED = 4096  # tokens, and certificates, that are not read again


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
    """The claims of a token. Times are seconds since the epoch."""

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
        self._private = private
        self.public = private.public_key()
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
        extra = {CREDENTIAL: [f"JTI={claims.jti}"]} if claims.jti else {}
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
