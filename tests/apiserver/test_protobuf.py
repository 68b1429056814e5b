"""Answers in protobuf: objects, lists, watches, statuses, metadata alone."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.apiserver.builders import CRONS, call, cron, definition, established
from tests.builders import config_map
from tiphys.api import core_v1
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.apiextensions_v1 import JSONSchemaProps as Props
from tiphys.api.base import decode
from tiphys.api.meta_v1 import PartialObjectMetadata
from tiphys.machinery import protobuf
from tiphys.machinery.errors import StatusError
from tiphys.machinery.protobuf import MEDIA_TYPE
from tiphys.testing import LocalCluster

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MAPS = "/api/v1/namespaces/default/configmaps"


def opened(data: bytes, kind: Any) -> tuple[str, Any]:
    version, name, message = protobuf.unwrap(data)
    return f"{version}/{name}", protobuf.decode(message, kind)


async def test_an_object_and_a_list(server: LocalCluster) -> None:
    await server.client.create(config_map("a", k="v"))
    name, one = opened(
        await server.client.request("GET", f"{MAPS}/a", accept=MEDIA_TYPE), core_v1.ConfigMap
    )
    assert name == "v1/ConfigMap" and one.data == {"k": "v"} and one.metadata.uid
    for _ in range(2):
        name, many = opened(
            await server.client.request("GET", MAPS, accept=MEDIA_TYPE), core_v1.ConfigMapList
        )
        assert name == "v1/ConfigMapList" and [i.metadata.name for i in many.items] == ["a"]
        assert many.items[0].data == {"k": "v"} and many.metadata.resource_version


async def test_a_watch_is_framed(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    query = {"watch": "1", "timeoutSeconds": "1", "allowWatchBookmarks": "true"}
    data = await server.client.request("GET", MAPS, query=query, accept=MEDIA_TYPE)
    kinds = []
    while data:
        size, rest = int.from_bytes(data[:4], "big"), data[4:]
        event, data = protobuf.wire.numbered(rest[:size]), rest[size:]
        inner = protobuf.wire.numbered(event[2])[1]
        kinds.append((event[1].decode(), opened(inner, core_v1.ConfigMap)[0]))
    assert kinds[0] == ("ADDED", "v1/ConfigMap")


async def test_metadata_alone(server: LocalCluster) -> None:
    await server.client.create(config_map("a", k="v"))
    accept = f"{MEDIA_TYPE};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    name, one = opened(
        await server.client.request("GET", f"{MAPS}/a", accept=accept), PartialObjectMetadata
    )
    assert name == "meta.k8s.io/v1/PartialObjectMetadata" and one.metadata.name == "a"


async def test_custom_objects_have_no_protobuf(server: LocalCluster) -> None:
    await established(server, definition())
    await call(server, "POST", CRONS, cron())
    with pytest.raises(StatusError) as refused:
        await server.client.request("GET", f"{CRONS}/a", accept=MEDIA_TYPE)
    assert refused.value.code == 406
    both = f"{MEDIA_TYPE},application/json"
    assert (
        json.loads(await server.client.request("GET", f"{CRONS}/a", accept=both))["kind"]
        == "CronTab"
    )


async def test_a_definition_with_every_kind_of_schema(server: LocalCluster) -> None:
    crd = decode(msgspec.json.encode(definition()), CustomResourceDefinition)
    [*_, version] = crd.spec.versions
    assert version.schema is not None and version.schema.open_apiv3_schema is not None
    version.schema.open_apiv3_schema.properties |= {
        "list": Props(type="array", items=Props(type="number", minimum=0.5, maximum=5)),
        "map": Props(
            type="object", additional_properties=Props(type="string", default="x", enum=["x", "y"])
        ),
    }
    sent = protobuf.wrap(crd)
    await server.client.request("POST", DEFINITIONS, sent, content=MEDIA_TYPE, accept=MEDIA_TYPE)
    answer = await server.client.request(
        "GET", f"{DEFINITIONS}/{crd.metadata.name}", accept=MEDIA_TYPE
    )
    assert opened(answer, CustomResourceDefinition)[1].spec.versions == crd.spec.versions


async def test_a_field_of_another_wire_type_is_a_bad_request(server: LocalCluster) -> None:
    data = protobuf.envelope("v1", "ConfigMap", b"\x08\x01")  # metadata, a number
    with pytest.raises(StatusError) as refused:
        await server.client.request("POST", MAPS, data, content=MEDIA_TYPE)
    assert refused.value.code == 400 and "wrong wireType = 0 for field metadata" in str(
        refused.value
    )


@pytest.mark.parametrize("media", ["application/cbor", "text/html"])
async def test_what_is_not_served_is_refused(server: LocalCluster, media: str) -> None:
    with pytest.raises(StatusError) as unacceptable:
        await server.client.request("GET", MAPS, accept=media)
    assert unacceptable.value.code == 406
    with pytest.raises(StatusError) as unsupported:
        await server.client.request("POST", MAPS, b"{}", content=media)
    assert unsupported.value.code == 415
