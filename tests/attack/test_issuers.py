"""Tokens that nobody has issued, and issuers that mean no good."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.apiserver.access.builders import believed, whoami
from tests.attack.wire import ask
from tests.issuer import (
    JWKS,
    WELL_KNOWN,
    Issuer,
    configured,
    issuing,
    options_of,
    parse_configuration,
)
from tests.servers import served
from tiphys.apiserver.access.issuers import TokenError, TokenIssuer
from tiphys.apiserver.access.keysets import IssuerError, read_keys
from tiphys.testing import LocalCluster


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def refused(issuer: Issuer, token: str) -> str:
    """Why a token is not believed by who has seen a good one."""
    async with believed(issuer) as one:
        assert await one.user(issuer.token())
        one.keys._tried = -100.0
        with pytest.raises(TokenError) as raised:
            await one.user(token)
    return str(raised.value)


# --- forgeries ---


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", None, 5, "HS256", "EdDSA"]
)
async def test_a_token_that_nobody_signed_is_none(algorithm: Any) -> None:
    async with issuing() as issuer:
        head = part({"alg": algorithm, "kid": "one"})
        why = await refused(issuer, f"{head}.{part(issuer.claims())}.")
    assert "id token signed with algorithm" in why


async def test_the_public_key_is_no_secret_to_sign_by() -> None:
    async with issuing() as issuer:
        issuer.add("rsa", "RS256")
        pem = (
            issuer.keys["rsa"][1]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        signed = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(issuer.claims())}"
        mac = hmac.new(pem, signed.encode(), hashlib.sha256).digest()
        assert 'algorithm "HS256"' in await refused(issuer, f"{signed}.{part(mac)}")


async def test_a_key_is_good_for_its_own_curve_alone() -> None:
    async with issuing() as issuer:
        issuer.add("p384", "ES384")
        token = jwt.encode(issuer.claims(), issuer.keys["p384"][1], "ES384", {"kid": "one"})
        head = part({"alg": "ES256", "kid": "p384"})
        assert "failed to verify" in await refused(issuer, token)
        assert "failed to verify" in await refused(issuer, ".".join([head, *token.split(".")[1:]]))


@pytest.mark.parametrize("name", ["../one", "one'--", "/dev/null", "", "two", "x" * 100_000])
async def test_a_key_is_found_by_nothing_but_its_name(name: str) -> None:
    async with issuing() as issuer:
        stranger = rsa.generate_private_key(65537, 2048)
        token = jwt.encode(issuer.claims(), stranger, "RS256", {"kid": name})
        assert "failed to verify id token signature" in await refused(issuer, token)


@pytest.mark.parametrize("name", [5, ["one"], {"one": 1}, None])
async def test_a_key_name_is_a_string(name: Any) -> None:
    async with issuing() as issuer:
        head, claims, _ = issuer.token().split(".")
        head = part({"alg": "ES256", "kid": name})
        assert await refused(issuer, f"{head}.{claims}.{part(b'x' * 64)}")


async def test_keys_that_a_token_brings_along_are_not_looked_at() -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    row = RSAAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    async with issuing() as issuer, served(lambda request: {"keys": [row]}) as elsewhere:
        for head in ({"jwk": row}, {"jku": elsewhere.url}, {"x5u": elsewhere.url}, {"x5c": ["x"]}):
            token = jwt.encode(issuer.claims(), stranger, "RS256", {"kid": "one", **head})
            assert "failed to verify" in await refused(issuer, token)
        assert not elsewhere.paths


async def test_what_is_critical_is_not_passed_over() -> None:
    async with issuing() as issuer:
        for head in ({"crit": ["exp"]}, {"crit": ["b64"], "b64": False}):
            token = jwt.encode(
                issuer.claims(), issuer.keys["one"][1], "ES256", {"kid": "one", **head}
            )
            assert await refused(issuer, token)


async def test_a_token_is_not_changed_by_a_letter() -> None:
    async with issuing() as issuer:
        head, _, signature = issuer.token().split(".")
        other = part(issuer.claims(sub="system:admin"))
        assert "failed to verify" in await refused(issuer, f"{head}.{other}.{signature}")


async def test_another_issuers_token_is_not_this_ones(tmp_path: Path) -> None:
    async with issuing() as issuer, issuing() as other:
        options = options_of(tmp_path, issuer.configuration(), other.configuration())
        async with LocalCluster(authentication=options) as cluster:
            assert await whoami(cluster, issuer.token()) != 401
            assert await whoami(cluster, issuer.token(iss=other.url)) == 401
            assert await whoami(cluster, issuer.token(aud="other")) == 401
            assert await whoami(cluster, other.token(iss="https://127.0.0.1:1")) == 401


@pytest.mark.parametrize(
    "token",
    [
        "..",
        "a.b.c",
        "e30.e30.",
        "e30.W10.e30",
        f"e30.{base64.urlsafe_b64encode(b'[' * 60_000).decode().rstrip('=')}.e30",
        "x" * 500_000,
        ".".join(["e30"] * 1000),
    ],
)
async def test_what_is_no_token_is_401(tmp_path: Path, token: str) -> None:
    async with issuing() as issuer:
        options = options_of(tmp_path, issuer.configuration())
        async with LocalCluster(authentication=options) as cluster:
            assert await whoami(cluster, token) == 401


def test_claims_that_are_no_numbers_end_at_once() -> None:
    now = time.time()
    configuration = parse_configuration(
        configured(
            {
                "issuer": {"url": "https://a", "audiences": ["kube"]},
                "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
            }
        ),
        "",
    )
    one = TokenIssuer(configuration.jwt[0], now=lambda: now)
    for end in (float("nan"), float("inf"), True, "9e9", [], {}):
        with pytest.raises(TokenError):
            one._check({"aud": "kube", "exp": end})


# --- issuers ---


@contextlib.asynccontextmanager
async def wicked(answer: Any) -> AsyncIterator[tuple[Issuer, TokenIssuer]]:
    """An issuer that answers as `answer` says, where that says anything."""
    async with issuing() as issuer:
        honest = issuer.behind.answer
        issuer.behind.answer = lambda request: answer(issuer, request) or honest(request)
        async with believed(issuer) as one:
            yield issuer, one


def huge(issuer: Issuer, request: web.Request) -> Any:
    return web.Response(body=b" " * (2 << 20)) if request.path == JWKS else None


def many(issuer: Issuer, request: web.Request) -> Any:
    return {"keys": issuer.jwks() * 200} if request.path == JWKS else None


def elsewhere(issuer: Issuer, request: web.Request) -> Any:
    where = {"Location": f"{issuer.url}/stolen"}
    return web.Response(status=302, headers=where) if request.path == JWKS else None


def impostor(issuer: Issuer, request: web.Request) -> Any:
    document = {"issuer": "https://other", "jwks_uri": issuer.url + JWKS}
    return document if request.path == WELL_KNOWN else None


def plain(issuer: Issuer, request: web.Request) -> Any:
    document = {"issuer": issuer.url, "jwks_uri": "http://169.254.169.254/latest"}
    return document if request.path == WELL_KNOWN else None


def nonsense(issuer: Issuer, request: web.Request) -> Any:
    return web.Response(body=b"[" * 100_000) if request.path == JWKS else None


@pytest.mark.parametrize("answer", [huge, many, elsewhere, impostor, plain, nonsense])
async def test_an_issuer_that_misbehaves_has_no_keys(answer: Any) -> None:
    async with wicked(answer) as (issuer, one):
        with pytest.raises(TokenError, match="oidc: issuer"):
            await one.user(issuer.token())
        assert "/stolen" not in issuer.behind.paths


async def test_an_issuer_that_goes_bad_does_not_take_the_keys_away() -> None:
    async with issuing() as issuer, believed(issuer) as one:
        assert await one.user(issuer.token())
        issuer.behind.answer = lambda request: web.Response(status=500)
        one.keys._tried = one.keys._fetched = -10_000.0
        await one.keys.refreshed()
        assert await one.user(issuer.token())


async def test_a_flood_of_unknown_keys_asks_the_issuer_once() -> None:
    async with issuing() as issuer, believed(issuer) as one:
        assert await one.user(issuer.token())
        stranger = rsa.generate_private_key(65537, 2048)
        tokens = [
            jwt.encode(issuer.claims(), stranger, "RS256", {"kid": str(number)})
            for number in range(50)
        ]
        one.keys._tried = -100.0
        before = issuer.behind.paths.count(JWKS)
        answers = await asyncio.gather(*map(one.user, tokens), return_exceptions=True)
        assert all(isinstance(answer, TokenError) for answer in answers)
        assert issuer.behind.paths.count(JWKS) == before + 1


async def test_a_slow_issuer_holds_up_nobody_else(tmp_path: Path) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        asked.set()
        await go_on.wait()
        return web.Response(status=500)

    async with issuing() as issuer:
        issuer.behind.answer = slow
        options = options_of(tmp_path, issuer.configuration())
        async with LocalCluster(authentication=options) as cluster:
            waiting = asyncio.ensure_future(whoami(cluster, issuer.token()))
            await asked.wait()
            assert (await ask(cluster.client, "GET", "/version")).status == 200
            assert not waiting.done()
            go_on.set()
            assert await waiting == 401


def test_keys_that_are_not_what_they_say_are_left_out() -> None:
    private = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True)
    rows = [
        private,
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
        {"kty": "RSA", "n": "AQ", "e": "AQAB"},
        {"kty": "RSA", "n": part(b"\xff" * 4096), "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"},
        {"kty": "EC", "crv": "secp256k1", "x": "AQ", "y": "AQ"},
        {"kty": "EC"},
        {"kty": ["RSA"]},
        {},
        "RSA",
        None,
    ]
    assert read_keys(json.dumps({"keys": rows}).encode()) == []
    with pytest.raises(IssuerError):
        read_keys(b'{"keys": 5}')
