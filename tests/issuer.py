"""An issuer of tokens, over TLS on the loopback."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import get_default_algorithms

from tests.servers import Behind, served
from tiphys.apiserver.access.authenticationconfiguration import parse_configuration
from tiphys.apiserver.access.authenticationoptions import AuthenticationOptions

_CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
WELL_KNOWN = "/.well-known/openid-configuration"
JWKS = "/keys"


def new_key(algorithm: str) -> Any:
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm]())
    return rsa.generate_private_key(65537, 2048)


class Issuer:
    """`keys`: by their ids, (algorithm, private key). All are published unless `published` says
    which."""

    def __init__(self, behind: Behind) -> None:
        self.behind = behind
        self.url = behind.url
        self.keys: dict[str, tuple[str, Any]] = {}
        self.published: list[dict[str, Any]] | None = None
        behind.answer = self.answer
        self.add("one", "ES256")

    def add(self, name: str, algorithm: str) -> None:
        self.keys[name] = (algorithm, new_key(algorithm))

    def answer(self, request: web.Request) -> Any:
        if request.path == WELL_KNOWN:
            return {"issuer": self.url, "jwks_uri": self.url + JWKS}
        if request.path == JWKS:
            return {"keys": self.jwks()}
        return web.Response(status=404)

    def jwks(self) -> list[dict[str, Any]]:
        if self.published is not None:
            return self.published
        algorithms = get_default_algorithms()
        rows = []
        for name, (algorithm, key) in self.keys.items():
            row = algorithms[algorithm].to_jwk(key.public_key(), as_dict=True)
            rows.append({**row, "kid": name, "use": "sig", "alg": algorithm})
        return rows

    def claims(self, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        made = {"iss": self.url, "aud": "kube", "sub": "jane", "iat": now, "exp": now + 600, **more}
        return {name: value for name, value in made.items() if value is not None}

    def token(self, name: str = "one", **claims: Any) -> str:
        """A token that is signed by a key. A claim that is None is left out."""
        algorithm, key = self.keys[name]
        return jwt.encode(self.claims(**claims), key, algorithm, {"kid": name})

    def configuration(self, **more: Any) -> dict[str, Any]:
        issuer = {
            "url": self.url,
            "audiences": ["kube"],
            "certificateAuthority": self.behind.authority.read_text(),
            **more.pop("issuer", {}),
        }
        mappings = {"username": {"claim": "sub", "prefix": "oidc:"}, **more.pop("mappings", {})}
        return {"issuer": issuer, "claimMappings": mappings, **more}


@contextlib.asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    async with served() as behind:
        yield Issuer(behind)


def configured(*authenticators: dict[str, Any], **more: Any) -> bytes:
    """A configuration file's bytes."""
    content = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": list(authenticators),
        **more,
    }
    return json.dumps(content).encode()


def options_of(folder: Any, *authenticators: dict[str, Any], **more: Any) -> AuthenticationOptions:
    file = folder / "authentication.yaml"
    file.write_bytes(configured(*authenticators, **more))
    return AuthenticationOptions(file)


__all__ = ["Issuer", "configured", "issuing", "options_of", "parse_configuration"]
