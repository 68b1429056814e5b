"""Attempts to read, to do or to become what one has no right to: at watches, tokens, bindings and
impersonation."""

from __future__ import annotations

import datetime
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.apiserver.builders import call, refused
from tests.apiserver.rights import ROLES, grant, rule
from tests.attack.accounts import account, forged, jane_who_may, token_of
from tests.attack.wire import ask, events
from tests.builders import pod
from tiphys.api import authentication_v1, core_v1, rbac_v1
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


# --- names and selectors ---


async def test_a_get_stays_a_get_whatever_its_query_says(server: LocalCluster) -> None:
    jane = await jane_who_may(server, rule("get watch", "secrets", "mine"))
    await server.client.create(secret("mine"))
    await server.client.create(secret("other"))
    answer = await ask(jane, "GET", f"{SECRETS}/mine?watch=1")
    assert (answer.status, answer.json["kind"], answer.json["metadata"]["name"]) == (
        200,
        "Secret",
        "mine",
    )


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/watch/namespaces/default/secrets/mine",
        f"{SECRETS}?watch=1&fieldSelector=metadata.name%3Dmine",
        f"{SECRETS}?fieldSelector=type!=x,metadata.name=mine&watch=TRUE",
    ],
)
async def test_a_watch_of_one_secret_shows_that_one(server: LocalCluster, path: str) -> None:
    jane = await jane_who_may(server, rule("watch", "secrets", "mine"))
    await server.client.create(secret("before"))
    async with events(jane, path) as shown:
        await server.client.create(secret("later"))
        await server.client.create(secret("mine"))
        assert (await anext(shown))["object"]["metadata"]["name"] == "mine"


async def test_no_detour_leads_to_another_secret(server: LocalCluster) -> None:
    jane = await jane_who_may(server, rule("*", "secrets", "mine"))
    await server.client.create(secret("mine"))
    await server.client.create(secret("other"))
    for path in [
        SECRETS,
        f"{SECRETS}?watch=1",
        f"{SECRETS}?fieldSelector=metadata.name=other",
        f"{SECRETS}?fieldSelector=metadata.name!=mine",
        f"{SECRETS}?fieldSelector=metadata.name=mi%2Fne",
        f"{SECRETS}?fieldSelector=type=metadata.name=mine",
        f"{SECRETS}?resourceVersion=0&resourceVersionMatch=NotOlderThan&watch=1&sendInitialEvents=true",
        "/api/v1/watch/namespaces/default/secrets/other",
        "/api/v1/watch/namespaces/default/secrets?fieldSelector=metadata.name=other",
        "/api/v1/watch/secrets/mine",
        "/api/v1/secrets/mine",
        "/api/v1/namespaces/default//secrets",
        "/api/v1/namespaces//secrets",
        "/api/v1/namespaces/Default/secrets/mine",
        "/api/v1/namespaces/default/secrets/mine%2F..%2Fother",
        "/api/v1/namespaces/default/secrets/mine/../other",
        "/api/v1/namespaces/default/secrets/other/",
        "/api/v1/namespaces/default/Secrets/other",
        "/api/v1/namespaces/other%2F..%2Fdefault/secrets/other",
        "/%61pi/v1/namespaces/default/secrets/other",
    ]:
        assert (await ask(jane, "GET", path)).status in (403, 404), path


async def test_of_two_names_in_a_selector_neither_is_shown(server: LocalCluster) -> None:
    jane = await jane_who_may(server, rule("list", "secrets", "mine"))
    await server.client.create(secret("mine"))
    await server.client.create(secret("other"))
    for selector in (
        "metadata.name=mine,metadata.name=other",
        "metadata.name==mine,metadata.name!=mine",
    ):
        answer = await ask(jane, "GET", f"{SECRETS}?fieldSelector={selector}")
        assert (answer.status, answer.json["items"]) == (200, [])


async def test_a_watch_of_a_name_takes_no_other_selector(server: LocalCluster) -> None:
    path = "/api/v1/watch/namespaces/default/secrets/a?fieldSelector=metadata.name=b"
    answer = await ask(server.client, "GET", path)
    assert (answer.status, answer.json["message"]) == (
        400,
        "fieldSelector metadata.name doesn't match requested name",
    )


async def test_deleting_a_collection_takes_the_right_to_all_of_it(server: LocalCluster) -> None:
    jane = await jane_who_may(server, rule("*", "secrets", "mine"))
    await server.client.create(secret("mine"))
    for query in ("", "?fieldSelector=metadata.name=mine"):
        assert (await ask(jane, "DELETE", SECRETS + query)).status == 403


async def test_other_forms_of_a_list_take_the_same_right(server: LocalCluster) -> None:
    jane = await jane_who_may(server, rule("list", "configmaps"))
    for form in ["Table", "PartialObjectMetadataList"]:
        accept = {"Accept": f"application/json;as={form};g=meta.k8s.io;v=v1"}
        assert (await ask(jane, "GET", SECRETS, accept)).status == 403


async def test_writes_that_create_take_the_right_to_create(server: LocalCluster) -> None:
    jane = await jane_who_may(server, rule("get update patch", "configmaps leases", group="*"))
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/new"
    made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "new"}}
    assert (await ask(jane, "PUT", path, body=made)).status == 403
    apply = {"Content-Type": "application/apply-patch+yaml"}
    assert (
        await ask(jane, "PATCH", f"{path}?fieldManager=m&force=true", apply, made)
    ).status == 403


# --- streams ---


async def test_a_stream_that_begins_with_get_takes_the_right_to_create(
    server: LocalCluster,
) -> None:
    jane = await jane_who_may(server, rule("get", "pods/exec pods/attach pods/portforward"))
    await account(server, "default")
    await server.client.create(pod("p"))
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "eHh4",
    }
    for kind in ("exec", "attach", "portforward"):
        answer = await ask(
            jane, "GET", f"/api/v1/namespaces/default/pods/p/{kind}?command=id", upgrade
        )
        assert (
            answer.status == 403
            and f'cannot create resource "pods/{kind}"' in answer.json["message"]
        )


async def test_no_stream_begins_with_a_watch(server: LocalCluster) -> None:
    kinds = ["exec", "attach", "portforward", "log", "proxy", "status"]
    jane = await jane_who_may(server, rule("watch", " ".join(f"pods/{kind}" for kind in kinds)))
    await account(server, "default")
    await server.client.create(pod("p", nodeName="n"))
    for kind in kinds:
        for method in ("GET", "POST"):
            answer = await ask(
                jane, method, f"/api/v1/watch/namespaces/default/pods/p/{kind}?command=id"
            )
            assert answer.status in (404, 405), (method, kind)


# --- tokens ---


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


# --- acting as somebody else ---


async def test_nobody_acts_as_more_than_they_may(server: LocalCluster) -> None:
    jane = await jane_who_may(
        server, rule("impersonate", "users", "jane"), rule("get list", "secrets")
    )
    assert (await ask(jane, "GET", SECRETS, {"Impersonate-User": "jane"})).status == 200
    for headers in [
        {"Impersonate-User": "boss"},
        {"Impersonate-User": "jane", "Impersonate-Group": "system:masters"},
        {"impersonate-user": "jane", "IMPERSONATE-EXTRA-Scopes": "all"},
        {"Impersonate-User": "jane", "Impersonate-Uid": "1"},
        {"Impersonate-User": "system:serviceaccount:kube-system:default"},
        {"Impersonate-User": "system:serviceaccount:a:b:c"},
    ]:
        answer = await ask(jane, "GET", SECRETS, headers)
        assert answer.status == 403 and " cannot impersonate" in answer.json["message"], headers


async def test_who_acts_as_a_user_does_only_what_both_may(server: LocalCluster) -> None:
    await grant(server, "boss", rule("get list", "secrets"), rule("list", "configmaps"))
    jane = await jane_who_may(
        server,
        rule("impersonate-on:user-info:list", "secrets configmaps"),
        rule("impersonate:user-info", "users", "boss", group="authentication.k8s.io"),
    )
    boss = {"Impersonate-User": "boss"}
    assert (await ask(jane, "GET", SECRETS, boss)).status == 200
    assert (await ask(jane, "GET", f"{SECRETS}/one", boss)).status == 403
    assert (await ask(jane, "GET", SECRETS)).status == 403


async def test_nobody_acts_as_a_part_of_somebody(server: LocalCluster) -> None:
    for name in ["Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-a"]:
        assert (await ask(server.client, "GET", SECRETS, {name: "x"})).status == 400


async def test_keys_of_extras_come_encoded(server: LocalCluster) -> None:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    headers = {"Impersonate-User": "jim", "Impersonate-Extra-Acme.com%2FProject": "x"}
    answer = await ask(
        server.client, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", headers, body
    )
    assert answer.json["status"]["userInfo"]["extra"] == {"acme.com/project": ["x"]}


# --- rights ---


async def test_a_binding_to_what_is_not_there_is_not_made(server: LocalCluster) -> None:
    jane = await jane_who_may(
        server, rule("create", "clusterrolebindings rolebindings", group=RBAC)
    )
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "later"}
    body = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "b"},
        "roleRef": reference,
    }
    answer = await ask(jane, "POST", BINDINGS, body=body)
    assert (answer.status, answer.json["message"]) == (
        404,
        f'clusterroles.{RBAC} "later" not found',
    )
    body["roleRef"] = {**reference, "kind": "Role"}
    assert (await ask(server.client, "POST", BINDINGS, body=body)).status == 422
    body["roleRef"] = reference
    await grant(
        server,
        "jim",
        rule("create", "clusterrolebindings", group=RBAC),
        rule("bind", "clusterroles", "later", group=RBAC),
    )
    assert (await ask(server.client_as("jim"), "POST", BINDINGS, body=body)).status == 201


async def test_labels_do_not_carry_a_role_into_another(server: LocalCluster) -> None:
    jane = await jane_who_may(
        server,
        rule("*", "clusterroles", group=RBAC.replace("rbac", "none")),
        rule("patch update get", "clusterroles", group=RBAC),
    )
    await server.client.create(
        rbac_v1.ClusterRole(metadata=ObjectMeta(name="strong"), rules=[rule("*", "secrets")])
    )
    change = {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}}
    merge = {"Content-Type": "application/merge-patch+json"}
    assert (await ask(jane, "PATCH", f"{ROLES}/strong", merge, change)).status == 403
    assert (
        await ask(jane, "PATCH", f"{ROLES}/strong", merge, {"metadata": {"finalizers": ["a.b/c"]}})
    ).status == 200


async def test_a_role_of_many_millions_of_rights_is_judged_at_once(server: LocalCluster) -> None:
    jane = await jane_who_may(
        server, rule("create", "clusterroles", group=RBAC), rule("get list", "pods")
    )
    many = [f"w{number}" for number in range(500)]
    body = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "g"},
        "rules": [
            {
                "verbs": ["get", *many],
                "apiGroups": ["", *many],
                "resources": ["pods", *many],
                "resourceNames": many,
            },
        ],
    }
    began = time.process_time()
    assert (await ask(jane, "POST", ROLES, body=body)).status == 403
    assert time.process_time() - began < 1


async def test_what_gathers_roles_takes_every_right(server: LocalCluster) -> None:
    jane = await jane_who_may(server, rule("create", "clusterroles", group=RBAC), rule("*", "*"))
    gathering = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    body = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "g"},
        "aggregationRule": gathering,
        "rules": [],
    }
    answer = await ask(jane, "POST", ROLES, body=body)
    assert (
        answer.status == 403
        and "must have cluster-admin privileges to use the aggregationRule"
        in answer.json["message"]
    )
