"""Another API server behind this one, over TLS, with the identity it is told."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.apiserver.backends import META, SWAGGER
from tests.apiserver.builders import call, refused
from tests.builders import machine_address
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
FLUNDERS = "/apis/wardle.example.com/v1/namespaces/default/flunders"


class Sample:
    """A server of one resource that tells who asked it."""

    def __init__(self, server: LocalCluster) -> None:
        self.server, self.port = server, free_port()
        self.seen: list[dict[str, Any]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        user = request.headers.get("X-Remote-User", "")
        peer = request.transport.get_extra_info("peercert") if request.transport else None
        self.seen.append(
            {
                "path": request.path,
                "user": user,
                "groups": request.headers.getall("X-Remote-Group", []),
                "peer": peer,
                "content": request.headers.get("Content-Type"),
            }
        )
        if request.headers.get("Upgrade") == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str(user)
            return socket
        if request.path == "/apis/wardle.example.com/v1":
            row = {
                "name": "flunders",
                "singularName": "flunder",
                "namespaced": True,
                "kind": "Flunder",
                "verbs": ["get", "list"],
            }
            return web.json_response(
                {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": "wardle.example.com/v1",
                    "resources": [row],
                }
            )
        if request.path == "/openapi/v2":
            return web.json_response(SWAGGER)
        return web.json_response(
            {
                "kind": "FlunderList",
                "apiVersion": "wardle.example.com/v1",
                "metadata": {},
                "items": [],
            }
        )

    async def start(self) -> web.ServerRunner:
        authority = self.server.authority
        certificate, key = authority.ensure(
            "sample", "sample", (), ("sample.default.svc",), server=True
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(self.server.root / "pki" / "front-proxy" / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        runner = web.ServerRunner(web.Server(self.handle))
        await runner.setup()
        await web.TCPSite(runner, machine_address(), self.port, ssl_context=context).start()
        return runner


@pytest.fixture
async def sample(server: LocalCluster) -> AsyncIterator[Sample]:
    made = Sample(server)
    runner = await made.start()
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "sample"},
        "spec": {"ports": [{"port": 443}]},
    }
    await call(server, "POST", "/api/v1/namespaces/default/services", service)
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {"name": "sample", "labels": {"kubernetes.io/service-name": "sample"}},
        "endpoints": [{"addresses": [machine_address()]}],
        "ports": [{"name": "", "port": made.port}],
    }
    await call(
        server, "POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice_
    )
    yield made
    await runner.cleanup()


async def register(server: LocalCluster, name: str = "sample") -> None:
    bundle = base64.b64encode(server.authority.path.read_bytes()).decode()
    spec = {
        "group": "wardle.example.com",
        "version": "v1",
        "service": {"namespace": "default", "name": name},
        "caBundle": bundle,
        "groupPriorityMinimum": 2000,
        "versionPriority": 200,
    }
    body = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1.wardle.example.com"},
        "spec": spec,
    }
    await call(server, "POST", SERVICES, body)


async def state(server: LocalCluster) -> tuple[str, str]:
    status = (await call(server, "GET", f"{SERVICES}/v1.wardle.example.com")).get("status", {})
    return next(((c["status"], c["reason"]) for c in status.get("conditions", ())), ("", ""))


async def test_requests_are_passed_on_with_who_asks(server: LocalCluster, sample: Sample) -> None:
    await register(server)

    async def available() -> bool:
        return await state(server) == ("True", "Passed")

    await server.eventually(available)
    listed = json.loads(
        await server.client.request("GET", FLUNDERS, query={"labelSelector": "a=b"})
    )
    assert listed["kind"] == "FlunderList"
    last = sample.seen[-1]
    assert (
        last["path"] == FLUNDERS
        and last["user"] == "kubernetes-admin"
        and "system:masters" in last["groups"]
    )
    assert dict(part[0] for part in last["peer"]["subject"])["commonName"] == "front-proxy-client"
    post = server.client._http().post(
        server.client.config.server + FLUNDERS, data=b"{}", skip_auto_headers=["Content-Type"]
    )
    async with post as answer:
        assert answer.status == 200
    assert sample.seen[-1]["content"] is None  # what the client did not say is not said for it
    refusal = await refused(server.client_as("jane").request("GET", FLUNDERS))
    assert refusal.code == 403


async def test_it_is_discovered(server: LocalCluster, sample: Sample) -> None:
    await register(server)
    await server.eventually(lambda: state(server))

    async def found() -> bool:
        groups = await call(server, "GET", "/apis")
        return "wardle.example.com" in [g["name"] for g in groups["groups"]]

    await server.eventually(found)
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    document = json.loads(await server.client.request("GET", "/apis", accept=accept))
    [group] = [g for g in document["items"] if g["metadata"]["name"] == "wardle.example.com"]
    assert group["versions"][0]["resources"][0]["resource"] == "flunders"
    assert (await call(server, "GET", "/apis/wardle.example.com/v1"))["resources"][0][
        "kind"
    ] == "Flunder"


async def test_a_server_that_is_not_there_is_said_to_be_missing(server: LocalCluster) -> None:
    await register(server, "nobody")

    async def missing() -> bool:
        return await state(server) == ("False", "ServiceNotFound")

    await server.eventually(missing)
    assert (await refused(call(server, "GET", FLUNDERS))).code == 503


async def test_what_is_served_here_is_listed_too(server: LocalCluster) -> None:
    async def listed() -> bool:
        names = {i["metadata"]["name"]: i for i in (await call(server, "GET", SERVICES))["items"]}
        local = names.get("v1.apps", {}).get("status", {}).get("conditions", [])
        return bool(local) and local[0]["reason"] == "Local"

    await server.eventually(listed)


async def test_its_openapi_document_is_part_of_ours(server: LocalCluster, sample: Sample) -> None:
    await register(server)

    async def published() -> Any:
        document = await call(server, "GET", "/openapi/v2")
        return document if "com.example.Flunder" in document["definitions"] else None

    document = await server.eventually(published)
    paths, models = document["paths"], document["definitions"]
    assert "/apis/wardle.example.com/v1/flunders" in paths and "/api/v1/pods" in paths
    assert "/apis/elsewhere/v1/things" not in paths and "com.example.Thing" not in models
    # What both call by one name and mean otherwise is kept apart.
    assert models["com.example.Flunder"]["properties"]["metadata"] == {
        "$ref": f"#/definitions/{META}_v2"
    }
    assert models[f"{META}_v2"] == SWAGGER["definitions"][META]  # type: ignore[index]
    assert "properties" in models[META]


async def test_a_websocket_reaches_an_aggregated_server(
    server: LocalCluster, sample: Sample
) -> None:
    await register(server)

    async def available() -> bool:
        return await state(server) == ("True", "Passed")

    await server.eventually(available)
    config = server.client.config
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{config.server}{FLUNDERS}/one/console", ssl=config.ssl_context()
        ) as socket,
    ):
        assert await socket.receive_str() == "kubernetes-admin"
