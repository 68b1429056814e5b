"""Which shape an answer has: lists, tables and parts of objects; dense or indented JSON."""

from __future__ import annotations

import json

import aiohttp
import pytest

from tests.apiserver.builders import TABLE
from tests.apiserver.words import MAPS, told
from tests.builders import config_map
from tiphys.testing import LocalCluster

PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "kind", "version"),
    [
        (TABLE, "Table", "meta.k8s.io/v1"),
        (TABLE.replace("v=v1", "v=v1beta1"), "Table", "meta.k8s.io/v1beta1"),
        ("application/json;q=0.1," + TABLE, "Table", "meta.k8s.io/v1"),
        (
            PARTIAL.replace("Metadata;", "MetadataList;"),
            "PartialObjectMetadataList",
            "meta.k8s.io/v1",
        ),
    ],
)
async def test_lists_come_in_the_shape_that_is_liked_best(
    server: LocalCluster, accept: str, kind: str, version: str
) -> None:
    await server.client.create(config_map("a"))
    for method in ("GET", "DELETE"):
        answer = json.loads(await server.client.request(method, MAPS, accept=accept))
        assert (answer["kind"], answer["apiVersion"]) == (kind, version)


async def test_shapes_that_do_not_fit_are_refused(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    code, message = await told(server, "GET", MAPS, accept=PARTIAL)
    assert code == 406 and message.startswith(
        "you requested PartialObjectMetadata, but the requested object is a list"
    )
    code, _ = await told(
        server, "GET", f"{MAPS}/a", accept=PARTIAL.replace("Metadata;", "MetadataList;")
    )
    assert code == 406
    code, message = await told(server, "GET", MAPS, query={"includeObject": "x"}, accept=TABLE)
    assert code == 400 and message.endswith("must be 'Metadata', 'Object', 'None', or empty")
    rows = json.loads(
        await server.client.request("GET", MAPS, query={"includeObject": "None"}, accept=TABLE)
    )["rows"]
    assert rows[0]["object"] is None


async def fetched(server: LocalCluster, path: str, agent: str = "curl/8.5.0") -> str:
    """An answer's text, as a program of that name gets it."""
    ssl = server.client.config.ssl_context()
    async with (
        aiohttp.ClientSession(headers={"User-Agent": agent}) as session,
        session.get(f"{server.url}{path}", ssl=ssl) as answer,
    ):
        return await answer.text()


async def test_people_read_indented_json(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    await server.client.create(config_map("b", text="one\ntwo " + "x" * 140_000))
    for path in (
        f"{MAPS}/a",
        MAPS,
        f"{MAPS}/b",
        f"{MAPS}/missing",
        "/api/v1",
        "/apis",
        f"{MAPS}?labelSelector=no",
    ):
        text = await fetched(server, path)
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    table = json.loads(await fetched(server, f"{MAPS}?limit=1", "Mozilla/5.0 (X11)"))
    assert table["kind"] == "ConfigMapList" and len(table["items"]) == 1


async def test_programs_read_dense_json_unless_they_ask(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    for path, agent in (
        (MAPS, "kubectl/v1.36.0"),
        (f"{MAPS}/a?pretty=false", "curl/8"),
        (f"{MAPS}/a", ""),
    ):
        assert "\n" not in (await fetched(server, path, agent)).strip()
    for path in (f"{MAPS}/a?pretty=true", f"{MAPS}?pretty=1"):
        assert '\n  "kind": "ConfigMap' in await fetched(server, path, "kubectl/v1.36.0")
