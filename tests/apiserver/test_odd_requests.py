"""Requests that nobody sends by habit: what is answered, in which form, and what is not done."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest
import yaml

from tests.apiserver.builders import CRONS, call, cron, definition, established
from tiphys.api.meta_v1 import Status
from tiphys.machinery import protobuf
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

SPACE = "/api/v1/namespaces/default"


def session_of(server: LocalCluster) -> aiohttp.ClientSession:
    """A client that says what it is told to."""
    tls = server.client.config.ssl_context()
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))


LISTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize(
    ("accept", "method", "says"),
    [
        ("text/html", "GET", f"406: Not Acceptable\\n\\nAvailable representations: {LISTED}, "),
        ("application/*", "GET", "406: Not Acceptable"),
        ("text/html", "POST", f'Available representations: {LISTED}"'),
        ("text/html;q=0.9, */*;q=0.1", "GET", "ConfigMapList"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io", "POST", "only the following media types"),
    ],
)
async def test_nothing_is_done_for_who_would_not_take_the_answer(
    server: LocalCluster, accept: str, method: str, says: str
) -> None:
    async with session_of(server) as session:
        url, body = f"{server.url}{SPACE}/configmaps", {"metadata": {"name": "unwanted"}}
        options = {"json": body} if method == "POST" else {}
        async with session.request(method, url, headers={"Accept": accept}, **options) as answer:
            assert says in await answer.text()
    made = await call(server, "GET", f"{SPACE}/configmaps")
    assert "unwanted" not in {one["metadata"]["name"] for one in made["items"]}


@pytest.mark.parametrize(
    ("media", "accept", "says"),
    [
        ("text/html", "text/html", "415: Unsupported Media Type"),
        ("application/cbor", "*/*", "415: Unsupported Media Type"),
        ("application/merge-patch+json", "text/html", "406: Not Acceptable"),
        ("application/merge-patch+json;charset=x", "*/*", "not found"),
        ("application/json-patch+json", "*/*", "not found"),
    ],
)
async def test_the_type_of_a_patch_is_looked_at_first(
    server: LocalCluster, media: str, accept: str, says: str
) -> None:
    async with session_of(server) as session:
        headers = {"Content-Type": media, "Accept": accept}
        body = b"[]" if "json-patch" in media else b"{}"
        url = f"{server.url}{SPACE}/configmaps/nobody"
        async with session.patch(url, data=body, headers=headers) as answer:
            assert says in await answer.text()


async def test_a_review_is_no_table(server: LocalCluster) -> None:
    path, table = "/apis/authentication.k8s.io/v1/selfsubjectreviews", "as=Table;v=v1;g=meta.k8s.io"
    accept = f"application/json;{table}"
    with pytest.raises(StatusError, match="only the following media types are accepted"):
        await server.client.request("POST", path, b"{}", {}, "application/json", 20, accept)
    both = f"{accept}, application/json"
    assert await server.client.request("POST", path, b"{}", {}, "application/json", 20, both)


async def test_options_of_a_review_are_looked_at(server: LocalCluster) -> None:
    path, body = "/apis/authentication.k8s.io/v1/selfsubjectreviews", b"{}"
    with pytest.raises(StatusError, match=r"CreateOptions.*dryRun: Unsupported value"):
        await server.client.request("POST", path, body, {"dryRun": "Some"})


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"null", 404, "not found"),
        (b"[]", 400, "json: cannot unmarshal array into Go value of type struct"),
        (b'{"kind":"DeleteOptions","apiVersion":"apps/v1"}', 404, "not found"),
        (
            b'{"kind":"Pod","apiVersion":"v1"}',
            400,
            'no kind \\"Pod\\" is registered for version \\"v1\\"',
        ),
        (b'{"apiVersion":"a/b/c"}', 400, "unexpected GroupVersion string: a/b/c"),
        (b"{}", 404, "not found"),  # those of the query count without a body alone
        (b"", 400, "invalid syntax"),
    ],
)
async def test_options_of_a_deletion_are_read_first(
    server: LocalCluster, body: bytes, code: int, says: str
) -> None:
    async with session_of(server) as session:
        url = f"{server.url}{SPACE}/configmaps/x?gracePeriodSeconds=x"
        headers = {"Content-Type": "application/json"}
        async with session.delete(url, data=body, headers=headers) as answer:
            assert answer.status == code and says in await answer.text()


async def test_a_null_is_an_object_with_nothing_in_it(server: LocalCluster) -> None:
    with pytest.raises(StatusError, match="name or generateName is required") as refused:
        await server.client.request("POST", f"{SPACE}/configmaps", b"null")
    assert refused.value.code == 422


@pytest.mark.parametrize("media", ["application/json", "application/yaml"])
async def test_what_does_not_say_its_kind_is_what_it_was_sent_as(
    server: LocalCluster, media: str
) -> None:
    body = b'{"apiVersion":"","kind":"","metadata":{"name":"kindless"}}'
    path = f"{SPACE}/configmaps"
    made = json.loads(await server.client.request("POST", path, body, {}, media))
    assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")


async def test_a_document_of_no_bytes_is_a_null(server: LocalCluster) -> None:
    path = f"{SPACE}/configmaps"
    with pytest.raises(StatusError, match="name or generateName is required"):
        await server.client.request("POST", path, b"\xff\xfe", {}, "application/yaml")


async def test_a_deletion_that_wants_metadata_alone_is_answered_with_a_status(
    server: LocalCluster,
) -> None:
    await call(server, "POST", f"{SPACE}/configmaps", {"metadata": {"name": "shaped"}})
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    path = f"{SPACE}/configmaps/shaped"
    answer = await server.client.request("DELETE", path, None, {}, "application/json", 20, accept)
    assert json.loads(answer)["status"] == "Success"


async def test_preconditions_of_a_deletion_are_those_of_a_collections_objects_too(
    server: LocalCluster,
) -> None:
    await call(server, "POST", f"{SPACE}/configmaps", {"metadata": {"name": "guarded"}})
    body = b'{"preconditions":{"uid":"other"}}'
    with pytest.raises(StatusError, match=r"the UID in the precondition .other. does not match"):
        await server.client.request("DELETE", f"{SPACE}/configmaps", body)
    query = {"resourceVersion": "1"}
    with pytest.raises(StatusError, match=r"the ResourceVersion in the precondition .1. does not"):
        await server.client.request("DELETE", f"{SPACE}/configmaps/guarded", None, query)
    assert await call(server, "GET", f"{SPACE}/configmaps/guarded")


ROLE = {"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1"}


async def test_some_kinds_are_created_by_a_put(server: LocalCluster) -> None:
    space = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
    made = await call(server, "PUT", f"{space}/put", {**ROLE, "metadata": {"name": "put"}})
    assert made["metadata"]["uid"]
    for path in (f"{SPACE}/endpoints/put", f"{SPACE}/limitranges/put"):
        assert await call(server, "PUT", path, {"metadata": {"name": "put"}})
    with pytest.raises(StatusError, match="not found"):
        await call(server, "PUT", f"{SPACE}/configmaps/put", {"metadata": {"name": "put"}})


async def test_some_kinds_want_the_revision_that_is_replaced(server: LocalCluster) -> None:
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1}}
    made = await call(server, "POST", path, budget)
    with pytest.raises(StatusError, match=r"resourceVersion: .*: must be specified for an update"):
        await call(server, "PUT", f"{path}/b", budget)
    assert await call(server, "PUT", f"{path}/b", made)


BODIES = (
    b'{"api\xb4ersion":"v1","metadata":{"name":"utf"}}',
    b'{"metadata":{"name":"utf","x\xff":1}}',
    b'{"metadata":{"name":"utf","labels":{"\xff":"a"}}}',
    b'{"metadata":{"name":"utf","annotations":{"a":"\xc3("}}}',
    b'{"metadata":{"name":"utf"},"nobody":{"knows":{"\xed\xa0\x80":[]}}}',
    b'{"metadata":{"name":"utf"},"gracePeriodSeconds":0,"\xff":0}',
)
MEDIA = {
    "POST": ("application/json", "application/yaml"),
    "PUT": ("application/json",),
    "DELETE": ("application/json",),
    "PATCH": (
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ),
}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("place", ["known", "custom"])
async def test_what_is_no_utf_8_is_refused_wherever_it_stands(
    server: LocalCluster, place: str, body: bytes
) -> None:
    path = f"{SPACE}/configmaps"
    obj: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "utf"}}
    if place == "custom":
        await established(server, definition())
        path = CRONS
        obj = cron("utf")
    await call(server, "POST", path, obj)
    async with session_of(server) as session:
        for method, types in MEDIA.items():
            one = path if method == "POST" else f"{path}/utf"
            for media in types:
                url, headers = f"{server.url}{one}?fieldManager=x", {"Content-Type": media}
                async with session.request(method, url, data=body, headers=headers) as answer:
                    assert answer.status in (400, 415), (method, media, await answer.text())


async def test_errors_come_in_the_form_that_is_accepted(server: LocalCluster) -> None:
    async with session_of(server) as session:

        async def refusal(accept: str) -> tuple[str, bytes]:
            url = f"{server.url}{SPACE}/configmaps/nobody"
            async with session.get(url, headers={"Accept": accept}) as answer:
                assert answer.status == 404
                return answer.content_type, await answer.read()

        media, body = await refusal("application/yaml")
        assert media == "application/yaml" and yaml.safe_load(body)["reason"] == "NotFound"
        media, body = await refusal(protobuf.MEDIA_TYPE)
        status = protobuf.decode(protobuf.unwrap(body)[2], Status)
        assert media == protobuf.MEDIA_TYPE and status.message == 'configmaps "nobody" not found'
        media, body = await refusal("application/json;as=Table;v=v1;g=meta.k8s.io")
        assert media == "application/json" and json.loads(body)["code"] == 404


REVIEWS = "/apis/authorization.k8s.io/v1"


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        (f"{REVIEWS}/subjectaccessreviews", {"name": "x"}, 'metadata: Invalid value: {"name":"x"}'),
        (f"{REVIEWS}/selfsubjectaccessreviews", {"labels": {"a": "b"}}, "must be empty"),
        (
            "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews",
            {"namespace": "default", "name": "x"},
            "must be empty except for namespace",
        ),
    ],
)
async def test_a_review_has_no_name(
    server: LocalCluster, path: str, body: dict[str, object], says: str
) -> None:
    spec = {"user": "u", "resourceAttributes": {"verb": "get", "namespace": "default"}}
    with pytest.raises(StatusError, match=re.escape(says)):
        await call(server, "POST", path, {"metadata": body, "spec": spec})


async def test_who_creates_what_is_going_is_told_so(server: LocalCluster) -> None:
    kept = {"metadata": {"name": "going", "finalizers": ["example.com/kept"]}}
    await call(server, "POST", f"{SPACE}/configmaps", kept)
    with pytest.raises(StatusError, match=r'^configmaps "going" already exists$'):
        await call(server, "POST", f"{SPACE}/configmaps", kept)
    await server.client.request("DELETE", f"{SPACE}/configmaps/going")
    with pytest.raises(StatusError, match=r'^object is being deleted: configmaps "going" already'):
        await call(server, "POST", f"{SPACE}/configmaps", kept)
