"""Who is asking: client certificates, service account tokens and static tokens, in that order."""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.request import User
from tiphys.store.store import Store

AUTHENTICATED = "system:authenticated"
_ALGORITHM = "ES256"
_POD, _ACCOUNT, _SECRET, _NODE = (BY_PATH["", "v1", p] for p in ("pods", "serviceaccounts", "secrets", "nodes"))


class InvalidToken(Exception):
    """The token is not one of ours, or not valid any more."""


class _Meta(msgspec.Struct):
    uid: str = ""
    deletionTimestamp: str | None = None


class _Identity(msgspec.Struct):
    metadata: _Meta


_identity = msgspec.json.Decoder(_Identity).decode


class ServiceAccountTokens:
    """Signs and checks the tokens of service accounts. A token is bound to its account and, when it says so, to a
    pod, secret or node: it ends with them."""

    def __init__(self, key: bytes, issuer: str, store: Store, now: Callable[[], float] = time.time) -> None:
        private = serialization.load_pem_private_key(key, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        self._private, self.public = private, private.public_key()
        self.issuer = issuer
        self._store = store
        self._now = now
        der = self.public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
        self._known: dict[str, dict[str, Any]] = {}

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
        now = int(self._now())
        private: dict[str, Any] = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
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

    def verify(self, token: str, audiences: list[str] | None = None) -> User:
        """The user of a valid token. Raises InvalidToken."""
        claims = self._claims(token)
        if claims["exp"] < self._now():
            raise InvalidToken("token is expired")
        if not set(audiences or [self.issuer]) & set(claims["aud"]):
            raise InvalidToken(f"token audiences {claims['aud']} is invalid for the target audiences {audiences}")
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        self._check(_ACCOUNT, namespace, account)
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]}
        for kind, resource in (("pod", _POD), ("secret", _SECRET), ("node", _NODE)):
            if kind in private:
                if kind != "node" or "pod" not in private:
                    self._check(resource, namespace if resource.namespaced else "", private[kind])
                if kind != "secret":
                    extra[f"authentication.kubernetes.io/{kind}-name"] = [private[kind]["name"]]
                    extra[f"authentication.kubernetes.io/{kind}-uid"] = [private[kind].get("uid", "")]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        return User(claims["sub"], groups, account["uid"], extra)

    def _claims(self, token: str) -> dict[str, Any]:
        claims = self._known.get(token)
        if claims is None:
            try:
                claims = jwt.decode(
                    token, self.public, [_ALGORITHM], issuer=self.issuer,
                    options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "sub"]},
                )  # fmt: skip
                claims["kubernetes.io"]["serviceaccount"]["uid"]
            except (jwt.InvalidTokenError, KeyError, TypeError) as error:
                raise InvalidToken(str(error)) from None
            if len(self._known) > 4096:
                self._known.clear()
            self._known[token] = claims
        return claims

    def _check(self, resource: Any, namespace: str, claim: dict[str, Any]) -> None:
        entry = self._store.cache(resource.prefix).get(resource.key(namespace, claim["name"]))
        meta = _identity(entry.data).metadata if entry else None
        if meta is None or meta.uid != claim.get("uid"):
            raise InvalidToken(f"{resource.kind} {claim['name']} has been deleted")

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

    def __init__(self, tokens: ServiceAccountTokens, static: Path | None = None) -> None:
        self.tokens = tokens
        self._static = _read_static(static) if static else []
        self._certificates: dict[bytes, User] = {}

    def certificate(self, der: bytes) -> User:
        """The user named by a client certificate that TLS has already verified: CN and O."""
        user = self._certificates.get(der)
        if user is None:
            subject = x509.load_der_x509_certificate(der).subject
            names = [str(a.value) for a in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
            groups = [str(a.value) for a in subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)]
            user = User(names[0] if names else "", (*groups, AUTHENTICATED))
            if len(self._certificates) > 4096:
                self._certificates.clear()
            self._certificates[der] = user
        return user

    def token(self, token: str) -> User:
        """The user behind a bearer token. Raises InvalidToken."""
        digest = hashlib.sha256(token.encode()).digest()
        for known, user in self._static:
            if hmac.compare_digest(known, digest):
                return user
        return self.tokens.verify(token)


def _read_static(path: Path) -> list[tuple[bytes, User]]:
    users = []
    for row in csv.reader(path.read_text().splitlines()):
        if len(row) < 3:
            continue
        token, name, uid = (item.strip() for item in row[:3])
        groups = tuple(g.strip() for g in row[3].split(",") if g.strip()) if len(row) > 3 else ()
        users.append((hashlib.sha256(token.encode()).digest(), User(name, (*groups, AUTHENTICATED), uid)))
    return users
