"""What clients rely on: versions, finalizers, grace, field checks, identity."""

from __future__ import annotations

import json

import pytest

from tests.apiserver.builders import call, refused
from tests.builders import config_map, pod
from tiphys.api import authentication_v1, core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.machinery import protobuf
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

CM = core_v1.ConfigMap


async def with_account(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )


async def test_version_zero_in_an_update_is_whatever_there_is(server: LocalCluster) -> None:
    made = await server.client.create(config_map("a"))
    for version, code in (("0", 0), ("", 0), (made.metadata.resource_version, 409)):
        made.metadata.resource_version = version
        if code:
            assert (await refused(server.client.update(made))).code == code
        else:
            assert (await server.client.update(made)).metadata.resource_version not in ("", "0")
        made.data = {"k": version or "none"}


async def test_finalizers_hold_a_deleted_object(server: LocalCluster) -> None:
    held = config_map("held")
    held.metadata.finalizers = ["example.com/hold"]
    await server.client.create(held)
    await server.client.delete(CM, "held", "default")
    marked = await server.client.get(CM, "held", "default")
    assert marked.metadata.deletion_timestamp
    await server.client.patch(
        CM, "held", {"metadata": {"finalizers": None}}, "default", media=MERGE
    )
    assert (await refused(server.client.get(CM, "held", "default"))).code == 404


async def test_a_bound_pod_stays_for_its_grace_and_an_unbound_one_does_not(
    server: LocalCluster,
) -> None:
    await with_account(server)
    await server.client.create(pod("free"))
    await server.client.delete(core_v1.Pod, "free", "default")
    assert (await refused(server.client.get(core_v1.Pod, "free", "default"))).code == 404
    await server.client.create(pod("bound", nodeName="n"))
    await server.client.delete(core_v1.Pod, "bound", "default", grace=7)
    assert (
        await server.client.get(core_v1.Pod, "bound", "default")
    ).metadata.deletion_grace_period_seconds == 7
    await server.client.delete(core_v1.Pod, "bound", "default", grace=0)
    assert (await refused(server.client.get(core_v1.Pod, "bound", "default"))).code == 404


async def test_field_validation_refuses_warns_or_ignores(server: LocalCluster) -> None:
    body = json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dataa": {}}
    ).encode()
    path = "/api/v1/namespaces/default/configmaps"
    error = await refused(server.client.request("POST", path, body, {"fieldValidation": "Strict"}))
    assert error.code == 400 and 'unknown field "dataa"' in error.status.message
    assert await server.client.request("POST", path, body, {"fieldValidation": "Ignore"})


async def test_a_body_in_protobuf_is_read(server: LocalCluster) -> None:
    body = protobuf.wrap(config_map("proto", key="value"))
    answer = await server.client.request(
        "POST", "/api/v1/namespaces/default/configmaps", body, content=protobuf.MEDIA_TYPE
    )
    assert decode(answer, CM).data == {"key": "value"}


async def test_generated_names_and_missing_namespaces(server: LocalCluster) -> None:
    made = await server.client.create(
        CM(metadata=ObjectMeta(generate_name="gen-", namespace="default"))
    )
    assert made.metadata.name.startswith("gen-") and len(made.metadata.name) == 9
    assert (await refused(server.client.create(config_map("x", namespace="nowhere")))).code == 404


async def test_rbac_decides_and_says_why(server: LocalCluster) -> None:
    from tiphys.api import rbac_v1

    jane = server.client_as("jane")
    error = await refused(jane.list(CM, "default"))
    assert (
        error.status.message
        == 'configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" in the namespace "default"'
    )
    binding = rbac_v1.RoleBinding(metadata=ObjectMeta(name="jane", namespace="default"))
    binding.role_ref = rbac_v1.RoleRef(
        api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="view"
    )
    binding.subjects = [rbac_v1.Subject(kind="User", name="jane")]
    await server.client.create(binding)
    assert (await jane.list(CM, "default")).items == []
    assert (await refused(jane.list(core_v1.Secret, "default"))).code == 403
    assert (await refused(jane.list(CM, "kube-system"))).code == 403


async def test_a_token_ends_with_the_pod_it_is_bound_to(server: LocalCluster) -> None:
    await with_account(server)
    await server.client.create(pod("owner"))
    request = authentication_v1.TokenRequest()
    request.spec.bound_object_ref = authentication_v1.BoundObjectReference(
        kind="Pod", api_version="v1", name="owner"
    )
    answer = await server.client.post(
        resource_of(core_v1.ServiceAccount), "default", "default", "token", request
    )
    review = authentication_v1.TokenReview()
    review.spec.token = decode(answer, authentication_v1.TokenRequest).status.token
    checked = await server.client.create(review)
    assert (
        checked.status.authenticated
        and checked.status.user.username == "system:serviceaccount:default:default"
    )
    await server.client.delete(core_v1.Pod, "owner", "default")
    assert not (await server.client.create(review)).status.authenticated


async def test_a_node_changes_only_what_is_its_own(server: LocalCluster) -> None:
    await with_account(server)
    mine, other = (core_v1.Node(metadata=ObjectMeta(name=name)) for name in ("mine", "other"))
    node = server.client_as("system:node:mine", ("system:nodes",))
    await node.create(mine)
    assert (await refused(node.create(other))).code == 403
    secret = core_v1.Secret(metadata=ObjectMeta(name="s", namespace="default"))
    await server.client.create(secret)
    assert (await refused(node.get(core_v1.Secret, "s", "default"))).code == 403
    await server.client.create(
        pod("user", nodeName="mine", volumes=[{"name": "v", "secret": {"secretName": "s"}}])
    )
    assert (await node.get(core_v1.Secret, "s", "default")).metadata.name == "s"


async def test_anonymous_sees_health_and_nothing_else(server: LocalCluster) -> None:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
        async with session.get(f"{server.url}/readyz") as answer:
            assert answer.status == 200
        async with session.get(f"{server.url}/api/v1/namespaces") as answer:
            assert answer.status == 403
        async with session.get(
            f"{server.url}/api", headers={"Authorization": "Bearer nonsense"}
        ) as answer:
            assert answer.status == 401


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nope", 404),
        ("GET", "/api/v1/nope", 404),
        ("GET", "/apis/apps/v2/deployments", 404),
        ("POST", "/api/v1/namespaces/default/pods/x", 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("GET", "/api/v1/pods?labelSelector=a%20b", 400),
        ("GET", "/api/v1/pods?fieldSelector=spec.x=1", 400),
        ("GET", "/api/v1/pods?continue=xx", 400),
        ("PATCH", "/api/v1/namespaces/default/pods/x", 415),
    ],
)
async def test_bad_requests_get_their_code(
    server: LocalCluster, method: str, path: str, code: int
) -> None:
    error = await refused(
        server.client.request(method, path, b"{}" if method in ("POST", "PATCH") else None)
    )
    assert error.code == code


@pytest.mark.parametrize("text", ["1", "true", "True", "TRUE", "t", ""])
async def test_a_parameter_is_true_however_a_client_writes_it(
    server: LocalCluster, text: str
) -> None:
    await server.client.create(config_map("seen"))
    query = {"watch": text, "timeoutSeconds": "1", "fieldSelector": "metadata.name=seen"}
    data = await server.client.request("GET", "/api/v1/namespaces/default/configmaps", query=query)
    assert data.startswith(b'{"type":"ADDED"')


@pytest.mark.parametrize("text", ["0", "false", "False"])
async def test_and_false_only_when_it_says_so(server: LocalCluster, text: str) -> None:
    data = await server.client.request(
        "GET", "/api/v1/namespaces/default/configmaps", query={"watch": text}
    )
    assert data.startswith(b'{"kind":"ConfigMapList"')


async def test_an_owner_named_twice_is_kept_once(server: LocalCluster) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "1"}
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "ownerReferences": [owner, owner]},
    }
    made = await call(server, "POST", "/api/v1/namespaces/default/configmaps", body)
    assert made["metadata"]["ownerReferences"] == [owner]


async def test_a_client_says_how_long_it_waits(server: LocalCluster) -> None:
    for text, code in (("invalid", 400), ("0s", 200), ("1h", 200), ("30s", 200)):
        try:
            await server.client.request("GET", "/api/v1/namespaces", query={"timeout": text})
            found = 200
        except StatusError as error:
            found = error.code
            assert "invalid timeout specified in the request URL" in str(error)
        assert found == code, text


async def test_a_grace_for_ever_is_a_long_one(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    await server.client.create(pod("p", nodeName="n"))
    await server.client.delete(core_v1.Pod, "p", "default", grace=1 << 62)
    assert (
        await server.client.get(core_v1.Pod, "p", "default")
    ).metadata.deletion_grace_period_seconds == (1 << 31) - 1
