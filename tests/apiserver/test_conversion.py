"""A custom resource of two versions with a real conversion webhook: v1 has hostPort, v2 has host
and port."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tiphys.client.kinds import Manifest
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

GROUP = "stable.example.com"
TEXT = {"type": "string"}


def converted(obj: dict[str, Any], version: str) -> dict[str, Any]:
    obj = {**obj, "apiVersion": version}
    if version.endswith("v1") and "host" in obj:
        obj["hostPort"] = f"{obj.pop('host')}:{obj.pop('port')}"
    elif version.endswith("v2") and "hostPort" in obj:
        obj["host"], _, obj["port"] = obj.pop("hostPort").partition(":")
    return obj


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    review = await request.json()
    asked = review["request"]
    objects = [converted(obj, asked["desiredAPIVersion"]) for obj in asked["objects"]]
    response = {"uid": asked["uid"], "result": {"status": "Success"}, "convertedObjects": objects}
    return web.json_response(
        {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}
    )


def version(name: str, *fields: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": dict.fromkeys(fields, TEXT)}
    return {
        "name": name,
        "served": True,
        "storage": name == "v1",
        "schema": {"openAPIV3Schema": schema},
        "selectableFields": [{"jsonPath": f".{field}"} for field in fields],
    }


def gateway(name: str, host: str, port: str) -> Manifest:
    metadata = {"name": name, "namespace": "default"}
    return {
        "apiVersion": f"{GROUP}/v2",
        "kind": "Gateway",
        "metadata": metadata,
        "host": host,
        "port": port,
    }


V2 = {"apiVersion": f"{GROUP}/v2", "kind": "Gateway"}
V1 = {"apiVersion": f"{GROUP}/v1", "kind": "Gateway"}


@pytest.fixture
async def gateways(server: LocalCluster) -> AsyncIterator[LocalCluster]:
    """Three of them, written as v2 and stored as v1."""
    certificate, key = server.authority.ensure("hook", "hook", (), ("127.0.0.1",), server=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    runner, port = web.ServerRunner(web.Server(answer)), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    bundle = base64.b64encode(server.authority.path.read_bytes()).decode()
    webhook = {
        "conversionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://127.0.0.1:{port}", "caBundle": bundle},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gateways.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "gateways", "kind": "Gateway"},
            "versions": [version("v1", "hostPort"), version("v2", "host", "port")],
            "conversion": {"strategy": "Webhook", "webhook": webhook},
        },
    }
    await server.client.create(definition)

    async def served() -> bool:
        conditions = (await server.client.get(definition)).get("status", {}).get("conditions", [])
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    await server.eventually(served)
    for made in (gateway("a", "one", "80"), gateway("b", "one", "8080"), gateway("c", "two", "80")):
        await server.client.create(made)
    yield server
    await runner.cleanup()


async def names(server: LocalCluster, kind: Manifest, fields: str, **more: Any) -> list[str]:
    page = await server.client.list(kind, "default", fields=fields, **more)
    return [item["metadata"]["name"] for item in page.items]


async def test_lists_are_selected_by_the_fields_of_the_version_asked_for(
    gateways: LocalCluster,
) -> None:
    assert await names(gateways, V2, "host=one") == ["a", "b"]
    assert await names(gateways, V2, "host=one,port=80") == ["a"]
    assert await names(gateways, V2, "metadata.name=c,host!=one") == ["c"]
    assert await names(gateways, V1, "hostPort=one:80") == ["a"]
    assert await names(gateways, V2, "host=one", limit=1) == ["a"]


async def test_a_watch_by_such_fields_sees_objects_enter_and_leave(gateways: LocalCluster) -> None:
    client, seen = gateways.client, list[tuple[str, str]]()
    watch = client.watch(V2, "default", fields="host=one", revision="0")

    async def next_events(count: int) -> list[tuple[str, str]]:
        seen.clear()
        async for event in watch:
            seen.append((event.kind, event.obj["metadata"]["name"]))
            if len(seen) == count:
                break
        return seen

    assert await next_events(2) == [("ADDED", "a"), ("ADDED", "b")]
    watch = client.watch(
        V2, "default", fields="host=one", revision=(await client.list(V2, "default")).revision
    )
    await client.patch(V2, "c", {"host": "one"}, "default")
    await client.patch(V2, "b", {"host": "two"}, "default")
    await client.patch(V2, "a", {"port": "81"}, "default")
    await client.delete(gateway("a", "", ""))
    expected = [("ADDED", "c"), ("DELETED", "b"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert await next_events(4) == expected


async def test_a_collection_is_deleted_by_such_fields(gateways: LocalCluster) -> None:
    path = f"/apis/{GROUP}/v2/namespaces/default/gateways"
    await gateways.client.request("DELETE", path, query={"fieldSelector": "host=one"})
    assert await names(gateways, V2, "") == ["c"]
