"""A server behind the API server: what leads to it, whom it answers, and what it says."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from tests.builders import machine_address
from tiphys.addons.aggregated import (
    AggregatedServer,
    failure,
    group_document,
    objects,
    own_address,
    resource_list,
)
from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.cluster.certificates import Authority
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

GROUP = "post.example"


def said(response: web.Response) -> Any:
    assert response.text is not None
    return json.loads(response.text)


def test_a_failure_is_a_status() -> None:
    response = failure(404, "NotFound", "no such stamp")
    assert response.status == 404
    assert said(response) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "no such stamp",
        "reason": "NotFound",
        "code": 404,
    }
    assert "reason" not in said(failure(418, "", "a teapot"))


def test_a_group_names_its_versions_the_preferred_one_first() -> None:
    document = said(group_document(GROUP, ["v2", "v1"]))
    assert [one["groupVersion"] for one in document["versions"]] == [f"{GROUP}/v2", f"{GROUP}/v1"]
    assert document["preferredVersion"] == {"groupVersion": f"{GROUP}/v2", "version": "v2"}
    listed = said(resource_list(f"{GROUP}/v2", [{"name": "stamps"}]))
    assert (listed["kind"], listed["resources"]) == ("APIResourceList", [{"name": "stamps"}])


@pytest.mark.parametrize(("address", "family"), [("10.0.0.1", "IPv4"), ("fd00::1", "IPv6")])
def test_the_preferred_version_has_the_highest_priority(address: str, family: str) -> None:
    """kube-aggregator: of a group's versions the one with the highest versionPriority is first."""
    made: list[Any] = objects("post", address, GROUP, ["v2", "v1"])
    service, slice_, second, first = made
    assert [one.kind for one in made] == ["Service", "EndpointSlice", "APIService", "APIService"]
    assert (service.spec.ports[0].port, service.spec.selector) == (443, {})
    assert slice_.address_type == family
    assert slice_.metadata.labels == {"kubernetes.io/service-name": "post"}
    assert (second.metadata.name, first.metadata.name) == (f"v2.{GROUP}", f"v1.{GROUP}")
    assert (second.spec.version_priority, first.spec.version_priority) == (200, 100)
    assert second.spec.group_priority_minimum == first.spec.group_priority_minimum == 100
    assert to_builtins(second.spec.service) == {
        "namespace": "tiphys-addons",
        "name": "post",
        "port": 443,
    }


async def resources(request: web.Request) -> web.Response:
    return resource_list(f"{GROUP}/v1", [{"name": "hello", "kind": "Hello", "verbs": ["get"]}])


async def hello(request: web.Request) -> web.Response:
    return web.json_response({"hello": request.headers.get("X-Remote-User", "stranger")})


HELLO = f"/apis/{GROUP}/v1/hello"


@asynccontextmanager
async def post_of(
    server: LocalCluster, folder: Path
) -> AsyncIterator[tuple[AggregatedServer, int]]:
    """A server with one path for the API server and one for everybody, and its port."""
    post = AggregatedServer("post", "Post", open_paths=["/open"])
    post.router.add_get(f"/apis/{GROUP}/v1", resources)
    for path in (HELLO, "/open"):
        post.router.add_get(path, hello)
    port = await post.start(server.client, machine_address(), 0, time.time(), folder)
    try:
        yield post, port
    finally:
        await post.stop()


async def test_the_api_server_passes_on_what_it_is_asked(
    server: LocalCluster, tmp_path: Path
) -> None:
    client, address = server.client, machine_address()
    await client.create(core_v1.Namespace(metadata=ObjectMeta(name="tiphys-addons")))
    for one in objects("post", address, GROUP, ["v1"]):
        await client.create(one)

    async def answered() -> Any:
        try:
            return msgspec.json.decode(await client.request("GET", HELLO))
        except StatusError as error:
            assert error.code == 503  # the API server has not heard of it yet
            return None

    async with post_of(server, tmp_path) as (post, port):
        await post.announce(client, address, port, [f"v1.{GROUP}"])
        assert await server.eventually(answered) == {"hello": "kubernetes-admin"}


async def statuses(server: LocalCluster, folder: Path, certificate: str) -> list[int]:
    """Of the API server's path and of the open one, asked with a certificate of a name."""
    async with post_of(server, folder) as (post, port), aiohttp.ClientSession() as session:
        trust = ssl.create_default_context(cadata=post.authority)
        trust.check_hostname = False
        if certificate:
            front = Authority(server.root / "pki/front-proxy")
            trust.load_cert_chain(*front.ensure(f"test-{certificate}", certificate))
        found = []
        for path in (HELLO, "/open"):
            url = f"https://{machine_address()}:{port}{path}"
            async with session.get(url, ssl=trust) as answer:
                found.append(answer.status)
        return found


async def test_nobody_else_is_answered_but_on_an_open_path(
    server: LocalCluster, tmp_path: Path
) -> None:
    """Of the front proxy's authority those names count that the cluster lists; with an empty list
    every name does (kube-apiserver, --requestheader-allowed-names)."""
    assert await statuses(server, tmp_path, "") == [403, 200]
    assert await statuses(server, tmp_path, "front-proxy-client") == [200, 200]
    assert await statuses(server, tmp_path, "somebody") == [403, 200]
    anybody = {"data": {"requestheader-allowed-names": "[]"}}
    where = ("extension-apiserver-authentication", anybody, "kube-system")
    await server.client.patch(core_v1.ConfigMap, *where, media=MERGE)
    assert await statuses(server, tmp_path, "somebody") == [200, 200]
    assert await statuses(server, tmp_path, "") == [403, 200]


def test_a_machine_knows_an_address_that_others_see() -> None:
    assert own_address() == machine_address()
