"""Attempts to make the API server connect where it should not, or tell others who its clients are."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from tests.apiserver.builders import call, refused
from tests.apiserver.rights import grant, rule
from tests.attack.accounts import account, forged, token_of
from tests.attack.wire import ask
from tests.builders import machine_address, pod
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.proxying.forwarding import TOKEN_PROTOCOL
from tiphys.apiserver.proxying.links import Rewriter
from tiphys.machinery.addresses import authority, endpoint_problems, is_global_unicast
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

PODS, SERVICES = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
SPECIAL = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "0.0.0.0",
    "::",
    "169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "ff02::1",
    "::ffff:127.0.0.1",
]


class Backend:
    """A server behind a pod: `answers` by path, otherwise what it was asked."""

    def __init__(self) -> None:
        self.port = free_port()
        self.answers: dict[str, web.Response] = {}
        self.asked = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked += 1
        if request.headers.get("Upgrade") == "websocket" and request.path == "/echo":
            return await echoed(request)
        if request.path in self.answers:
            return self.answers[request.path]
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = {"method": request.method, "path": request._message.path, "headers": headers}
        return web.json_response(told, headers={"X-Method": request.method})


async def echoed(request: web.BaseRequest) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=("chat",))
    await socket.prepare(request)
    await socket.send_json({name.lower(): value for name, value in request.headers.items()})
    async for message in socket:
        await socket.send_str(message.data.upper())
    return socket


@pytest.fixture
async def backend(server: LocalCluster) -> AsyncIterator[Backend]:
    """Behind the pod `p`, whose port it is and which says this machine's own address, and behind
    the service `s`."""
    made = Backend()
    runner = web.ServerRunner(web.Server(made.handle))
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", made.port).start()
    await account(server, "default")
    containers = [
        {"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": made.port}]}
    ]
    running = await server.client.create(pod("p", nodeName="n", containers=containers))
    await says(server, machine_address())
    await call(
        server,
        "POST",
        SERVICES,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s"},
            "spec": {"ports": [{"port": 80}]},
        },
    )
    reference = {"kind": "Pod", "namespace": "default", "name": "p", "uid": running.metadata.uid}
    await call(server, "POST", SLICES, slice_of(machine_address(), made.port, reference))
    yield made
    await runner.cleanup()


async def says(server: LocalCluster, address: str) -> None:
    """The pod `p` has the address, as its node says."""
    status: dict[str, Any] = {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
    await server.client.patch(core_v1.Pod, "p", status, "default", "status")


def slice_of(address: str, port: int, reference: dict[str, Any] | None = None) -> dict[str, Any]:
    endpoint = {"addresses": [address], **({"targetRef": reference} if reference else {})}
    labels = {"kubernetes.io/service-name": "s"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"generateName": "s-", "labels": labels},
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [endpoint],
        "ports": [{"name": "", "port": port}],
    }


# --- where to ---


async def test_no_pod_leads_back_to_the_server(server: LocalCluster, backend: Backend) -> None:
    for address in SPECIAL:
        await says(server, address)
        answer = await ask(server.client, "GET", f"{PODS}/p:{backend.port}/proxy/")
        assert (answer.status, answer.json["message"], backend.asked) == (
            400,
            "address not allowed",
            0,
        )


async def test_no_endpoint_leads_back_to_the_server(server: LocalCluster) -> None:
    for address in SPECIAL:
        error = await refused(call(server, "POST", SLICES, slice_of(address, 80)))
        assert (
            error.code == 422
            and "endpoints[0].addresses[0]" in str(error)
            and "may not be" in str(error)
        )
        subsets = [{"notReadyAddresses": [{"ip": address}], "ports": [{"port": 80}]}]
        body = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "e"},
            "subsets": subsets,
        }
        error = await refused(call(server, "POST", "/api/v1/namespaces/default/endpoints", body))
        assert error.code == 422 and "subsets[0].notReadyAddresses[0].ip" in str(error)


async def test_a_service_leads_to_pods_alone(server: LocalCluster, backend: Backend) -> None:
    assert (await ask(server.client, "GET", f"{SERVICES}/s/proxy/x")).json["path"] == "/x"
    await server.client.request("DELETE", SLICES)
    elsewhere = {"kind": "Pod", "namespace": "other", "name": "p"}
    nobodys = {"kind": "Pod", "namespace": "default", "name": "p"}
    for reference, address in (
        (None, machine_address()),
        (elsewhere, machine_address()),
        (nobodys, "192.0.2.77"),
    ):
        await call(server, "POST", SLICES, slice_of(address, backend.port, reference))
    assert (await ask(server.client, "GET", f"{SERVICES}/s/proxy/x")).status == 503


async def test_a_service_that_is_a_name_leads_nowhere(server: LocalCluster) -> None:
    spec = {"type": "ExternalName", "externalName": "localhost"}
    await call(
        server,
        "POST",
        SERVICES,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "e"}, "spec": spec},
    )
    config = {
        "service": {"namespace": "default", "name": "e", "port": server.port},
        "caBundle": base64.b64encode(server.authority.path.read_bytes()).decode(),
    }
    rules = [
        {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["configmaps"],
        }
    ]
    hook = {
        "name": "a.b.c",
        "clientConfig": config,
        "rules": rules,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind = "ValidatingWebhookConfiguration"
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "h"},
        "webhooks": [hook],
    }
    await call(
        server,
        "POST",
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        body,
    )
    made = core_v1.ConfigMap(metadata=ObjectMeta(name="c", namespace="default"))
    assert 'unsupported service type "ExternalName"' in str(
        await refused(server.client.create(made))
    )


async def test_no_node_leads_back_to_the_server(server: LocalCluster) -> None:
    await server.client.create(core_v1.Node(metadata=ObjectMeta(name="n")))
    for address in ["127.0.0.1", "localhost", "metadata.example.com"]:
        status = {
            "addresses": [{"type": "InternalIP", "address": address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": server.port}},
        }
        await server.client.patch(core_v1.Node, "n", {"status": status}, subresource="status")
        for name in ("n", f"https:n:{server.port}"):
            assert (
                await ask(server.client, "GET", f"/api/v1/nodes/{name}/proxy/api/v1/secrets")
            ).status in (400, 503)


async def test_what_one_client_is_told_to_keep_is_not_sent_for_another(
    server: LocalCluster, backend: Backend
) -> None:
    backend.answers["/login"] = web.Response(headers={"Set-Cookie": "session=mine; Path=/"})
    assert (await ask(server.client, "GET", f"{PODS}/p/proxy/login")).headers[
        "set-cookie"
    ] == "session=mine; Path=/"
    assert "cookie" not in (await ask(server.client, "GET", f"{PODS}/p/proxy/")).json["headers"]


async def test_redirects_are_not_followed(server: LocalCluster, backend: Backend) -> None:
    backend.answers["/away"] = web.Response(
        status=302, headers={"Location": f"https://127.0.0.1:{server.port}/api/v1/secrets"}
    )
    answer = await ask(server.client, "GET", f"{PODS}/p/proxy/away")
    assert (answer.status, backend.asked) == (302, 1)


# --- names and ports ---


async def test_what_is_no_port_is_unreachable(server: LocalCluster, backend: Backend) -> None:
    for port in ["99999", "0", "-1", "%C2%B2", "http", "1e3", "065536", "8_0"]:
        answer = await ask(server.client, "GET", f"{PODS}/p:{port}/proxy/")
        assert answer.status == 503 and backend.asked == 0, port


async def test_ports_have_names_and_numbers(server: LocalCluster, backend: Backend) -> None:
    for name in ["p:web", "http:p:web", ":p:"]:
        assert (await ask(server.client, "GET", f"{PODS}/{name}/proxy/a/b?c=d")).json[
            "path"
        ] == "/a/b?c=d"


async def test_what_is_no_name_is_refused(server: LocalCluster, backend: Backend) -> None:
    for name in ["ftp:p:80", ":", "a:b:c:d"]:
        answer = await ask(server.client, "GET", f"{PODS}/{name}/proxy/")
        assert (answer.status, answer.json["message"]) == (400, f'invalid pod request "{name}"')


async def test_a_namespace_may_be_called_proxy(server: LocalCluster) -> None:
    await server.client.create(core_v1.Namespace(metadata=ObjectMeta(name="proxy-1")))
    for path in ("pods/p/proxy/x", "pods/proxy/proxy/proxy/x", "services/proxy-s/proxy/"):
        answer = await ask(server.client, "GET", f"/api/v1/namespaces/proxy-1/{path}")
        assert (answer.status, answer.json["reason"]) == (404, "NotFound")


async def test_paths_go_through_as_they_are(server: LocalCluster, backend: Backend) -> None:
    for path in (
        "/",
        "//a",
        "/a/../../b",
        "/%2e%2e/a",
        "/a%23b",
        "/a%2Fb",
        "/a%20b",
        "/%C3%A9",
        "/proxy/proxy/",
        "/a;b=c?d=%2F&e",
    ):
        told = (await ask(server.client, "GET", f"{PODS}/p/proxy{path}")).json["path"]
        assert told == path


async def test_a_path_without_a_slash_gets_one(server: LocalCluster, backend: Backend) -> None:
    answer = await ask(server.client, "GET", f"{PODS}/p/proxy?a=b")
    assert (answer.status, answer.headers["location"], backend.asked) == (
        301,
        f"{PODS}/p/proxy/?a=b",
        0,
    )


# --- what goes along ---


async def test_every_method_goes_through(server: LocalCluster, backend: Backend) -> None:
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]:
        answer = await ask(server.client, method, f"{PODS}/p/proxy/x")
        assert (answer.status, answer.headers["x-method"]) == (200, method)


async def test_other_methods_take_other_rights(server: LocalCluster, backend: Backend) -> None:
    await grant(server, "jane", rule("get", "pods/proxy"))
    jane = server.client_as("jane")
    allowed = {
        method: (await ask(jane, method, f"{PODS}/p/proxy/")).status
        for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE")
    }
    assert allowed == {"GET": 200, "HEAD": 200, "POST": 403, "OPTIONS": 403, "DELETE": 403}
    assert (await ask(server.client, "TRACE", f"{PODS}/p/proxy/")).status == 405


async def test_nobody_further_on_learns_who_asks(server: LocalCluster, backend: Backend) -> None:
    sent = {
        "Authorization": "Bearer " + forged(server, await token_of(server)),
        "Impersonate-User": "kubernetes-admin",
        "X-Remote-User": "root",
        "Impersonate-Group": "system:masters",
        "Impersonate-Extra-A": "b",
        "Connection": "close, X-Secret",
        "X-Secret": "1",
        "X-Kept": "2",
        "Sec-WebSocket-Protocol": "base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io",
    }
    told = (await ask(server.client, "GET", f"{PODS}/p/proxy/", sent)).json["headers"]
    assert told["x-kept"] == "2" and told["sec-websocket-protocol"] == "v4.channel.k8s.io"
    assert not [
        name
        for name in told
        if name.startswith(("authorization", "impersonate", "x-remote", "x-secret"))
    ]
    assert told["x-forwarded-uri"] == f"{PODS}/p/proxy/"


# --- links ---

PAGE = """<!DOCTYPE html><!-- <a href="/not"> --><html><head><script>if (a<b) x = '<a href="/not">'</script></head>
<a href="/x?a=1&amp;b=2#c">x</a> <A HREF='/q'>q</A><img src=/i.png alt="a>b"><form action="/f/"><a href="rel">r</a>
<a href="https://else.where/y">y</a><a title="/not" href="http://{host}/z">z</a><a href="/../../../up">u</a> 1 < 2 <a href="/unclosed"""


async def test_links_lead_through_the_proxy(server: LocalCluster, backend: Backend) -> None:
    page = PAGE.replace("{host}", f"{machine_address()}:{backend.port}")
    packed = web.Response(
        body=gzip.compress(page.encode()),
        content_type="text/html",
        headers={"Content-Encoding": "gzip"},
    )
    backend.answers = {
        "/page": web.Response(text=page, content_type="text/html"),
        "/packed": packed,
    }
    prefix = f"{PODS}/p/proxy"
    for path in ("/page", "/packed"):
        shown = (await ask(server.client, "GET", prefix + path)).body.decode()
        for link in (
            f'href="{prefix}/x?a=1&amp;b=2#c"',
            f'HREF="{prefix}/q"',
            f'src="{prefix}/i.png"',
            f'action="{prefix}/f/"',
            f'href="{prefix}/z"',
        ):
            assert link in shown
        assert (
            shown.count("/not") == 3 and 'href="rel"' in shown and '"https://else.where/y"' in shown
        )


async def test_a_location_leads_through_the_proxy(server: LocalCluster, backend: Backend) -> None:
    backend.answers["/a"] = web.Response(status=303, headers={"Location": "/b/?c=d"})
    assert (await ask(server.client, "GET", f"{PODS}/p/proxy/a")).headers[
        "location"
    ] == f"{PODS}/p/proxy/b/?c=d"


@pytest.mark.parametrize(
    "page",
    [
        '<a href="' * 40_000,
        "<a " * 100_000,
        "<!--" * 100_000,
        "<script>" * 50_000,
        "<a x='" * 60_000,
        "<a" + " " * 300_000,
    ],
)
def test_no_page_takes_long(page: str) -> None:
    began = time.process_time()
    Rewriter("/p", "h", "a").page(page)
    assert time.process_time() - began < 2


def test_addresses_for_others() -> None:
    assert not any(
        is_global_unicast(address)
        for address in [
            *SPECIAL,
            "255.255.255.255",
            "fe80::1%eth0",
            "localhost",
            "",
            "1",
            "0x7f000001",
        ]
    )
    assert all(
        is_global_unicast(address)
        for address in ("10.0.0.1", "192.0.2.1", "2001:db8::1", "fd00::1")
    )
    assert not any(endpoint_problems(address) for address in ("10.0.0.1", "2001:db8::1"))
    assert all(endpoint_problems(address) for address in SPECIAL)
    assert (authority("fd00::1", 80), authority("10.0.0.1", 80)) == ("[fd00::1]:80", "10.0.0.1:80")


# --- upgrades ---


@pytest.mark.parametrize("path", [f"{PODS}/p/proxy/echo", f"{SERVICES}/s/proxy/echo"])
async def test_a_websocket_goes_through(server: LocalCluster, backend: Backend, path: str) -> None:
    config = server.client.config
    headers = {"X-Remote-User": "boss", "X-Mine": "kept"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{config.server}{path}?a=b",
            ssl=config.ssl_context(),
            headers=headers,
            protocols=["chat", TOKEN_PROTOCOL + "abc"],
        ) as socket,
    ):
        seen = await socket.receive_json()
        assert socket.protocol == "chat"
        assert seen["x-mine"] == "kept" and seen["sec-websocket-protocol"] == "chat"
        assert "x-remote-user" not in seen
        await socket.send_str("hello")
        assert await socket.receive_str() == "HELLO"


async def test_what_was_not_upgraded_carries_no_second_request(
    server: LocalCluster, backend: Backend
) -> None:
    """Else who may see one page of a backend could ask it, or a node, for anything
    (CVE-2018-1002105)."""
    where = urlsplit(server.client.config.server)
    reader, writer = await asyncio.open_connection(
        where.hostname, where.port, ssl=server.client.config.ssl_context()
    )
    head = f"GET {PODS}/p/proxy/page HTTP/1.1\r\nHost: {where.netloc}\r\n"
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    second = "GET /private HTTP/1.1\r\nHost: b\r\n\r\n"
    writer.write(f"{head}{upgrade}{second}".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer.lower()
    writer.write(second.encode())
    assert json.loads(await reader.read())["path"] == "/page"
    assert backend.asked == 1
