"""Which paths there are, and which methods they have: what a real API server (release 1.36) answers
to each."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from tests.apiserver.builders import TABLE, call
from tiphys.testing import LocalCluster

UNKNOWN, REFUSED, TEXT, INDEX = (
    "could not find the requested resource",
    "does not allow this method",
    "404 page not found",
    '"paths"',
)
SPACE = "/api/v1/namespaces/default"
ROLES = "/apis/rbac.authorization.k8s.io/v1/roles"


@pytest.mark.parametrize(
    ("methods", "path", "code", "says"),
    [
        ("GET PUT PATCH DELETE", "/api/v1/pods/x", 404, UNKNOWN),  # it is somewhere in a namespace
        ("POST PUT PATCH DELETE HEAD FOO TRACE", "/api/v1/pods", 405, REFUSED),
        ("GET", f"{ROLES}/r", 404, UNKNOWN),
        ("POST", ROLES, 405, REFUSED),
        ("GET POST", f"{SPACE}/nodes", 404, UNKNOWN),  # they are in none
        ("GET", f"{SPACE}/nodes/x", 404, UNKNOWN),
        ("PUT PATCH", f"{SPACE}/pods", 405, REFUSED),
        ("POST LOCK", f"{SPACE}/pods/x", 405, REFUSED),
        ("PUT", "/api/v1/nodes", 405, REFUSED),
        ("POST", "/api/v1/nodes/x", 405, REFUSED),
        ("GET", f"{SPACE}/pods/x/binding", 405, REFUSED),
        ("GET", f"{SPACE}/pods/x/nothing", 404, UNKNOWN),
        ("GET", f"{SPACE}/nothing", 404, UNKNOWN),
        ("POST", f"{SPACE}/pods/x/log", 405, REFUSED),
        ("DELETE", f"{SPACE}/pods/x/status", 405, REFUSED),
        ("DELETE", f"{SPACE}/pods/x/exec", 405, REFUSED),
        ("GET", f"{SPACE}/finalize", 405, REFUSED),
        ("GET", "/api/v1/bindings", 404, UNKNOWN),
        ("GET", f"{SPACE}/bindings", 405, REFUSED),
        ("GET DELETE", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405, REFUSED),
        ("DELETE", "/api/v1/componentstatuses/x", 405, REFUSED),
        ("DELETE", "/api/v1/namespaces", 405, REFUSED),
        ("POST", "/api/v1/watch/pods", 405, REFUSED),
        ("GET", "/api/v1/watch/nothing", 404, UNKNOWN),
        ("GET", "/apis/apps/v9/deployments", 404, UNKNOWN),
        ("GET", "/api/v2/pods", 404, UNKNOWN),
        ("GET POST", "/apis/nothing", 404, TEXT),
        ("GET", "/apis/nothing/v1", 404, TEXT),
        ("GET", "/apis/nothing/v1/things", 404, TEXT),
        ("POST HEAD TRACE", "/version", 405, REFUSED),
        ("POST", "/api", 405, REFUSED),
        ("GET", "/", 200, INDEX),
        ("GET POST", "/foo/bar", 404, TEXT),
        ("GET", "/healthz/nothing", 404, TEXT),
        ("GET", "/openapi/v9", 404, TEXT),
        ("GET POST HEAD", "/healthz", 200, "ok"),
        ("GET", "/api/v1/namespaces//pods", 200, "PodList"),
        ("GET", f"{SPACE}/pods/", 200, "PodList"),
        ("GET", f"{SPACE}/pods//", 200, "PodList"),
        ("GET", f"{SPACE}//pods", 404, UNKNOWN),
        ("GET", "/api//v1/pods", 404, UNKNOWN),
        ("GET", "/apis/apps//v1/deployments", 404, UNKNOWN),
        ("GET", f"{SPACE}/services/x/proxy//a", 404, 'services \\"x\\" not found'),
        ("GET", "/apis/apps/v9", 404, UNKNOWN),
        ("GET", "/api/v9", 404, UNKNOWN),
        ("GET", "//version", 404, TEXT),
        ("GET", "/version/", 200, "emulationMajor"),
        ("GET", "/healthz/", 404, TEXT),
        ("GET", "/index.html", 200, INDEX),
        ("GET", "/openapi/v3/apis/nothing/v1", 404, ""),
        ("GET", f"{SPACE}/configmaps/a%25b", 400, "may not contain '%'"),
        ("PUT", "/apis/authorization.k8s.io/v1/subjectaccessreviews/x", 404, UNKNOWN),
    ],
)
async def test_paths_and_methods(
    server: LocalCluster, methods: str, path: str, code: int, says: str
) -> None:
    tls = server.client.config.ssl_context()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        for method in methods.split():
            body = b"{}" if method in ("POST", "PUT", "PATCH") else None
            async with session.request(method, server.url + path, data=body) as answer:
                text = await answer.text()
                assert answer.status == code, (method, text)
                assert method == "HEAD" or says in text


async def test_openapi_says_what_operations_take_and_answer(server: LocalCluster) -> None:
    v2 = json.loads(await server.client.request("GET", "/openapi/v2"))
    listing = v2["paths"]["/api/v1/namespaces/{namespace}/services"]["get"]
    taken = {ref["$ref"].removeprefix("#/parameters/") for ref in listing["parameters"]}
    assert {"labelSelector", "watch", "limit", "pretty", "namespace"} <= taken and all(
        v2["parameters"][name]["description"] and v2["parameters"][name]["type"] for name in taken
    )
    assert listing["responses"]["200"]["schema"] == {
        "$ref": "#/definitions/io.k8s.api.core.v1.ServiceList"
    }
    items = v2["definitions"]["io.k8s.api.core.v1.ServiceList"]["properties"]["items"]
    assert items["description"] == "List of services."


async def test_openapi_v3_names_the_patches_that_can_be_had(server: LocalCluster) -> None:
    v3 = json.loads(await server.client.request("GET", "/openapi/v3/apis/apps/v1"))
    patch = v3["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert (
        "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    )  # kubectl apply looks for it
    assert {"dryRun", "force"} <= {parameter["name"] for parameter in patch["parameters"]}
    answered = patch["responses"]["201"]["content"]["application/json"]["schema"]
    assert answered == {"$ref": "#/components/schemas/io.k8s.api.apps.v1.Deployment"}


async def test_openapi_v3_publishes_no_empty_keyword(server: LocalCluster) -> None:
    for path in json.loads(await server.client.request("GET", "/openapi/v3"))["paths"]:
        document = json.loads(await server.client.request("GET", f"/openapi/v3/{path}"))
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            empty = [key for key, value in schema.items() if value in ({}, [], "")]
            assert not empty, name


# The checks that kubeadm, dashboards and upstream's own tests of an API server look for.
STARTED = (
    "start-apiserver-admission-initializer",
    "start-system-namespaces-controller",
    "start-service-ip-repair-controllers",
    "apiservice-status-local-available-controller",
    "apiservice-status-remote-available-controller",
    "storage-readiness",
)


@pytest.mark.parametrize("kind", ["healthz", "livez", "readyz"])
async def test_health_checks_bear_the_names_of_the_release(server: LocalCluster, kind: str) -> None:
    page = (await server.client.request("GET", f"/{kind}?verbose")).decode().splitlines()
    assert not {f"[+]poststarthook/{name} ok" for name in STARTED} - set(page)


async def test_health_checks_are_counted_by_name(server: LocalCluster) -> None:
    told = (await server.client.request("GET", "/readyz?verbose")).decode()
    assert "[+]poststarthook/rbac/bootstrap-roles ok\n" in told and told.endswith(
        "readyz check passed\n"
    )
    assert await server.client.request("GET", "/livez/poststarthook/crd-informer-synced") == b"ok"
    lines = (await server.client.request("GET", "/metrics/slis")).decode().splitlines()
    assert 'kubernetes_healthcheck{name="etcd",type="readyz"} 1' in lines
    name = "poststarthook/crd-informer-synced"
    assert (
        f'kubernetes_healthchecks_total{{name="{name}",status="success",type="livez"}} 1' in lines
    )


async def test_components_are_listed_with_their_health(cluster: LocalCluster) -> None:
    path = "/api/v1/componentstatuses"
    found = {
        item["metadata"]["name"]: item["conditions"][0]
        for item in (await call(cluster, "GET", path))["items"]
    }
    assert found["etcd-0"] == {"type": "Healthy", "status": "True", "message": "ok"}
    assert (
        found["scheduler"]["error"] == "no watch of system:kube-scheduler is open"
    )  # it runs under another name here
    table = await cluster.client.request("GET", path, accept=TABLE)
    assert [row["cells"][:2] for row in json.loads(table)["rows"]][1] == ["etcd-0", "Healthy"]
    assert (await call(cluster, "GET", f"{path}/etcd-0"))["kind"] == "ComponentStatus"


async def raw(server: LocalCluster, request: str, body: bytes = b"") -> str:
    """The answer to a request that is sent as it stands, with a body once it is asked for, until the
    server ends the connection."""
    tls = server.client.config.ssl_context()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
    writer.write(f"{request}\r\nHost: a\r\nConnection: close\r\n".encode() + b"\r\n")
    asked = b""
    async with asyncio.timeout(20):
        if body:
            asked = await reader.readuntil(b"\r\n\r\n")
            writer.write(body)
        answer = await reader.read()
    writer.close()
    return (asked + answer).decode()


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("https://a/version", 200, "emulationMajor"),
        ("http://b:80/api/v1/pods?limit=1", 200, "PodList"),
        ("/api/v1/namespaces/%zz/pods", 400, "an escape that is none"),
        ("/api/v1/namespaces/%00/pods", 200, "PodList"),
        (f"{SPACE}/configmaps/%2e%2e", 400, "may not be '..'"),
        ("/api/v1/pods?limit=%zz", 200, "PodList"),
        ("/api/v1/pods?limit=x;limit=1", 200, "PodList"),
        ("/api/v1/pods?limit=x", 400, "invalid syntax"),
        (
            "/api/v1/pods?labelSelector=a%3Db+c",
            400,
            "\"found 'c', expected: ',' or 'end of string'\"",
        ),
        ("/api/v1/pods?timeout=x", 400, "in the request URL - time: invalid duration"),
    ],
)
async def test_targets_are_read_as_go_reads_them(
    server: LocalCluster, target: str, code: int, says: str
) -> None:
    answer = await raw(server, f"GET {target} HTTP/1.1")
    assert answer.startswith(f"HTTP/1.1 {code} ") and says in answer


async def test_who_waits_to_be_asked_for_a_body_is_asked(server: LocalCluster) -> None:
    """As curl does with what is large."""
    body = b'{"metadata":{"name":"asked"}}'
    head = f"POST {SPACE}/configmaps HTTP/1.1\r\nContent-Length: {len(body)}"
    more = "Content-Type: Application/JSON\r\nExpect: 100-continue"
    answer = await raw(server, f"{head}\r\n{more}", body)
    assert answer.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created")
