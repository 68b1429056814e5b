"""Attempts to read, to do or to become what one has no right to: at watches, tokens, bindings and
impersonation."""

from __future__ import annotations

import datetime
import time

import pytest

from tests.apiserver.rights import ROLES, grant, rule
from tests.attack.accounts import account, jane_who_may
from tests.attack.wire import ask, events
from tests.builders import pod
from tiphys.api import core_v1, rbac_v1
from tiphys.api.meta_v1 import ObjectMeta
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
