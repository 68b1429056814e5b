"""Attempts to be somebody with tokens and certificates that are not good."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.apiserver.builders import call, refused
from tests.attack.accounts import account, forged, token_of
from tests.attack.wire import ask
from tests.builders import pod
from tiphys.api import authentication_v1, core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client
from tiphys.client.config import Config
from tiphys.cluster.certificates import Authority, key_pem, new_key
from tiphys.testing import LocalCluster

SECRETS = "/api/v1/namespaces/default/secrets"
RBAC = "rbac.authorization.k8s.io"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"

DAY = datetime.timedelta(days=1)


def secret(name: str) -> core_v1.Secret:
    return core_v1.Secret(metadata=ObjectMeta(name=name, namespace="default"))


def with_token(server: LocalCluster, token: str) -> Client:
    return Client(Config(server.url, ca=server.authority.path, token=token))


async def whoami(server: LocalCluster, token: str) -> int:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    return (await ask(with_token(server, token), "POST", path, body=body)).status


async def test_a_token_says_what_the_server_reads(server: LocalCluster) -> None:
    token = await token_of(server)
    assert await whoami(server, token) == 201
    private = jwt.decode(token, options={"verify_signature": False})["kubernetes.io"]
    now = 4102444800
    for changes in (
        {"exp": 1},
        {"exp": "never"},
        {"exp": None},
        {"exp": []},
        {"exp": float("nan")},
        {"nbf": now},
        {"iat": now},
        {"nbf": {}},
        {"sub": "system:admin"},
        {"sub": "system:serviceaccount:kube-system:robot"},
        {"sub": 7},
        {"aud": ["vault"]},
        {"aud": 7},
        {"aud": [7]},
        {"iss": "https://else.where"},
        {"iss": []},
        {"jti": 7},
        {"kubernetes__io": None},
        {"kubernetes__io": []},
        {"kubernetes__io": {**private, "namespace": "kube-system"}},
        {"kubernetes__io": {**private, "namespace": ["default"]}},
        {"kubernetes__io": {**private, "serviceaccount": {"name": "robot"}}},
        {"kubernetes__io": {**private, "pod": "p"}},
        {"kubernetes__io": {**private, "serviceaccount": {"name": "robot", "uid": "other"}}},
        {"kubernetes__io": {**private, "pod": {"name": "p"}}},
        {"kubernetes__io": {**private, "secret": {"name": 1, "uid": 1}}},
    ):
        assert await whoami(server, forged(server, token, **changes)) == 401, changes


async def test_what_is_no_bearer_token_is_nobody(server: LocalCluster) -> None:
    nobody = with_token(server, "")
    for header in ["", "Basic Zm9vOmJhcg==", "Bearer", "Bearer  ", "bearertoken", "Token abc"]:
        assert (
            await ask(nobody, "GET", SECRETS, {"Authorization": header} if header else {})
        ).status == 403, header


async def test_what_is_no_token_of_ours_is_refused(server: LocalCluster) -> None:
    for token in ["x", "a.b.c", "e30.e30.e30", "\u00e9", "..", "eyJhbGciOiJub25lIn0.e30."]:
        assert (
            await ask(with_token(server, ""), "GET", SECRETS, {"Authorization": f"bEARER {token}"})
        ).status == 401, token


async def test_a_token_ends_with_what_it_is_bound_to(server: LocalCluster) -> None:
    await account(server, "robot")
    made = await server.client.create(secret("s"))
    reference = authentication_v1.BoundObjectReference(
        api_version="v1", kind="Secret", name="s", uid=made.metadata.uid
    )
    token = await token_of(server, reference)
    assert await whoami(server, token) == 201
    await server.client.delete(core_v1.Secret, "s", "default")
    assert await whoami(server, token) == 401
    await server.client.create(secret("s"))
    assert await whoami(server, token) == 401


async def test_a_token_ends_a_minute_after_its_pod_should_have(server: LocalCluster) -> None:
    await account(server, "robot")
    made = await server.client.create(pod("p", nodeName="n", serviceAccountName="robot"))
    reference = authentication_v1.BoundObjectReference(
        api_version="v1", kind="Pod", name="p", uid=made.metadata.uid
    )
    token = await token_of(server, reference)
    await server.client.delete(core_v1.Pod, "p", "default", grace=30)
    tokens = server.server.server.authenticator.tokens
    assert await whoami(server, token) == 201
    now = tokens.now
    tokens.now = lambda: now() + 30 + 59
    assert await whoami(server, token) == 201
    tokens.now = lambda: now() + 30 + 62
    assert await whoami(server, token) == 401


async def test_tokens_live_neither_too_short_nor_for_ever(server: LocalCluster) -> None:
    for seconds, why in [
        (0, "may not specify a duration less than 10 minutes"),
        (599, "may not specify a duration less than 10 minutes"),
        (-1, "may not specify a duration less than 10 minutes"),
        ((1 << 32) + 1, "may not specify a duration larger than 2^32 seconds"),
    ]:
        error = await refused(token_of(server, expiration_seconds=seconds))
        assert (
            error.code == 422
            and f"spec.expirationSeconds: Invalid value: {seconds}: {why}" in str(error)
        )


async def test_a_review_tells_the_audiences_that_both_sides_have(server: LocalCluster) -> None:
    token = await token_of(server, audiences=["vault", "bank"])
    for asked, told in ((["bank", "church"], ["bank"]), (["church"], None), ([], None)):
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": asked},
        }
        status = (await call(server, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", body))[
            "status"
        ]
        assert (status.get("authenticated", False), status.get("audiences")) == (
            told is not None,
            told,
        )


def certificate(
    server: LocalCluster,
    folder: Path,
    *names: x509.NameAttribute[str],
    authority: Authority | None = None,
    days: int = 1,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
) -> Client:
    """A client with a certificate of the cluster's authority, if it is no other's, for a subject of
    these names; it ends after some days."""
    authority = authority or server.authority
    key, now = new_key(), datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        authority._certificate.subject, x509.Name(names), key.public_key(), 1
    )
    builder = builder.not_valid_before(now - 9 * DAY).not_valid_after(now + days * DAY)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    signed = builder.sign(authority._key, hashes.SHA256())
    (folder / "u.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "u.key").write_bytes(key_pem(key))
    return Client(Config(server.url, server.authority.path, folder / "u.crt", folder / "u.key"))


async def test_a_certificate_without_a_name_is_nobody(server: LocalCluster, tmp_path: Path) -> None:
    unnamed = certificate(
        server, tmp_path, x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters")
    )
    answer = await ask(unnamed, "GET", SECRETS)
    assert answer.status == 403 and 'User "system:anonymous"' in answer.json["message"]
    unnamed.config.token = await token_of(server)
    answer = await ask(unnamed, "GET", SECRETS)
    assert (
        answer.status == 403
        and 'User "system:serviceaccount:default:robot"' in answer.json["message"]
    )


@pytest.mark.parametrize("fault", ["another authority", "expired", "wrong usage"])
async def test_a_certificate_that_is_not_good_opens_nothing(
    server: LocalCluster, tmp_path: Path, fault: str
) -> None:
    """And lets its owner do what a token allows, but never what everybody may."""
    wrong: dict[str, Any] = {
        "another authority": {"authority": Authority(tmp_path / "other")},
        "expired": {"days": -1},
        "wrong usage": {"usage": ExtendedKeyUsageOID.SERVER_AUTH},
    }[fault]
    owner = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters")
    boss = x509.NameAttribute(NameOID.COMMON_NAME, "boss")
    stranger = certificate(server, tmp_path, owner, boss, **wrong)
    for path in (SECRETS, "/version"):
        answer = await ask(stranger, "GET", path)
        assert (answer.status, answer.json["reason"]) == (401, "Unauthorized"), path
    stranger.config.token = await token_of(server)
    answer = await ask(stranger, "GET", SECRETS)
    assert answer.status == 403
    assert 'User "system:serviceaccount:default:robot"' in answer.json["message"]
    stranger.config.token = "nonsense"
    assert (await ask(stranger, "GET", "/version")).status == 401


async def test_who_shows_a_good_certificate_needs_no_good_token(server: LocalCluster) -> None:
    admin = Client(replace(server.client.config, token="nonsense"))
    assert (await ask(admin, "GET", SECRETS)).status == 200


async def test_a_certificate_ends_while_its_connection_lasts(server: LocalCluster) -> None:
    assert await server.client.list(core_v1.Secret)
    now = server.server.server.authenticator.tokens.now
    server.server.server.authenticator.tokens.now = lambda: now() + 366 * 24 * 3600
    assert (await refused(server.client.list(core_v1.Secret))).code == 401


async def test_of_two_names_the_last_is_the_users(server: LocalCluster, tmp_path: Path) -> None:
    names = (x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("system:admin", "jim"))
    assert (
        'User "jim"'
        in (await ask(certificate(server, tmp_path, *names), "GET", SECRETS)).json["message"]
    )
